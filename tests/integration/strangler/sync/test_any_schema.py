"""Tables of many kinds, mapped in many ways, written at random while they are copied and whatever applies is killed.

A seed is one table, with what is done to it; on one in three the server of one side is killed, too. ANY_SCHEMA_SEEDS
chooses others than the first six: ``7`` plays one again, ``1-60`` is a longer run.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress

import psycopg
import pytest

from strangler.local import Postgres
from strangler.sync import ending, filling, running, transfer, watermark
from strangler.sync.applying import Applier, Load
from strangler.sync.errors import Unreachable
from strangler.sync.plan import Chunk
from tests.fixtures.designs import Changes, Design
from tests.fixtures.postgres import crash
from tests.fixtures.streams import Pair, Paired, between, stands_at, table
from tests.fixtures.twice import backwards, twice, watch, watched
from tests.fixtures.waiting import until

ROWS = 300
MOST_KILLS = 8
CHUNK_ROWS = 8
_FIRST, _, _LAST = os.environ.get("ANY_SCHEMA_SEEDS", "1-6").partition("-")
SEEDS = range(int(_FIRST), int(_LAST or _FIRST) + 1)
THING = "create table thing (id bigint primary key, version bigint)"
ITEM = "create table item (id bigint primary key, version bigint)"
MAPPING = table("thing", "item", {"id": "id"}, {"version": "version"})
BOTH = ("select * from item order by id", "select * from thing order by id")
AWAY = (psycopg.OperationalError, Unreachable)
Kill = Callable[[Pair, random.Random], None]


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin sessions anew at once, however often they break off."""
    monkeypatch.setattr(running, "_LONGEST_PAUSE_S", 0.2)


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed % 3])
def test_whatever_the_table_is_both_sides_are_equal(pair: Paired, seed: int) -> None:
    prove(pair, seed, end_a_session)


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed % 3 == 0])
def test_a_server_that_dies_takes_nothing_with_it(postgres: Postgres, mortal: Postgres, seed: int) -> None:
    servers = (postgres, mortal) if seed % 2 else (mortal, postgres)
    crashes = itertools.count()

    def kill(found: Pair, draw: random.Random) -> None:
        crash(mortal) if next(crashes) == 2 else end_a_session(found, draw)

    with between(*servers) as pair:
        prove(pair, seed, kill)


def test_what_is_told_to_be_applied_outlives_its_server(postgres: Postgres, mortal: Postgres) -> None:
    with between(postgres, mortal) as pair:
        found = pair(THING, ITEM, MAPPING)
        found.start()
        found.source("insert into thing values (1, 1), (2, 2)")
        found.equal(*BOTH)
        found.stop()
        crash(mortal)
        assert found.target(BOTH[0]) == [(1, 1), (2, 2)]


