"""How long writes wait while the owner moves, under the load of the chaos and without its faults.

Thirty-two clients through the proxy, a Django process beside it, and Celery; both servers flush what they commit, and
autovacuum is on and busy: it comes every second, to the tables that move and to one that is churned beside them. The
owner is moved there and back by the use case that the command line calls, in a process that runs. Each move is followed
by some time in which nobody moves anything: what reads take then is what they usually take.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from statistics import median
from typing import Final

import psycopg

from strangler.cutover import conductor, moving
from strangler.cutover.protocol import End
from strangler.ledger import Publisher
from strangler.project import Project
from strangler.sync.syncing import Asked
from strangler.sync.verify import verdict_of
from tests.bench.rounds import percentile
from tests.bench.row import Row, row, said
from tests.chaos.cutover.bed import CAPABILITY, Bed, made
from tests.chaos.cutover.crowd import Crowd, Load
from tests.chaos.cutover.running import ended

MOVES: Final = int(os.environ.get("ROUNDS", "100"))
_SEEDS: Final = 20_000
_LOAD: Final = Load(watched=False)
_WARM_S: Final = 5.0
_IDLE_S: Final = 1.0
_BUSY: Final = {
    "autovacuum": "on",
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_threshold": "50",
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_insert_threshold": "200",
    "autovacuum_vacuum_insert_scale_factor": "0",
    "autovacuum_analyze_threshold": "50",
    "autovacuum_analyze_scale_factor": "0",
}
_CHURN: Final = "create table visit (id integer primary key, times bigint not null, page text)"
_CHURNED: Final = "update visit set times = times + 1, page = repeat('p', 200) where id %% 20 = %s"
_VACUUMS: Final = "select coalesce(sum(autovacuum_count + autoanalyze_count), 0) from pg_stat_user_tables"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as its client saw it: it began at ``at``, in seconds since 1970."""

    at: float
    kind: str
    ms: float
    status: int

    def overlaps(self, spans: Sequence[tuple[float, float]]) -> bool:
        return any(self.at < end and self.at + self.ms / 1000 > begin for begin, end in spans)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the run came to. Spans are (begin, end) in seconds since 1970; steps by name, in ms of each move."""

    requests: Sequence[Request]
    pauses: Sequence[tuple[float, float]]
    idle: Sequence[tuple[float, float]]
    told_ms: Sequence[float]
    steps_ms: Mapping[str, Sequence[float]]
    vacuums: int


def measure() -> Iterator[Row]:
    for each in rows(_run()):
        yield said(each)


def rows(seen: Seen) -> list[Row]:
    """Return what is told of a run."""
    waits = longest(seen)
    busy = [each.ms for each in seen.requests if each.kind == "read" and each.overlaps(seen.pauses)]
    usual = [each.ms for each in seen.requests if each.kind == "read" and each.overlaps(seen.idle)]
    failed = [each for each in seen.requests if not HTTPStatus.OK <= each.status < HTTPStatus.MULTIPLE_CHOICES]
    moves = f"of {len(seen.pauses)} moves"
    p50, p99 = percentile(waits, 0.5), percentile(waits, 0.99)
    return [
        row(f"the longest that a write waited, p50 {moves}", "ms", "150 ms", 1.0, [(p50, 150)], at_most=True),
        row(f"the longest that a write waited, p99 {moves}", "ms", "500 ms", 1.0, [(p99, 500)], at_most=True),
        _told("the longest that a write waited, at most", max(waits), median(waits)),
        _told("from the hold to the release, as the conductor tells, p50", median(seen.told_ms), p50),
        _told("from the hold to the release, as the conductor tells, p99", percentile(seen.told_ms, 0.99), p99),
        row(
            "reads while writes wait, p99",
            "ms",
            "while nobody moves anything",
            1.5,
            [(percentile(busy, 0.99), percentile(usual, 0.99))],
            at_most=True,
        ),
        row(
            f"failed requests of {len(seen.requests):,}", "requests", "1 request", 0.0, [(len(failed), 1)], at_most=True
        ),
        *[
            row(f"step `{step}`, p50", "ms", "p99", None, [(median(ms), percentile(ms, 0.99))])
            for step, ms in seen.steps_ms.items()
        ],
        row("runs of autovacuum meanwhile", "runs", "a move", None, [(seen.vacuums, len(seen.pauses))]),
    ]


def _told(name: str, ours: float, peer: float) -> Row:
    return row(name, "ms", "as a write saw it", None, [(ours, peer)])


def longest(seen: Seen) -> list[float]:
    """Return the longest that a write took of those that met each pause, in ms."""
    writes = [each for each in seen.requests if each.kind == "write"]
    return [max((each.ms for each in writes if each.overlaps([pause])), default=0.0) for pause in seen.pauses]


def _run() -> Seen:
    with made(seeds=_SEEDS, durable=True, noted=False, settings=_BUSY) as bed, _churning(bed):
        crowd = Crowd(bed, _LOAD)
        idle, told, steps = list[tuple[float, float]](), list[float](), defaultdict[str, list[float]](list)
        try:
            time.sleep(_WARM_S)
            with Publisher.open(bed.project) as publisher:
                for _ in range(MOVES):
                    moved = _move(bed.project, publisher)
                    told.append(moved.pause_ms or 0.0)
                    for each in moved.steps:
                        steps[each.step].append(each.ms)
                    began = time.time()
                    time.sleep(_IDLE_S)
                    idle.append((began, time.time()))
        finally:
            wrong = crowd.end()
        assert not wrong, wrong
        vacuums = sum(int(bed.ask(server, _VACUUMS)[0][0]) for server in ("source", "target"))
        pauses = [(begin, end) for begin, end, _ in ended(bed)]
        return Seen(_requests(bed), pauses, idle, told, steps, vacuums)


def _move(project: Project, publisher: Publisher) -> conductor.Moved:
    owner = publisher.ledger.state(CAPABILITY).owner
    asked = Asked(capability=CAPABILITY, who="bench", reason="bench")
    moved = moving.move(
        asked,
        owner.other,
        project,
        publisher,
        told=lambda _: None,
        measured=lambda _: None,
        tell=print,
        watch=verdict_of,
        unobserved=True,
    )
    assert moved.end is End.MOVED, moved
    return moved


def _requests(bed: Bed) -> list[Request]:
    fields = (line.split() for line in bed.requests.read_text().splitlines())
    return [Request(float(at), kind, float(ms), int(status)) for at, kind, ms, status in fields]


@contextmanager
def _churning(bed: Bed) -> Iterator[None]:
    """Have a table beside those that move be written all the time, on either server."""
    over = threading.Event()

    def churn(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_CHURN.encode())
            connection.execute(b"insert into visit select n, 0, '' from generate_series(1, 2000) n")
            turn = 0
            while not over.wait(0.1):
                turn += 1
                connection.execute(_CHURNED.encode(), [turn % 20])

    hands = [threading.Thread(target=churn, args=(bed.url(side),)) for side in ("monolith", "service")]
    for hand in hands:
        hand.start()
    try:
        yield
    finally:
        over.set()
        for hand in hands:
            hand.join()
