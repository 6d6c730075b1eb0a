"""All streams of a project, run by one process while another stands by."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from strangler.project import Project
from strangler.sync import running
from tests.fixtures.streams import Pair, Paired, project_of, table
from tests.fixtures.waiting import until

TABLE = "create table author (id bigint primary key, name text not null)"
AUTHOR = table("author", "author", {"id": "id"}, {"name": "name"}, reverse={"name": "name"})
ALL = "select * from author order by id"


@pytest.fixture
def shop(pair: Paired) -> Pair:
    return pair(TABLE, TABLE, AUTHOR)


@pytest.fixture
def project(shop: Pair, database_url: str, tmp_path: Path) -> Project:
    return project_of(shop, tmp_path, database_url)


@dataclass
class Running:
    """One that runs all streams, in a thread."""

    project: Project
    over: threading.Event = field(default_factory=threading.Event)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        arguments = (self.project, lambda: not self.over.is_set(), self.told.append)
        self._thread = threading.Thread(target=running.run, args=arguments)
        self._thread.start()

    def end(self) -> None:
        self.over.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


def locked(url: str) -> Callable[[], bool]:
    def look() -> bool:
        with psycopg.connect(url) as control:
            found = control.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone()
        return found is not None and found[0] > 0

    return look


def test_a_look_that_fails_unforeseen_is_told_and_made_again(
    shop: Pair, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread would end without a word, and nobody would look after what it looks after."""
    monkeypatch.setattr(running, "_BESIDE_S", 0.02)
    over, told, looks = threading.Event(), list[str](), list[int]()

    def look(_: object) -> None:
        looks.append(1)
        if len(looks) < 4:
            raise KeyError("nobody foresaw it")

    thread = threading.Thread(target=running.run, args=(project, lambda: not over.is_set(), told.append, look))
    thread.start()
    try:
        until(lambda: len(looks) > 5, "it looks again", 20)
    finally:
        over.set()
        thread.join(20)
    said = [each for each in told if "beside" in each]
    assert said == ["beside: this was not foreseen, and it looks again: KeyError: 'nobody foresaw it'"]


def test_another_stands_by_and_takes_over(shop: Pair, project: Project, database_url: str) -> None:
    first = Running(project)
    until(locked(database_url), "one applies")
    second = Running(project)
    try:
        until(lambda: second.told == ["another process applies; this one stands by"], "the other stands by")
        shop.source("insert into author values (1, 'Ann')")
        shop.equal(ALL, ALL)
        first.end()
        shop.source("insert into author values (2, 'Bob')")
        shop.equal(ALL, ALL)
        assert first.told == []
    finally:
        first.end()
        second.end()


def test_one_whose_lock_is_gone_stops_and_takes_it_again(shop: Pair, project: Project, database_url: str) -> None:
    only = Running(project)
    try:
        until(locked(database_url), "it applies")
        with psycopg.connect(database_url) as control:
            control.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        shop.source("insert into author values (1, 'Ann')")
        shop.equal(ALL, ALL)
        until(locked(database_url), "it has the lock again")
    finally:
        only.end()
