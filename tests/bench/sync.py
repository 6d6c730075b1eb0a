"""The sync against what people would use otherwise: two psql in a pipe, PostgreSQL's own subscription, reladiff.

Ours projects: of ten columns three have another name in the service's table, and of these one is in upper case there
and one in cents. The peers take the rows as they are. Both have the same two servers, and the same orders in them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final

from strangler.sync import filling, watermark
from strangler.sync.pgoutput import lsn_of
from tests.bench import sync_peers
from tests.bench.owner import SHARE, Owner, owner
from tests.bench.rounds import pair, paired, percentile
from tests.bench.row import Row, row, said
from tests.bench.sync_bed import MEMORY, Bed, made
from tests.bench.sync_load import CHANGES_EACH, CHANGES_IN_TRAFFIC, Traffic, stretch
from tests.bench.sync_run import COMPILED, ROOT, Ours, await_reader, pin_reader, watched
from tests.fixtures.waiting import until

ROUNDS: Final = int(os.environ.get("ROUNDS", "5"))
ROWS: Final = int(os.environ.get("ROWS", "1000000"))
CHANGES: Final = int(os.environ.get("CHANGES", "100000"))
SECONDS: Final = int(os.environ.get("SECONDS", "5"))
PACE: Final = 2_000
_PAIRS: Final = 8  # of spans, for each round: their tails differ more than anything else here
_MOST_LAG_MS: Final = 250.0
_MOST_MB: Final = 200
_PATIENCE_S: Final = 600
_COLUMNS: Final = ("customer_id", "reference", "status", "price", "quantity", "note", "paid", "created", "updated")

Reading = AbstractContextManager[list[int]]
"""Something reads the owner's changes meanwhile; these are its processes."""


def measure(only: str = "") -> Iterator[Row]:
    """Yield the rows of the sync, or of one of ``PARTS``.

    Whatever happens, the servers are stopped and their folders gone afterwards.
    """
    if not (COMPILED / ".ready").exists():
        raise SystemExit("the sync is measured compiled; make bench compiles it")
    peaks: list[float] = []
    if only != "owner":
        yield from _beside_peers(only, peaks)
    if only in ("", "owner"):
        yield from _owner(peaks)
    if not only:
        yield _megabytes("memory of sync run, its most in all of this", max(peaks))


