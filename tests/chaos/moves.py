"""The owner moves there and back while clients write and parts are killed: nothing is lost, nothing comes twice.

The oracle knows nothing of the toolkit: it holds the rows of both databases against the file of what was acknowledged.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import psycopg

from tests.chaos.clients import SPAN
from tests.chaos.streams import Bed, _child, _engine, _must, made
from tests.fixtures.waiting import until

_SETTLE_S: Final = 90
_ALL: Final = f"select id, version from {{}} where id >= {SPAN} order by id"


@dataclass(kw_only=True)
class Report:
    """What happened. ``lost`` are acknowledged values that are not there, ``strange`` what nobody has sent."""

    seed: int
    transitions: int = 0
    moved: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    acknowledged_writes: int = 0
    lost: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    failed_clients: list[str] = field(default_factory=list)
    pause_ms: dict[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return not (self.lost or self.strange or self.different or self.stuck or self.failed_clients)

    def to_json(self) -> dict[str, Any]:
        told = {name: value[:20] if isinstance(value, list) else value for name, value in asdict(self).items()}
        return {**told, "lost_count": len(self.lost), "holds": self.holds}


# --- the oracle ---


def allowed(lines: Iterable[Mapping[str, Any]]) -> dict[int, set[int | None]]:
    """Return which values each key may have at the end: the last acknowledged one, or what was sent since."""
    may: dict[int, set[int | None]] = {}
    for line in lines:
        if "key" not in line:
            continue
        key, value = line["key"], line["value"]
        if line["what"] == "sent":
            may.setdefault(key, {None}).add(value)
        elif line["what"] == "acknowledged":
            may[key] = {value}
    return may


def judge(report: Report, may: Mapping[int, set[int | None]], rows: Mapping[str, Mapping[int, int]]) -> None:
    """Note what is not as it may be, and where the two sides differ."""
    for side, found in rows.items():
        for key, values in may.items():
            if found.get(key) not in values:
                report.lost.append(f"{side}: {key} is {found.get(key)}, and may be {sorted(map(str, values))}")
        report.strange += [f"{side}: {key}" for key in found if key not in may]
    here, there = rows.values()
    report.different += [
        f"{key}: {here.get(key)} and {there.get(key)}" for key in {**here, **there} if here.get(key) != there.get(key)
    ]


# --- who troubles ---


def _conductor_dies(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> None:
    time.sleep(draw.uniform(0.5, 3.0))
    with suppress(ProcessLookupError):
        os.killpg(conductor.pid, signal.SIGKILL)


def _conductor_stops(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> None:
    """Stop it for longer than anybody waits for it; then it wakes, and somebody else has gone on."""
    time.sleep(draw.uniform(0.5, 3.0))
    with suppress(ProcessLookupError):
        os.killpg(conductor.pid, signal.SIGSTOP)
        time.sleep(draw.uniform(4.0, 9.0))
        os.killpg(conductor.pid, signal.SIGCONT)


def _lock_stays(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> None:
    server, table = draw.choice([(bed.source, "book"), (bed.target, "volume")])
    with psycopg.connect(server.url("books")) as connection:
        connection.execute(f"lock table {table} in row exclusive mode".encode())
        time.sleep(draw.uniform(0.5, 4.0))


def _stops(victim: str) -> Callable[[Bed, random.Random, subprocess.Popen[bytes]], None]:
    def trouble(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> None:
        time.sleep(draw.uniform(0.0, 2.5))
        child = bed.children[victim]
        os.killpg(child.pid, signal.SIGSTOP)
        time.sleep(draw.uniform(1.0, 5.0))
        os.killpg(child.pid, signal.SIGCONT)

    return trouble


def _dies(victim: str) -> Callable[[Bed, random.Random, subprocess.Popen[bytes]], None]:
    def trouble(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> None:
        time.sleep(draw.uniform(0.0, 2.5))
        (_child if victim in bed.children else _engine)(bed, victim)

    return trouble


TROUBLES: Final[Mapping[str, Callable[[Bed, random.Random, subprocess.Popen[bytes]], None]]] = {
    "conductor killed": _conductor_dies,
    "conductor stopped": _conductor_stops,
    "applier killed": _dies("the applier"),
    "applier stopped": _stops("the applier"),
    "standby killed": _dies("the standby"),
    "Valkey killed": _dies("Valkey"),
    "source killed": _dies("the source's PostgreSQL"),
    "target killed": _dies("the target's PostgreSQL"),
    "control database killed": _dies("the control database"),
    "a lock stays": _lock_stays,
}


# --- the run ---


def chaos(transitions: int, seed: int, *, clients: int = 8, troubled: float = 0.7) -> Report:
    """Move the owner so often, with a trouble at most of them, and report."""
    draw, report = random.Random(seed), Report(seed=seed)
    with made(seed) as bed:
        _must(bed, "sync", "start", "books", "--reason", "chaos")
        _must(bed, "sync", "backfill", "books", "--inline")
        log = bed.folder / "acknowledged"
        writers = _clients(bed, log, clients, seed)
        try:
            for _ in range(transitions):
                _move(bed, draw, report, troubled)
        finally:
            assert writers.stdin is not None
            writers.stdin.close()
            code = writers.wait(200)
        _settle(bed, report)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        report.failed_clients += [line["why"] for line in lines if line["what"] == "failed"]
        if code and not report.failed_clients:
            report.failed_clients.append(f"exit code {code}")
        report.acknowledged_writes = sum(line["what"] == "acknowledged" for line in lines)
        judge(report, allowed(lines), _rows(bed))
        _history(bed, report)
    return report


def _clients(bed: Bed, log: Path, clients: int, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.chaos.clients", str(log), str(clients), str(seed)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    urls = {
        "monolith": bed.source.url("books", "owner", "tests only"),
        "service": bed.target.url("books", "owner", "tests only"),
    }
    assert process.stdin is not None
    process.stdin.write(json.dumps(urls).encode() + b"\n")
    process.stdin.flush()
    return process


def _move(bed: Bed, draw: random.Random, report: Report, troubled: float) -> None:
    verb = "cutover" if _state(bed)["owner"] == "monolith" else "rollback"
    command = [sys.executable, "-m", "strangler", "--project", str(bed.file), verb, "books", "--reason", "chaos"]
    with (bed.folder / "moves.log").open("ab") as out:
        conductor = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    name = draw.choice(list(TROUBLES)) if draw.random() < troubled else None
    if name is not None:
        report.kills[name] = report.kills.get(name, 0) + 1
        TROUBLES[name](bed, draw, conductor)
    try:
        conductor.wait(120)
    except subprocess.TimeoutExpired:
        report.stuck.append(f"{verb}: the conductor does not end ({name})")
        os.killpg(conductor.pid, signal.SIGKILL)
        conductor.wait()
    try:
        until(lambda: _phase(bed) in (None, "done", "aborted"), "the move ends", _SETTLE_S)
    except AssertionError:
        report.stuck.append(f"{verb}: nobody ends it, {_phase(bed)} ({name})")
    report.transitions += 1


def _state(bed: Bed) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def answers() -> bool:
        state = bed.answers(bed.control, "select state from strangler.capability")
        found.update(state or {})
        return state is not None

    until(answers, "the control database answers", 60)
    return found


def _phase(bed: Bed) -> str | None:
    move = _state(bed).get("move")
    return None if move is None else str(move["phase"])


def _settle(bed: Bed, report: Report) -> None:
    """Wait until both sides hold the same rows."""
    try:
        until(lambda: _rows_of(bed, "monolith") == _rows_of(bed, "service"), "both sides are equal", _SETTLE_S)
    except AssertionError:
        report.stuck.append("the two sides do not become equal")


def _rows(bed: Bed) -> dict[str, dict[int, int]]:
    return {side: _rows_of(bed, side) for side in ("monolith", "service")}


def _rows_of(bed: Bed, side: str) -> dict[int, int]:
    server, table = (bed.source, "book") if side == "monolith" else (bed.target, "volume")
    return {int(key): int(version) for key, version in bed.ask(server, _ALL.format(table))}


def _history(bed: Bed, report: Report) -> None:
    moves = bed.ask(bed.control, "select evidence from strangler.history where command = 'move-complete' order by id")
    report.moved = len(moves)
    pauses = sorted(sum(evidence.get("steps_ms", {}).values()) for (evidence,) in moves if "proof" in evidence)
    if len(pauses) > 1:
        report.pause_ms = {
            "p50": round(median(pauses), 1),
            "p99": round(quantiles(pauses, n=100, method="inclusive")[-1], 1),
            "max": round(pauses[-1], 1),
        }
