"""A capability retired by two people, with and without a copy, and the monolith's tables dropped in the end."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from strangler.capability import Stack
from strangler.ledger import Publisher
from tests.fixtures.books import ALL, Shop
from tests.fixtures.command import printed_json
from tests.fixtures.moving import ADD, WHY, in_shadow, may, same

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "retire.md"
LEFT = (
    "select (select count(*) from pg_replication_slots where database = current_database()),"
    " (select count(*) from pg_publication)"
)


def retire(shop: Shop, monkeypatch: pytest.MonkeyPatch, who: str, *words: str) -> tuple[int, str, str]:
    monkeypatch.setenv("STRANGLER_WHO", who)
    return shop.say("retire", "books", *words)


def test_two_people_retire_and_the_copy_goes_on_until_it_is_dropped(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_shadow(shop):
        assert "its service must own the data first" in retire(shop, monkeypatch, "ann", *WHY)[2]
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert "nobody has proposed to retire books" in retire(shop, monkeypatch, "bob", "--confirm")[2]
        assert "say why" in retire(shop, monkeypatch, "ann")[2]
        code, out, _ = retire(shop, monkeypatch, "ann", "--keep-copy", *WHY)
        assert (code, "there is no way back any more" in out) == (0, True)
        assert shop.stage == "service"
        assert "ann has proposed this; another person confirms it" in retire(shop, monkeypatch, "ann", "--confirm")[2]
        assert shop.say("set", "books", "--reads", "90%", *WHY)[0] == 0
        assert "since ann proposed this; propose it anew" in retire(shop, monkeypatch, "bob", "--confirm")[2]
        assert "some of its reads are with the monolith" in retire(shop, monkeypatch, "ann", *WHY)[2]
        assert shop.say("set", "books", "--reads", "100%", *WHY)[0] == 0
        assert retire(shop, monkeypatch, "ann", "--keep-copy", *WHY)[0] == 0
        _expire(shop)
        assert "what ann proposed has expired at" in retire(shop, monkeypatch, "bob", "--confirm")[2]
        assert retire(shop, monkeypatch, "ann", "--keep-copy", *WHY)[0] == 0
        code, out, err = retire(shop, monkeypatch, "bob", "--confirm")
        assert (code, err) == (0, "")
        assert "books is retired: ann proposed it (trying), bob confirmed" in out
        assert (shop.stage, shop.state["data"]) == ("retired", "streamed")
        [entry] = [each for each in printed_json(shop.say("history", "books", "--json")) if each["command"] == "retire"]
        assert (entry["who"], entry["evidence"]["proposed_by"]) == ("bob", "ann")
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        assert not may(shop, Stack.MONOLITH, ADD.format(601, 601))
        same(shop, ALL)
        assert (shop.pair.source(LEFT), shop.pair.target(LEFT)) == ([(0, 0)], [(1, 1)])
        assert "the monolith's tables are fenced, and follow the service" in shop("status")[1]
        for verb in ("rollback", "kill"):
            assert "it is retired: there is no way back" in shop.say(verb, "books", *WHY)[2]
        code, out, _ = shop("remove")
        assert (code, "the monolith's tables stay fenced" in out) == (0, True)
    assert (shop.pair.source(LEFT), shop.pair.target(LEFT)) == ([(0, 0)], [(0, 0)])
    assert may(shop, Stack.SERVICE, ADD.format(602, 602))
    with pytest.raises(psycopg.Error, match="its owner is the service") as refused:
        shop.pair.source("set strangler.fence = ''", ADD.format(603, 603))
    assert refused.value.sqlstate == "SF001"
    _drop(shop)
    left = "select count(*) from pg_class where relname in ('book', 'author')"
    assert shop.pair.source(left, "select to_regnamespace('strangler_sync')") == [(None,)]
    assert shop.pair.source(left) == [(0,)]


def test_what_is_retired_without_a_copy_leaves_no_slot_and_a_fence(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert retire(shop, monkeypatch, "ann", *WHY)[0] == 0
        assert retire(shop, monkeypatch, "bob", "--confirm")[0] == 0
        assert (shop.stage, shop.state["data"]) == ("retired", "absent")
        assert (shop.pair.source(LEFT), shop.pair.target(LEFT)) == ([(0, 0)], [(0, 0)])
        assert not may(shop, Stack.MONOLITH, ADD.format(601, 601))
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        assert "retired already" in retire(shop, monkeypatch, "ann", *WHY)[1]
    assert "its service owns the data and answers every read" in shop.say("rollback", "books", "--force", *WHY)[2]


def _expire(shop: Shop) -> None:
    with Publisher.open(shop.project) as publisher:
        publisher.ledger.connection.execute("update strangler.proposal set expires_at = clock_timestamp()")


def _drop(shop: Shop) -> None:
    """Run what the page says, with the example's names."""
    [statements] = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    shop.pair.source(*[each for each in statements.split(";\n") if each.strip()])