def _beside_peers(only: str, peaks: list[float]) -> Iterator[Row]:
    with made(ROWS) as bed, made(ROWS // 10) as small:
        ours, few = Ours(bed, peaks=peaks), Ours(small, peaks=peaks)
        _check(ours)
        if only in ("", "backfill"):
            yield from _backfills(ours, few)
        if only != "backfill":
            _equal(ours)
            _equal(few)
        for name, rows in _OF_EQUAL_SIDES.items():
            if only in ("", name):
                yield from rows(ours, few)


def _check(ours: Ours) -> None:
    assert _ask(ours, "code")["applying"].endswith(".so"), "the modules of the sync are not compiled"


def _ask(ours: Ours, verb: str) -> dict[str, Any]:
    """Have something done in a process of its own, which has our code."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("sync_ours.py")), verb, ours.project]
    done = subprocess.run(command, env=ours.environment(), check=True, stdout=subprocess.PIPE, timeout=_PATIENCE_S)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


# --- backfill and verify ---


def _backfills(ours: Ours, few: Ours) -> Iterator[Row]:
    yield _backfill(ours)
    yield _beside_its_stream(ours)
    yield _linear(ours, few, "backfill", _copied)


def _backfill(ours: Ours) -> Row:
    rounds = paired(ROUNDS, lambda: _rate(ours.bed, _copied(ours)), lambda: _rate(ours.bed, _piped(ours.bed)))
    return said(row(f"backfill of {ROWS:,} rows", "rows/s", "psql into psql", 1.0, rounds))


def _beside_its_stream(ours: Ours) -> Row:
    """The copy of a sync: its stream runs, though nobody writes."""

    def copied() -> float:
        ours.bed.empty("sale")
        ours.bed.start()
        try:
            with ours.running():
                await_reader(ours.bed.source, ours.bed.forward.name)
                return _rate(ours.bed, _ask(ours, "backfill")["seconds"])
        finally:
            ours.bed.remove()

    rounds = paired(ROUNDS, copied, lambda: _rate(ours.bed, _piped(ours.bed)))
    return said(row(f"backfill of {ROWS:,} rows beside its stream", "rows/s", "psql into psql", 1.0, rounds))


def _linear(ours: Ours, few: Ours, what: str, seconds: Callable[[Ours], float]) -> Row:
    def each(side: Ours) -> float:
        return 1e6 * seconds(side) / _count(side.bed)

    rounds = paired(ROUNDS, lambda: each(ours), lambda: each(few))
    name = f"{what}, a row of {ROWS:,}"
    return said(row(name, "us", f"a row of {ROWS // 10:,}", 1.15, rounds, at_most=True))


def _copied(ours: Ours) -> float:
    ours.bed.empty("sale")
    return float(_ask(ours, "backfill")["seconds"])


def _piped(bed: Bed) -> float:
    bed.empty("purchase")
    return sync_peers.pipe(bed)


def _rate(bed: Bed, seconds: float) -> float:
    return _count(bed) / seconds


def _count(bed: Bed) -> int:
    [(rows,)] = bed.run(bed.source, "select count(*) from purchase")
    return int(rows)


def _verifies(ours: Ours, few: Ours) -> Iterator[Row]:
    yield _verify(ours)
    yield _linear(ours, few, "verify", _verified)


def _verify(ours: Ours) -> Row:
    def compared() -> float:
        return _rate(ours.bed, sync_peers.reladiff(ours.bed, _COLUMNS))

    rounds = paired(ROUNDS, lambda: _rate(ours.bed, _verified(ours)), compared)
    return said(row(f"verify of {ROWS:,} equal rows", "rows/s", "reladiff", 3.0, rounds))


def _verified(ours: Ours) -> float:
    found = _ask(ours, "verify")
    assert found["equal"], "the two sides differ"
    return float(found["seconds"])


# --- apply ---


def _apply(ours: Ours, _: Ours) -> list[Row]:
    """Both catch up with the same changes, one after the other."""
    sync_peers.subscribe(ours.bed)
    ours.bed.begin()
    plain = Ours(ours.bed, ROOT, ours.peaks)
    try:
        compiled = _caught_up(ours)
        interpreted = _caught_up(plain)
    finally:
        ours.bed.end()
        sync_peers.unsubscribe(ours.bed)
    what = f"apply of {CHANGES:,} changes in {CHANGES // CHANGES_EACH:,} transactions"
    peer = "a subscription"
    return [
        said(row(what, "changes/s", peer, 1.2, [_speeds(each, 0) for each in compiled])),
        said(row(f"{what}, begin-up included", "changes/s", peer, None, [_speeds(each, 1) for each in compiled])),
        said(row(f"{what}, plain Python", "changes/s", peer, None, [_speeds(each, 0) for each in interpreted])),
    ]


Times = tuple[float, float]
"""Seconds from where a slot was read to the last change being visible, and from the beginning."""


def _speeds(times: tuple[Times, Times], which: int) -> tuple[float, float]:
    ours, peer = times
    return CHANGES / ours[which], CHANGES / peer[which]


def _caught_up(ours: Ours) -> list[tuple[Times, Times]]:
    found = []
    for number in range(ROUNDS):
        stretch(ours.bed, CHANGES)
        found.append(pair(number, lambda: _applied(ours), lambda: _subscribed(ours.bed)))
        _same(ours.bed, "sale")
        _same(ours.bed, "purchase")
    return found


def _applied(ours: Ours) -> Times:
    began = time.perf_counter()
    with ours.running():
        return _timed(ours.bed, ours.bed.forward.name, "sale", began)


def _subscribed(bed: Bed) -> Times:
    began = time.perf_counter()
    bed.run(bed.target, "alter subscription peer enable")
    try:
        return _timed(bed, sync_peers.SLOT, "purchase", began)
    finally:
        bed.run(bed.target, "alter subscription peer disable")
        await_reader(bed.source, sync_peers.SLOT, gone=True)


def _timed(bed: Bed, slot: str, table: str, began: float) -> Times:
    [(last,)] = bed.run(bed.source, "select max(id) from purchase")
    await_reader(bed.source, slot)
    read = time.perf_counter()
    with bed.looking(bed.target) as target:
        query = f"select from {table} where id = %s"
        until(lambda: target.execute(query.encode(), [last]).rowcount, "the last change is visible", _PATIENCE_S)
    over = time.perf_counter()
    _left_behind(bed, slot)
    return over - read, over - began


def _left_behind(bed: Bed, slot: str) -> None:
    """Wait until the reader of ``slot`` need not have decoded once more what it has had.

    It begins at a list of running transactions, of which the server writes one each 15 s: the 100,000 changes of the
    round before were decoded again, and thrown away, in the first 0.1 s of either side's time.
    """
    with bed.looking(bed.source) as source:
        written = filling.written(source)

        def passed(column: str, position: str) -> bool:
            query = f"select from pg_replication_slots where slot_name = %s and {column} >= %s::pg_lsn"
            return source.execute(query.encode(), [slot, position]).rowcount > 0

        # One list at a time: each costs whoever decodes it a file that is flushed, and the peer comes to them, too.
        def left() -> bool:
            row = source.execute("select pg_log_standby_snapshot()::text").fetchone()
            assert row is not None
            until(partial(passed, "confirmed_flush_lsn", row[0]), f"slot {slot} is past {row[0]}", _PATIENCE_S)
            return passed("restart_lsn", written)

        until(left, f"slot {slot} has left behind what was read", _PATIENCE_S)


def _passed(bed: Bed) -> None:
    """Wait until the stream has passed what was written."""
    with bed.looking(bed.source) as source, bed.looking(bed.target) as target:
        written = lsn_of(filling.written(source))

        def holds() -> bool:
            at = watermark.standing(target, bed.forward.name)
            return at is not None and at.lsn >= written

        until(holds, "the stream has come", _PATIENCE_S)


def _same(bed: Bed, table: str) -> None:
    """Be sure that all was applied: as many rows, and the sum of what changed in them."""
    price = {"sale": "sum(cents)", "purchase": "sum((price * 100)::bigint)"}
    wanted = bed.run(bed.source, "select count(*), sum(id), sum((price * 100)::bigint) from purchase")
    found = bed.run(bed.target, f"select count(*), sum(id), {price[table]} from {table}")
    assert found == wanted, f"{table} is not as its source: {found} and {wanted}"


def _equal(ours: Ours) -> None:
    """Have equal rows on both sides, and statistics of them."""
    bed = ours.bed
    if bed.run(bed.target, "select count(*) from purchase") == [(0,)]:
        sync_peers.pipe(bed)
    if bed.run(bed.target, "select count(*) from sale") == [(0,)]:
        _copied(ours)
    _same(bed, "sale")
    _same(bed, "purchase")
    bed.run(bed.target, "vacuum analyze sale, purchase")


# --- what it costs the owner ---


def _owner(peaks: list[float]) -> Iterator[Row]:
    """The owner's writes with the sync, with another reader in its place, and without, at one rate; and its most."""
    with made(ROWS, MEMORY) as bed:
        ours = Ours(bed, peaks=peaks)
        _check(ours)
        _equal(ours)
        with owner(bed, SECONDS) as writer:
            yield from _written(ours, writer)


def _written(ours: Ours, writer: Owner) -> Iterator[Row]:
    rate, own, other = SHARE * writer.most(), writer.cores.owner, writer.cores.other

    def followed(core: int) -> Reading:
        return _followed(ours, core, other)

    def read(core: int) -> Reading:
        return _read(ours.bed, core, other)

    def tails(beside: Reading) -> list[tuple[float, float]]:
        with beside as reading:
            return writer.tails(rate, reading, _PAIRS * ROUNDS)

    def tail(beside: Reading) -> float:
        with beside:
            return writer.tail(rate)

    def most(beside: AbstractContextManager[object]) -> float:
        with beside:
            return writer.most()

    what, stopped = f"the owner's writes at {SHARE:.0%} of its maximum, p99", "itself while that is stopped"
    yield said(row(what, "ms", stopped, 1.3, tails(followed(other)), at_most=True))
    yield said(row(f"{what}, with pg_recvlogical", "ms", stopped, None, tails(read(other)), at_most=True))
    rates = paired(ROUNDS, lambda: most(followed(other)), lambda: most(nullcontext()))
    yield said(row("the owner's maximum", "transactions/s", "itself with neither", None, rates))
    shared = paired(ROUNDS, lambda: tail(followed(own)), lambda: tail(read(own)))
    reader = "pg_recvlogical in its place"
    yield said(row(f"{what}, walsender on its one core", "ms", reader, None, shared, at_most=True))


@contextmanager
def _followed(ours: Ours, core: int, other: int) -> Iterator[list[int]]:
    """Stream meanwhile, with the walsender on ``core`` and all else on the ``other``, as the sync does for hours.

    Yields the numbers of the two processes.
    """
    bed, slot = ours.bed, ours.bed.forward.name
    with bed.following(), ours.running([other]) as process:
        await_reader(bed.source, slot)
        sender = pin_reader(bed.source, slot, core)
        _passed(bed)
        with bed.looking(bed.source) as source:  # a session that begins takes 7 ms of the owner's core
            looks = "select from pg_stat_activity where application_name = 'strangler retention'"
            until(lambda: source.execute(looks).rowcount, "slots are looked after", _PATIENCE_S)
        yield [process.pid, sender]


@contextmanager
def _read(bed: Bed, core: int, other: int) -> Iterator[list[int]]:
    """Have PostgreSQL's own program read the same changes meanwhile, and throw them away; yield both numbers."""
    with sync_peers.receiving(bed, other) as process:
        await_reader(bed.source, sync_peers.SLOT)
        yield [process, pin_reader(bed.source, sync_peers.SLOT, core)]


# --- lag ---


def _lag(ours: Ours, _: Ours) -> list[Row]:
    rounds = [_late(ours) for _ in range(ROUNDS)]
    name = f"lag at {PACE:,} changes/s beside a backfill of {ROWS:,} rows, p99"
    late = [(late, _MOST_LAG_MS) for late, _ in rounds]
    paces = [(pace, float(PACE)) for _, pace in rounds]
    return [
        said(row(name, "ms", f"{_MOST_LAG_MS:.0f} ms", 1, late, at_most=True)),
        said(row("what was written meanwhile", "changes/s", f"{PACE:,} wanted", 0.95, paces)),
    ]


def _late(ours: Ours) -> tuple[float, float]:
    """Return the 99th percentile of the milliseconds, and the changes a second that were really written."""
    ours.bed.empty("sale")
    ours.bed.start()
    try:
        with ours.running():
            await_reader(ours.bed.source, ours.bed.forward.name)
            traffic = Traffic(ours.bed, PACE)
            with traffic.flowing():
                began = time.perf_counter()
                _ask(ours, "backfill")
                ended = time.perf_counter()
            late = traffic.delays(began, ended)
    finally:
        ours.bed.remove()
    _same(ours.bed, "sale")
    return percentile(late, 0.99), len(late) * CHANGES_IN_TRAFFIC / (ended - began)


# --- memory ---


def _large_transaction(ours: Ours, _: Ours) -> list[Row]:
    bed, slot, rows = ours.bed, ours.bed.forward.name, _count(ours.bed)
    bed.begin()
    try:
        with ours.running(), watched(bed.source, slot) as sender:
            await_reader(bed.source, slot)
            bed.run(bed.source, "update purchase set price = price + 1")
            _passed(bed)
        [(spilled, streamed)] = bed.run(
            bed.source, "select spill_bytes, stream_bytes from pg_stat_replication_slots where slot_name = %s", slot
        )
    finally:
        bed.end()
    _same(bed, "sale")
    return [
        _megabytes(f"memory of sync run, a transaction of {rows:,} rows", ours.peaks[-1]),
        _megabytes("its walsender's memory meanwhile, beyond shared buffers", max(sender), bounded=False),
        _megabytes("what the source spilled to disk of it", spilled / 1e6, bounded=False),
        _megabytes("what the source streamed of it before it was whole", streamed / 1e6, bounded=False),
    ]


def _megabytes(what: str, figure: float, *, bounded: bool = True) -> Row:
    """Return a row against the most that ``sync run`` may have; what others have is told beside it."""
    target = 1 if bounded else None
    return said(row(what, "MB", f"{_MOST_MB} MB", target, [(figure, float(_MOST_MB))], at_most=True))


_OF_EQUAL_SIDES: Final[Mapping[str, Callable[[Ours, Ours], Iterable[Row]]]] = {
    "verify": _verifies,
    "apply": _apply,
    "memory": _large_transaction,
    "lag": _lag,
}
PARTS: Final = ("backfill", *_OF_EQUAL_SIDES, "owner")