def prove(pair: Paired, seed: int, kill: Kill) -> None:
    """Copy a table of ``seed`` and stream its changes, with kills all the time; compare both sides then."""
    draw = random.Random(seed)
    design = Design.of(draw)
    versions = itertools.count(1)
    found = pair(design.source(), design.target(), design.mapping, begin=False)
    change(found, Changes(design, draw, 0, versions), ROWS // 2)
    change(found, Changes(design, draw, 1, versions), ROWS // 2)
    found.begin(copying=True)
    watch(found, "item", *(key.there for key in design.key))
    chunks = planned(found, draw)
    with writing(found, design, seed, versions):
        found.keep(found.forward, found.back)
        killed_meanwhile(found, draw, kill, chunks)
        if draw.random() < 0.5:
            found.source("truncate thing")
        kill(found, draw)
    found.equal(*design.compared())
    found.stop()
    assert watched(found) > 0
    assert (twice(found), backwards(found)) == ([], [])
    assert found.target("select stopped from strangler_sync.stream") == [(None,)]
    assert found.source("select stopped, changes from strangler_sync.stream") == [(None, 0)]


# --- who writes ---


def change(pair: Pair, changes: Changes, number: int) -> None:
    with psycopg.connect(pair.forward.source_url, autocommit=True) as connection:
        for _ in range(number):
            connection.execute(*changes.one())


@contextmanager
def writing(pair: Pair, design: Design, seed: int, versions: Iterator[int]) -> Iterator[None]:
    over = threading.Event()
    writers = [Changes(design, random.Random(2 * seed + mine), mine, versions) for mine in range(2)]
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(write, pair, each, over) for each in writers]
        try:
            yield
        finally:
            over.set()
        for each in done:
            each.result(20)


def write(pair: Pair, changes: Changes, over: threading.Event) -> None:
    """Write until it is over, and go on after every death of the server."""
    while not over.is_set():
        with suppress(psycopg.OperationalError), psycopg.connect(pair.forward.source_url, autocommit=True) as source:
            source.execute("set synchronous_commit = on")
            while not over.wait(0.002):
                with source.transaction(force_rollback=changes.draw.random() < 0.1):
                    for _ in range(changes.draw.randint(1, 4)):
                        source.execute(*changes.one())
        over.wait(0.02)


# --- who kills ---


def killed_meanwhile(pair: Pair, draw: random.Random, kill: Kill, chunks: list[Chunk]) -> None:
    """Copy the chunks and kill all the time; a server ends with the thread that started it, so kills are in this."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(copy, pair, chunks)
        for _ in range(MOST_KILLS):
            kill(pair, draw)
            if wait([done], draw.uniform(0.01, 0.2)).done:
                break
        done.result(120)


def end_a_session(pair: Pair, draw: random.Random) -> None:
    """End a session of ours in either database, whatever it does."""
    query = (
        "select pg_terminate_backend(pid) from (select pid from pg_stat_activity where application_name ~ '^strangler'"
        " and usename = current_user and pid <> pg_backend_pid() order by random() limit 1) as ours"
    )
    draw.choice([pair.source, pair.target])(query)


# --- who copies ---


def planned(pair: Pair, draw: random.Random) -> list[Chunk]:
    with pair.forward.open() as (source, target):
        chunks = list(transfer.plan(source, pair.forward.projections(source, target), CHUNK_ROWS))
    draw.shuffle(chunks)
    return chunks


def copy(pair: Pair, chunks: list[Chunk]) -> None:
    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(fill, pair, chunk) for chunk in chunks]:
            each.result(60)
    finish(pair)


def fill(pair: Pair, chunk: Chunk) -> None:
    """Copy a chunk for as often as it takes: sessions are broken off."""

    def is_filled() -> bool:
        with suppress(*AWAY), pair.forward.open() as (source, target):
            [projection] = pair.forward.projections(source, target)
            at = watermark.standing(target, pair.forward.name)
            assert at is not None
            filling.begin(target, [projection], at.name)
            filling.fill_range(source, target, projection, chunk, at)
            return True
        return False

    until(is_filled, f"{chunk} is copied", 60)


def finish(pair: Pair) -> None:
    """Do what is done when all chunks are copied, for as often as it takes."""

    def is_finished() -> bool:
        with suppress(*AWAY):
            since = filling.position(pair.forward)
            pair.nudge()
            await_stream(pair, since)
            return ending.finish(pair.forward, since)
        return False

    until(is_finished, "the copy has ended", 60)


def await_stream(pair: Pair, since: int) -> None:
    try:
        until(lambda: stands_at(pair) >= since, "the stream has passed the copy", 30)
    except AssertionError as exc:
        raise AssertionError(f"{exc}: {pair.told}") from None


# --- what would be seen ---


def test_a_change_that_is_applied_twice_is_seen(pair: Paired, monkeypatch: pytest.MonkeyPatch) -> None:
    found = pair(THING, ITEM, MAPPING)
    watch(found, "item", "id")
    found.start()
    found.source("insert into thing values (1, 1), (2, 2)")
    found.equal(*BOTH)
    assert (watched(found), twice(found), backwards(found)) == (2, [], [])
    apply = Applier.apply

    def apply_twice(self: Applier, load: Load, *, whole: bool = False) -> None:
        apply(self, load)
        apply(self, load, whole=whole)

    monkeypatch.setattr(Applier, "apply", apply_twice)
    found.source("update thing set version = 3 where id = 1")
    found.equal(*BOTH)
    found.stop()
    assert twice(found) == [("(1)", 3, 2)]
