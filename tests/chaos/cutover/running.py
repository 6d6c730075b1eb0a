"""A run: the owner moves there and back under the whole load, with troubles at most of the moves, and is judged."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import psycopg

from strangler.capability import Refused, SetReads
from strangler.ledger import Change, LedgerError, Publisher
from tests.chaos.cutover import log, troubles
from tests.chaos.cutover.bed import CAPABILITY, ROOT, Bed, made
from tests.chaos.cutover.conducting import Conducted, drawn, state
from tests.chaos.cutover.crowd import Crowd, Load
from tests.chaos.cutover.troubles import KILLS
from tests.fixtures.waiting import until

REPORT: Final = Path("build/chaos.json")
_SHARES: Final = (0, 2_000, 5_000, 10_000)
_TWICE: Final = 0.3
_EXAMPLES: Final = 5
_IN_VAIN: Final = 15
_MOVES: Final = (
    "select command, extract(epoch from at)::float8 from strangler.history"
    " where command in ('move-start', 'move-complete', 'move-aborted') order by id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does: until ``transitions`` have ended and ``kills`` parts were killed, or ``most`` moves were tried.

    ``troubles`` are drawn of all, unless some are named, and come after a step that is drawn, unless one is named.
    At the end both sides have ``settle_s`` to become equal.
    """

    transitions: int
    kills: int = 0
    seed: int = 1
    load: Load = field(default_factory=Load)
    troubled: float = 0.85
    troubles: Sequence[str] = ()
    step: str | None = None
    fault: str | None = None
    most: int = 1_000
    settle_s: float = 90.0


@dataclass(slots=True, kw_only=True)
class Report:
    """What happened. Transitions are those that have ended: the owner was moved, or stayed."""

    seed: int
    seconds: float = 0.0
    attempts: int = 0
    moved: int = 0
    aborted: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    other_troubles: Counter[str] = field(default_factory=Counter)
    acknowledged_writes: int = 0
    requests: int = 0
    failed: Counter[int] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    found: dict[str, list[str]] = field(default_factory=dict)
    pauses_ms: list[float] = field(default_factory=list)

    @property
    def transitions(self) -> int:
        return self.moved + self.aborted

    def note(self, kind: str, told: Iterable[str]) -> None:
        self.found.setdefault(kind, []).extend(told)

    @property
    def wrong(self) -> list[str]:
        """Return the kinds of what was found and may not be."""
        return [kind for kind, told in self.found.items() if told]

    def to_json(self) -> dict[str, Any]:
        counted = {kind: len(told) for kind, told in self.found.items()}
        return {
            "seed": self.seed,
            "seconds": self.seconds,
            "transitions": self.transitions,
            "moved": self.moved,
            "aborted": self.aborted,
            "attempts": self.attempts,
            "kills": self.kills.total(),
            "acknowledged_writes": self.acknowledged_writes,
            **counted,
            "pause_ms": percentiles(self.pauses_ms),
            "requests": self.requests,
            "failed_requests": self.failed.total(),
            "failed_by_status": {str(status): count for status, count in sorted(self.failed.items())},
            "looks_at_both_fences": self.looks,
            "killed": dict(sorted(self.kills.items())),
            "other_troubles": dict(sorted(self.other_troubles.items())),
            "said": dict(sorted(self.said.items())),
            "wrong": self.wrong,
            "examples": {kind: told[:_EXAMPLES] for kind, told in self.found.items() if told},
        }


Tell = Callable[[str], None]


def chaos(plan: Plan, tell: Tell = lambda _: None) -> Report:
    """Run a plan, and report; ``tell`` hears of each move. ``CHAOS_KEEP`` names a folder for the logs of a bad one."""
    began, draw, report = time.monotonic(), random.Random(plan.seed), Report(seed=plan.seed)
    with made(fault=plan.fault) as bed:
        crowd = Crowd(bed, plan.load)
        try:
            _moves(bed, plan, draw, report, tell)
        finally:
            report.note("stuck", crowd.end())
            bed.end("Celery")  # what it has in its queue would be written while both sides are compared
        _settle(bed, report, plan.settle_s)
        note_history(bed, report)
        note_requests(bed, report)
        judge(bed, report)
        if report.wrong and "CHAOS_KEEP" in os.environ:
            _keep(bed, Path(os.environ["CHAOS_KEEP"]))
    report.seconds = round(time.monotonic() - began, 1)
    return report


def write(report: Report, path: Path = REPORT) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report.to_json(), indent=2) + "\n")


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum; nothing of nothing."""
    if not values:
        return {}
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return {"p50": round(median(values), 1), "p99": round(cuts[98], 1), "max": round(max(values), 1)}


def _keep(bed: Bed, folder: Path) -> None:
    """Copy what a person would look at."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*bed.folder.glob("*.log"), *bed.folder.glob("*/postgres.log"), bed.acknowledgements, bed.requests):
        (folder / "-".join(path.relative_to(bed.folder).parts)).write_bytes(path.read_bytes())


# --- the moves ---


def _moves(bed: Bed, plan: Plan, draw: random.Random, report: Report, tell: Tell) -> None:
    began, at, told = time.monotonic(), 0, ""
    while report.transitions < plan.transitions or report.kills.total() < plan.kills:
        if report.attempts >= plan.most or report.wrong or _is_alarmed(bed):
            return
        if report.attempts - at > _IN_VAIN:
            report.note("stuck", [f"{_IN_VAIN} moves in a row did not even begin; the last: {told}"])
            return
        _share(bed, draw)
        told = _move(bed, plan, draw, report)
        before = report.transitions
        note_history(bed, report)
        at = report.attempts if report.transitions > before else at
        tell(
            f"{report.transitions}/{plan.transitions} transitions ({report.moved} moved), {report.kills.total()}/"
            f"{plan.kills} kills, {_acknowledged(bed):,} acknowledged, {_left(plan, report, time.monotonic() - began)};"
            f" {told}"
        )


