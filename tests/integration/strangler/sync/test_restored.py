"""One of two databases is put back to what it was yesterday, and somebody types what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from strangler.capability import Stack
from strangler.local import Postgres
from tests.fixtures.books import ALL, Shop
from tests.fixtures.moving import ADD, WHY, in_shadow, may, owners, same
from tests.fixtures.restoring import dumped, restored
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
def test_the_copy_is_filled(apart: Shop, service_server: Postgres, tmp_path: Path, typed: Typed) -> None:
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


@pytest.mark.parametrize("backup", ["before the cutover", "after it"])
@runs(CLAIMED, (PAGE, "The monolith's database, while the service owns"))
def test_the_monolith_is_filled_from_the_service_and_may_own_again(
    apart: Shop, postgres: Postgres, tmp_path: Path, typed: Typed, backup: str
) -> None:
    shop, [section] = apart, typed.claimed
    look, raise_, refill, rehearse = typed.of(*section)
    url = shop.pair.forward.source_url
    with in_shadow(shop):
        early = dumped(postgres, url, tmp_path / "early")
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        same(shop, ALL)
        file = early if backup == "before the cutover" else dumped(postgres, url, tmp_path / "late")
        assert may(shop, Stack.SERVICE, ADD.format(601, 601))
        assert may(shop, Stack.SERVICE, "update book set title = 'Later' where id = 7")
        assert may(shop, Stack.SERVICE, "delete from book where id = 8")
        same(shop, ALL)
    restored(postgres, url, file)
    with shop.running():
        until(lambda: "slot strangler_books_forward is gone" in words(shop), "it is seen")
        said = " ".join(typed(shop, look)[1].split())
        is_open = "the service owns, and the monolith's database is open: who writes there is not refused"
        assert (is_open in said) == (backup == "before the cutover")
        until(lambda: "past the" in words(shop), "the way back tells that its slot is a day further")
        assert shop.say("rollback", "books", *WHY)[0] == 1
        assert typed(shop, raise_)[0] == 0
        assert owners(shop) == ["service"]
        assert "is open" not in words(shop)
        assert may(shop, Stack.SERVICE, ADD.format(602, 602))
        code, out, err = typed(shop, refill)
        assert (code, "books: equal" in out) == (0, True), (out, err)
        assert typed(shop, rehearse)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(603, 603))
        assert shop.say("rollback", "books", *WHY)[0] == 0
        assert owners(shop) == ["monolith"]
        same(shop, ALL)
        assert shop.pair.source(NEWER) == [(600,), (601,), (602,), (603,)]
        assert shop.pair.source("select id, title from book where id in (7, 8)") == [(7, "Later")]
        assert shop.say("cutover", "books", *WHY)[0] == 0
        same(shop, ALL)
