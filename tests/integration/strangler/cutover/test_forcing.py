"""The service's database dies after a cutover, and the monolith takes the data back without what it lacks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from strangler.capability import Stack
from strangler.cutover import forcing
from strangler.local import Postgres
from tests.fixtures.books import ALL, AUTHOR, AUTHORS, BOOK, Shop
from tests.fixtures.command import printed_json
from tests.fixtures.moving import ADD, WHY, in_shadow, may, same
from tests.fixtures.postgres import kill, revive
from tests.fixtures.streams import Paired
from tests.fixtures.waiting import until

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "forced-rollback.md"
FORCE = ("--force", "--accept-loss", *WHY)
LOST = (ADD.format(601, 601), ADD.format(602, 602), "delete from book where id = 5", "update author set name = 'Z'")


def test_a_dead_service_is_left_at_a_loss_that_is_told_and_is_fenced_when_it_returns(
    apart: Shop, service_server: Postgres
) -> None:
    """What is typed is what the page for that night says."""
    shop = apart
    written = re.findall(r"^    strangler (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    read_only, clear, dry, force, resume, history, start, backfill = map(shlex.split, written)
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        same(shop, ALL)
    for statement in LOST:
        assert may(shop, Stack.SERVICE, statement)
    assert "so nothing has to be lost: strangler rollback books" in shop.say("rollback", "books", *FORCE)[2]
    kill(service_server)
    try:
        assert shop.say(*read_only)[0] == 0
        assert (shop.state["share"], shop.state["read_only"]) == (0, "the service's database is away")
        assert shop.say(*clear)[0] == 0
        code, out, _ = shop.say(*dry)
        assert (code, "writes that the service acknowledged after 2" in out, shop.stage) == (0, True, "service")
        code, out, err = shop.say("rollback", "books", "--force", *WHY)
        assert (code, "whoever accepts that loss says --accept-loss" in err, shop.stage) == (1, True, "service")
        code, out, err = shop.say(*force)
        assert (code, err) == (0, "")
        assert "the monolith owns it now" in out
        assert "the service's database is not fenced" in shop.say(*resume)[1]
        assert "its service's database is not fenced" in shop.say("status")[1]
        assert (shop.stage, shop.state["move"]["phase"]) == ("monolith", "barring")
        assert may(shop, Stack.MONOLITH, ADD.format(700, 700))
        assert "has not been fenced since the rollback that was forced" in shop("start")[2]
        assert "has not been fenced since the rollback that was forced" in shop("remove")[2]
    finally:
        revive(service_server)
    assert may(shop, Stack.SERVICE, ADD.format(603, 603)), "it comes back unfenced, until somebody looks"
    with shop.running() as told:
        until(lambda: shop.state["move"]["phase"] == "done", "it is barred", 20)
        until(lambda: told, "it is told")
        assert "and is fenced; it wrote 34 keys that the monolith lacks, in 5 transactions" in told[-1]
        assert not may(shop, Stack.SERVICE, ADD.format(604, 604))
        [entry] = [each for each in printed_json(shop.say(*history)) if each["command"] == "move-lost"]
        tables = entry["evidence"]["lost"]["tables"]
        assert tables["book"] == {"keys": 4, "named": [["5"], ["601"], ["602"], ["603"]]}
        assert tables["author"]["keys"] == 30
        query = "select id from book where id >= 600 order by id"
        assert shop.pair.source(query) == [(600,), (700,)]
        assert shop.pair.target(query) == [(600,), (601,), (602,), (603,)]
        slots = "select count(*) from pg_replication_slots where slot_name like 'strangler_books%'"
        assert (shop.pair.source(slots), shop.pair.target(slots)) == ([(0,)], [(0,)])
        assert "rows" in shop("start")[2]
        assert not may(shop, Stack.SERVICE, ADD.format(605, 605)), "a start that is refused lowers no fence"
        assert shop.say(*start)[0] == 0
        assert shop.say(*backfill)[0] == 0
        same(shop, ALL)
        assert shop.say("cutover", "books", *WHY)[0] == 0


@pytest.mark.parametrize("verb", ["rollback", "kill"])
def test_a_stream_that_is_broken_is_left_at_a_loss_that_is_exact(shop: Shop, verb: str) -> None:
    """The service's database answers, so it is fenced before the monolith is opened."""
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
    for statement in LOST:
        assert may(shop, Stack.SERVICE, statement)
    shop.pair.source("update strangler_sync.stream set given_up = 'a test' where name = 'strangler_books_reverse'")
    code, out, err = shop.say(verb, "books", *FORCE)
    assert (code, err) == (0, "")
    assert "the service's database is fenced; it wrote 33 keys that the monolith lacks, in 4 transactions" in out
    assert [may(shop, stack, "delete from book where id < 0") for stack in Stack] == [True, False]
    state = shop.state
    assert (state["stage"], state["move"]["phase"]) == ("monolith", "done")
    assert state["killed"] == ("trying" if verb == "kill" else None)
    assert "the monolith owns books already" in shop.say("rollback", "books", *FORCE)[2]


def test_a_database_that_never_returns_is_replaced_by_another(apart: Shop, pair: Paired) -> None:
    shop = apart

    def at(url: str) -> None:
        env = shop.file.parent / "env"
        env.write_text(re.sub(r"^TARGET=.*$", f"TARGET={url}", env.read_text(), flags=re.MULTILINE))

    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
    at("postgresql://nobody@127.0.0.1:1/gone")
    assert shop.say("rollback", "books", *FORCE)[0] == 0
    assert "strangler publish --drop" in _published_without(shop)
    other = pair("select", AUTHORS, AUTHOR, BOOK, begin=False, capability="books")
    at(other.forward.target_url)
    out = shop.say("resume", "books", *WHY)[1]
    assert 'lacks cannot be told: replication slot "strangler_books_reverse" does not exist' in out
    assert shop.state["move"]["phase"] == "done"
    with shop.running():
        assert shop("start")[0] == 0
        assert shop("backfill", "--inline")[0] == 0
        until(lambda: other.target(ALL) == shop.pair.source(ALL), "it has the rows", 20)


def _published_without(shop: Shop) -> str:
    folder = shop.file.parent / "migrations" / "books"
    aside = folder.rename(shop.file.parent / "aside")
    try:
        return shop.say("publish")[2]
    finally:
        aside.rename(folder)


def test_what_was_forced_and_left_is_carried_on_by_who_keeps_the_streams_going(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
    shop.pair.source("update strangler_sync.stream set given_up = 'a test' where name = 'strangler_books_reverse'")
    opens = forcing._open
    monkeypatch.setattr(forcing, "_open", interrupted)
    assert shop.say("rollback", "books", *FORCE)[0] == 130
    monkeypatch.setattr(forcing, "_open", opens)
    assert shop.state["move"]["phase"] == "forced"
    assert [may(shop, stack, "delete from book where id < 0") for stack in Stack] == [False, False]
    with shop.running() as told:
        until(lambda: shop.state["move"]["phase"] == "done", "it is over", 30)
        until(lambda: "books: whoever moved the owner has left it; the monolith owns it now, by force" in told, "told")
    assert [may(shop, stack, "delete from book where id < 0") for stack in Stack] == [True, False]