def _is_alarmed(bed: Bed) -> bool:
    """Return whether somebody has told already what is enough: to go on would only bury it."""
    told = bed.acknowledgements.read_bytes() if bed.acknowledgements.exists() else b""
    return any(b'"what": "%b"' % what in told for what in (b"both open", b"broken"))


def _acknowledged(bed: Bed) -> int:
    return bed.acknowledgements.read_bytes().count(b'"what": "acknowledged"')


def _left(plan: Plan, report: Report, seconds: float) -> str:
    done = min(
        1.0,
        report.transitions / plan.transitions if plan.transitions else 1.0,
        report.kills.total() / plan.kills if plan.kills else 1.0,
    )
    return f"{seconds * (1 - done) / done:.0f} s left" if done else "just begun"


def _share(bed: Bed, draw: random.Random) -> None:
    """Have another share of the readers go to the service; where nobody can be told so, it stays."""
    command = SetReads(share=draw.choice(_SHARES))
    with suppress(LedgerError, Refused), Publisher.open(bed.project) as publisher:
        publisher.change(Change(capability=CAPABILITY, command=command, who="chaos", reason="chaos"), bed.project)


def _move(bed: Bed, plan: Plan, draw: random.Random, report: Report) -> str:
    verb = "cutover" if state(bed)["owner"] == "monolith" else "rollback"
    hits = [drawn(name, plan.step, draw) for name in _troubles(plan, draw)]
    conducted = Conducted(bed, verb)
    conducted.suffer(hits, draw)
    for hit in conducted.befallen:
        (report.kills if hit.trouble in KILLS else report.other_troubles)[hit.trouble] += 1
    report.attempts += 1
    report.note("stuck", conducted.stuck)
    told = f"{verb}, {', '.join(map(str, hits)) or 'no trouble'}"
    with (bed.folder / "moves.log").open("a") as file:
        file.write("".join([f"{time.time():.3f} {told}\n", *conducted.said]))
    return f"{told}: {conducted.last}"


def _troubles(plan: Plan, draw: random.Random) -> list[str]:
    if plan.troubles:
        return [draw.choice(plan.troubles)]
    if draw.random() >= plan.troubled:
        return []
    return [troubles.drawn(draw) for _ in range(2 if draw.random() < _TWICE else 1)]


# --- what came of it ---


def _settle(bed: Bed, report: Report, within_s: float) -> None:
    """Wait until both streams have brought a heartbeat that was written after the last client ended."""
    at = time.time()
    beat = "select extract(epoch from heartbeat_at)::float8 from strangler_sync.stream"

    def arrived() -> bool:
        with suppress(psycopg.OperationalError):
            return all((bed.ask(server, beat)[0][0] or 0) > at + 0.5 for server in ("source", "target"))
        return False

    try:
        until(arrived, "both streams have arrived", within_s)
    except AssertionError:
        report.note("stuck", ["the streams do not arrive", *_stopped(bed)])


def _stopped(bed: Bed) -> list[str]:
    asked = "select name || ': ' || coalesce(stopped, 'no word') from strangler_sync.stream"
    return [str(told) for server in ("source", "target") for (told,) in bed.ask(server, asked)]


def note_history(bed: Bed, report: Report) -> None:
    """Take from the ledger how moves have ended, and how long it was from the hold to the release."""
    found = ended(bed)
    report.moved = sum(moved for _, _, moved in found)
    report.aborted = len(found) - report.moved
    report.pauses_ms = [1000 * (until_ - since) for since, until_, moved in found if moved]


def ended(bed: Bed) -> list[tuple[float, float, bool]]:
    """Return when each move began to hold writes and let them go, in seconds since 1970, and whether it moved."""
    found, began = [], 0.0
    for command, at in bed.ask("control", _MOVES):
        if command == "move-start":
            began = at
        else:
            found.append((began, at, command == "move-complete"))
    return found


def note_requests(bed: Bed, report: Report) -> None:
    for line in bed.requests.read_text().splitlines():
        status = int(line.rpartition(" ")[2])
        report.requests += 1
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            report.failed[status] += 1


def judge(bed: Bed, report: Report) -> None:
    """Have the oracle look at both databases, and read what clients and the watch have told."""
    urls = {"monolith": bed.servers["source"].url("shop"), "service": bed.servers["target"].url("shop")}
    asked = {"log": str(bed.acknowledgements), "urls": urls, "moves": report.moved, "noted": True}
    command = [sys.executable, "-m", "tests.chaos.cutover.judging"]
    done = subprocess.run(command, input=json.dumps(asked), check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    told = json.loads(done.stdout)
    report.acknowledged_writes, report.said = told["acknowledged_writes"], Counter(told["said"])
    for kind, sentences in told["findings"].items():
        report.note(kind, sentences)
    note_told(log.read(bed.acknowledgements), report)


def note_told(lines: Iterable[dict[str, Any]], report: Report) -> None:
    """Note what is wrong by the word of clients and of the watch."""
    for kind in ("stale_reads", "both_open", "broken"):
        report.note(kind, ())
    for line in lines:
        match line["what"]:
            case "stale":
                report.note("stale_reads", [json.dumps(line)])
            case "both open" | "broken":
                report.note(line["what"].replace(" ", "_"), [json.dumps(line)])
            case "looked":
                report.looks = line["times"]
            case _:
                pass
