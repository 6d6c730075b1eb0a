"""A stream that catches up does not wait for the disk, and nobody acts on what a crash can take."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil
import psycopg
import pytest

from strangler.local import Postgres
from strangler.sync import fence, filling, stream
from strangler.sync.applying import Applier, Load
from strangler.sync.errors import Unreachable
from strangler.sync.pgoutput import lsn_of
from tests.fixtures.postgres import crash, kill, revive
from tests.fixtures.streams import Pair, between, stands_at, table
from tests.fixtures.waiting import until
from tests.integration.strangler.sync.test_filling import chunks, fill

pytestmark = pytest.mark.interpreted  # what is compiled goes by its own constants

THING = "create table thing (id bigint primary key, version bigint)"
ITEM = "create table item (id bigint primary key, version bigint)"
MAPPING = table("thing", "item", {"id": "id"}, {"version": "version"})
BOTH = ("select * from item order by id", "select * from thing order by id")
BATCH, BATCHES = 20, 12


@pytest.fixture
def batched(postgres: Postgres, mortal: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A pair whose target can be killed, and whose stream makes small batches, of which each is due to be durable."""
    monkeypatch.setattr(stream, "_MOST", BATCH)
    monkeypatch.setattr(stream, "_DURABLE_S", 0)
    with between(postgres, mortal) as make, nothing_written_behind(mortal):
        yield make(THING, ITEM, MAPPING)


@contextmanager
def nothing_written_behind(server: Postgres) -> Iterator[None]:
    """Hold the process that brings commits to disk which did not wait for it: each 10 s at least, it is never off."""
    assert server.process is not None
    writer = next(each for each in psutil.Process(server.process.pid).children() if "walwriter" in _command(each))
    writer.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):  # the server was killed
            writer.resume()


@pytest.fixture
def pair(batched: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Such a pair, of whose batches only the first is durable while the stream catches up."""
    commit = stream._Session._commit

    def once(self: stream._Session, *, durable: bool = True) -> None:
        monkeypatch.setattr(stream, "_DURABLE_S", 3_600)  # the next one is due then
        commit(self, durable=durable)

    monkeypatch.setattr(stream._Session, "_commit", once)
    return batched


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a session that has just ended
        return ""


@dataclass
class Standstill:
    """A stream that stands still with some batches committed, until it is let go."""

    told: list[int] = field(default_factory=list)
    stands: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)


@contextmanager
def stopped_after(source: Postgres, pair: Pair, monkeypatch: pytest.MonkeyPatch, batches: int) -> Iterator[Standstill]:
    """Run the forward stream until it has committed so many ``batches`` with rows; let it go at the end."""
    found, commit, counted = Standstill(), Applier.commit, [0]

    def commit_some(self: Applier, load: Load, *, durable: bool = True) -> None:
        counted[0] += bool(load.tables)
        if counted[0] == 1:
            until(lambda: is_sent(source, pair), "all that the source has is sent, so that the next batches are full")
        if counted[0] > batches:
            found.stands.set()
            found.goes_on.wait(60)
        commit(self, load, durable=durable)

    def run() -> None:
        with suppress(psycopg.OperationalError, Unreachable):
            stream.follow(pair.forward, lambda: not found.goes_on.is_set(), reached=found.told.append)

    with monkeypatch.context() as patch:
        patch.setattr(Applier, "commit", commit_some)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert found.stands.wait(20)
            yield found
        finally:
            found.goes_on.set()
            thread.join(20)


def write(pair: Pair, batches: int) -> None:
    """Make rows of the source in transactions of one each."""
    with psycopg.connect(pair.forward.source_url, autocommit=True) as source:
        for _ in range(batches * BATCH):
            source.execute("insert into thing select coalesce(max(id), 0) + 1, 0 from thing")


def is_sent(source: Postgres, pair: Pair) -> bool:
    query = "select sent_lsn >= pg_current_wal_flush_lsn() from pg_stat_replication where application_name = %s"
    with psycopg.connect(source.url(), autocommit=True) as superuser:
        return superuser.execute(query, [f"strangler {pair.forward.capability} forward"]).fetchone() == (True,)


def acknowledged(pair: Pair) -> int:
    [(at,)] = pair.source(
        f"select confirmed_flush_lsn::text from pg_replication_slots where slot_name = '{pair.forward.name}'"
    )
    return lsn_of(at)


def test_nobody_is_told_of_what_a_crash_of_the_target_takes(
    postgres: Postgres, mortal: Postgres, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pair, BATCHES)
    with stopped_after(postgres, pair, monkeypatch, BATCHES // 2) as found:
        seen = stands_at(pair)
        kill(mortal)
    revive(mortal)
    survived = stands_at(pair)
    assert survived < seen  # else nothing is shown
    assert found.told
    assert max(found.told) <= survived
    assert acknowledged(pair) == max(found.told)  # the session told it as it ended
    pair.keep()
    pair.equal(*BOTH)
    until(lambda: acknowledged(pair) > seen, "the source is told of what is durable")


def test_what_is_due_is_durable_while_a_stream_catches_up(
    postgres: Postgres, batched: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(batched, BATCHES)
    with stopped_after(postgres, batched, monkeypatch, BATCHES // 2) as found:
        assert max(found.told) == stands_at(batched)


def test_a_marker_that_came_outlives_its_server(
    postgres: Postgres, mortal: Postgres, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pair, BATCHES // 2)
    pair.source(f"select pg_logical_emit_message(true, 'strangler_fence', '{pair.forward.capability} 8')")
    marked = pair.source("select count(*) from thing")
    write(pair, BATCHES // 2)
    with stopped_after(postgres, pair, monkeypatch, BATCHES - 2):
        assert marker(pair) == 8
        before = pair.target("select count(*) from item")
        kill(mortal)
    revive(mortal)
    assert marker(pair) == 8
    assert marked <= pair.target("select count(*) from item") < before
    pair.keep()
    pair.equal(*BOTH)


def marker(pair: Pair) -> int | None:
    with psycopg.connect(pair.forward.target_url) as target:
        return fence.marker_seen(target, pair.forward.capability)


def test_a_chunk_that_was_copied_outlives_its_server(
    postgres: Postgres, mortal: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_PIECE", 1_000)  # bytes: there are several pieces, which become larger
    with between(postgres, mortal) as make:
        pair = make(THING, ITEM, MAPPING, begin=False)
        pair.source("insert into thing select n, 0 from generate_series(1, 20000) n")
        pair.begin(copying=True)
        assert fill(pair, *chunks(pair, 20_000)) == 20_000
        crash(mortal)
        assert pair.target("select count(*) from item") == [(20_000,)]
