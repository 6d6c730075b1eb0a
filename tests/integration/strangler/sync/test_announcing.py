"""How far streams are, as proxies hear it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import redis

from strangler.capability import Stack
from strangler.project import Project, Secret
from strangler.routing.causal import WATERMARKS, unseal_watermarks
from strangler.routing.keys import Keys
from strangler.sync.pgoutput import lsn_of
from tests.fixtures.proxy import SECRET
from tests.fixtures.streams import Pair, Paired, project_of, table
from tests.integration.strangler.sync.test_running import Running

TABLE = "create table author (id bigint primary key, name text not null)"
AUTHOR = table("author", "author", {"id": "id"}, {"name": "name"}, reverse={"name": "name"})
PATIENCE_S = 15.0


@pytest.fixture
def shop(pair: Paired) -> Pair:
    return pair(TABLE, TABLE, AUTHOR, capability="authors")


@pytest.fixture
def project(shop: Pair, database_url: str, valkey_url: str, tmp_path: Path) -> Project:
    found = project_of(shop, tmp_path, database_url)
    control = replace(found.control, redis=Secret(value=valkey_url), secret=Secret(value=SECRET))
    return replace(found, control=control)


@contextmanager
def heard(url: str) -> Iterator[Iterator[tuple[Stack, int]]]:
    """Yield what is told from now on: a stack, and how far the stream into it is."""
    with redis.Redis.from_url(url) as client, client.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(WATERMARKS)
        channel.get_message(timeout=PATIENCE_S)

        def listen() -> Iterator[tuple[Stack, int]]:
            until = time.monotonic() + PATIENCE_S
            while time.monotonic() < until:
                message = channel.get_message(timeout=0.1)
                if message is not None:
                    for (name, stack), position in unseal_watermarks(message["data"], Keys.derive(SECRET)).items():
                        assert name == "authors"
                        yield stack, position
            raise AssertionError(f"not told within {PATIENCE_S} s")

        yield listen()


def written(shop: Pair, number: int) -> int:
    """Commit a row in the source, and return the position after it."""
    shop.source(f"insert into author values ({number}, 'Ann')")
    [(position,)] = shop.source("select pg_current_wal_insert_lsn()::text")
    return lsn_of(position)


def test_a_position_is_told_when_all_before_it_is_there(shop: Pair, project: Project, valkey_url: str) -> None:
    with heard(valkey_url) as told:
        running = Running(project)
        try:
            for number in range(5):
                position = written(shop, number)
                next(each for each in told if each[0] is Stack.SERVICE and each[1] >= position)
                assert shop.target(f"select id from author where id = {number}") == [(number,)]
        finally:
            running.end()
        assert running.told == []


def test_streams_that_carry_nothing_are_told_of_each_second(shop: Pair, project: Project, valkey_url: str) -> None:
    with heard(valkey_url) as told:
        running = Running(project)
        try:
            beats = [next(told) for _ in range(8)]
        finally:
            running.end()
    assert {stack for stack, _ in beats} == set(Stack)
    for stack in Stack:
        positions = [position for other, position in beats if other is stack]
        assert positions == sorted(set(positions))


def test_nothing_is_told_of_a_stream_whose_tables_are_being_copied(
    pair: Paired, database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    shop = pair(TABLE, TABLE, AUTHOR, begin=False, capability="authors")
    shop.begin(copying=True)
    found = project_of(shop, tmp_path, database_url)
    control = replace(found.control, redis=Secret(value=valkey_url), secret=Secret(value=SECRET))
    with heard(valkey_url) as told:
        running = Running(replace(found, control=control))
        try:
            written(shop, 1)
            assert [next(told)[0] for _ in range(3)] == [Stack.MONOLITH] * 3
            with psycopg.connect(shop.forward.target_url) as target:
                applied = target.execute("select lsn > '0/0', copying from strangler_sync.stream").fetchall()
            assert (True, True) in applied
        finally:
            running.end()
