"""One of two databases is put back to what it was yesterday, and somebody types what the page says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from strangler.capability import Stack
from strangler.local import Postgres
from tests.fixtures.books import ALL, Shop
from tests.fixtures.moving import ADD, WHY, in_shadow, may, owners, same
from tests.fixtures.runbook import Section, Typed, every, runs
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow
PAGE: Final = "restore-one-database"
CLAIMED: Final[set[Section]] = set()
# As the stream itself does every 15 s with what was applied.
MOVED: Final = "select pg_replication_slot_advance('strangler_books_{}', pg_current_wal_lsn())"
NEWER: Final = "select id from book where id >= 600 order by id"


@pytest.fixture
def typed(request: pytest.FixtureRequest) -> Iterator[Typed]:
    """A person at a terminal, who is to type every command of the sections that the test has claimed."""
    found = Typed(request.param)
    yield found
    assert found.left == []


def dumped(server: Postgres, url: str, file: Path) -> Path:
    """Dump a database as its administrator does each night."""
    name = str(conninfo_to_dict(url)["dbname"])
    subprocess.run([server.program("pg_dump"), "-Fc", "-f", str(file), server.url(name)], check=True)
    return file


def restored(server: Postgres, url: str, file: Path) -> None:
    """Put a database back, as its administrator does: dropped, made, and filled."""
    parts = conninfo_to_dict(url)
    name, owner = parts["dbname"], parts["user"]
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')
        connection.execute(f'create database "{name}" owner "{owner}"')
    subprocess.run([server.program("pg_restore"), "-d", server.url(str(name)), str(file)], check=True)


def words(shop: Shop) -> str:
    """Return what is said of the streams, in one line."""
    return " ".join(shop.say("sync", "status")[1].split())


def go_on(shop: Shop, typed: Typed, commands: list[str]) -> None:
    """Type commands, of which each ends well."""
    for command in commands:
        said = typed(shop, f"{command} --inline" if " backfill " in command else command)
        typed.said.add(command)
        assert said[0] == 0, (command, said)


def test_every_section_with_commands_is_tried() -> None:
    assert set(every(PAGE)) == CLAIMED | {(PAGE, "")}


@runs(CLAIMED, (PAGE, "The service's database, while the monolith owns"))
def test_the_copy_is_made_anew(apart: Shop, service_server: Postgres, tmp_path: Path, typed: Typed) -> None:
    shop, [section] = apart, typed.claimed
    url = shop.pair.forward.target_url
    with in_shadow(shop):
        file = dumped(service_server, url, tmp_path / "dump")
        shop.pair.source(ADD.format(600, 600))
        same(shop, ALL)
        assert shop.say("set", "books", "--reads", "10%", *WHY)[0] == 0
    shop.pair.source(MOVED.format("forward"))
    restored(service_server, url, file)
    with shop.running():
        until(lambda: "past the" in words(shop), "it is seen")
        code, _, refused = shop.say("set", "books", "--reads", "20%", *WHY)
        assert (code, "does not follow" in refused) == (1, True)
        assert owners(shop) == ["monolith"]
        go_on(shop, typed, typed.of(*section))
        same(shop, ALL)
    assert (shop.stage, shop.state["killed"]) == ("shadow", None)
    assert shop.pair.target(NEWER) == [(600,)]


@pytest.mark.parametrize("backup", ["before the cutover", "after it"])
@runs(CLAIMED, (PAGE, "The service's database, while the service owns"))
def test_the_monolith_has_what_the_service_had(
    apart: Shop, service_server: Postgres, tmp_path: Path, typed: Typed, backup: str
) -> None:
    shop, [section] = apart, typed.claimed
    url = shop.pair.forward.target_url
    with in_shadow(shop):
        early = dumped(service_server, url, tmp_path / "early")
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        file = early if backup == "before the cutover" else dumped(service_server, url, tmp_path / "late")
        assert may(shop, Stack.SERVICE, ADD.format(601, 601))
        same(shop, ALL)
    restored(service_server, url, file)
    with shop.running():
        until(lambda: "going back would lose what the monolith has not applied" in words(shop), "it is seen")
        open_ = [] if backup == "before the cutover" else ["service"]
        assert owners(shop) == open_
        assert ("its own database is fenced: every write is refused" in words(shop)) == (not open_)
        go_on(shop, typed, typed.of(*section))
        same(shop, ALL)
    assert shop.pair.target(NEWER) == [(600,), (601,)]
    assert owners(shop) == ["monolith"]


@runs(CLAIMED, (PAGE, "The monolith's database, while the monolith owns"))
def test_the_service_shows_what_the_backup_lacks(apart: Shop, postgres: Postgres, tmp_path: Path, typed: Typed) -> None:
    shop, [section] = apart, typed.claimed
    url = shop.pair.forward.source_url
    with in_shadow(shop):
        file = dumped(postgres, url, tmp_path / "dump")
        shop.pair.source(ADD.format(600, 600))
        same(shop, ALL)
    restored(postgres, url, file)
    with shop.running():
        until(lambda: "slot strangler_books_forward is gone" in words(shop), "it is seen")
        look, *mend = typed.of(*section)
        code, found, _ = typed(shop, look)
        assert (code, '"600"' in found or "600" in found) == (1, True)
        go_on(shop, typed, mend)
        same(shop, ALL)
    assert shop.pair.target(NEWER) == []


@runs(CLAIMED, (PAGE, "The monolith's database, while the service owns"))
def test_both_can_be_written_until_the_fence_is_raised_and_rows_are_put_back(
    apart: Shop, postgres: Postgres, tmp_path: Path, typed: Typed
) -> None:
    shop, [section] = apart, typed.claimed
    look, raise_, read_only, *on = typed.of(*section)
    url = shop.pair.forward.source_url
    with in_shadow(shop):
        file = dumped(postgres, url, tmp_path / "dump")
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        same(shop, ALL)
    restored(postgres, url, file)
    with shop.running():
        until(lambda: "slot strangler_books_forward is gone" in words(shop), "it is seen")
        said = " ".join(typed(shop, look)[1].split())
        assert "the service owns, and the monolith's database is open: who writes there is not refused" in said
        until(lambda: "past the" in words(shop), "the way back tells that its slot is a day further")
        assert owners(shop) == ["monolith", "service"]
        assert "→ strangler fence raise books" in " ".join(shop.say("rollback", "books", *WHY)[1].split())
        assert typed(shop, raise_)[0] == 0
        assert owners(shop) == ["service"]
        assert "is open" not in words(shop)
        assert may(shop, Stack.SERVICE, ADD.format(601, 601))
        assert typed(shop, read_only)[0] == 0
        assert shop.say("sync", "verify", "books")[0] == 1
        for row in shop.pair.target("select id, author_id, title from book where id >= 600"):
            shop.pair.source("insert into book values ({}, {}, '{}')".format(*row))
        go_on(shop, typed, on)
        same(shop, ALL)
        assert shop.pair.source(NEWER) == [(600,), (601,)]
        assert shop.say("cutover", "books", *WHY)[0] == 0
        same(shop, ALL)
