"""Rows that differ repaired, as somebody at a terminal does it."""

from __future__ import annotations

from typing import Any

import pytest

from strangler.sync import repairing, rewriting
from strangler.sync.errors import TimedOut
from tests.fixtures.books import ALL, Shop
from tests.fixtures.command import Said, printed_json
from tests.fixtures.spoiling import spoil
from tests.fixtures.waiting import until
from tests.integration.strangler.sync import test_syncing


def repair(shop: Shop, *more: str) -> Said:
    return shop.say("sync", "repair", "books", "--reason", "a defect", *more)


def history(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = printed_json(shop.say("history", "books", "--json"))[0]
    return found


def test_what_differs_is_shown_repaired_proved_and_told(shop: Shop) -> None:
    shop("start")
    with shop.running() as told:
        shop("backfill", "--inline")
        spoil(
            shop.pair,
            "insert into author values (99, 'Nobody')",
            "insert into book values (999, 99, 'Nothing')",
            "update book set title = 'wrong' where id = 7",
            "delete from book where id = 8",
        )
        code, out, err = repair(shop, "--dry-run")
        assert (code, "Book 7" in out, "wrong" in out, err) == (1, True, True, "")
        assert shop.pair.target("select title from book where id = 7") == [("wrong",)]
        assert history(shop)["command"] == "sync-complete"

        code, out, err = repair(shop)
        assert (code, err) == (0, "")
        assert "books: 1 inserted, 1 updated, 2 deleted" in out
        assert "books: these 4 rows are equal now" in out
        assert shop.pair.target(ALL) == shop.pair.source(ALL)
        found = history(shop)
        assert (found["command"], found["who"], found["reason"]) == ("sync-repair", "ann", "a defect")
        assert found["evidence"] == {"found": {"author": 1, "book": 3}, "inserted": 1, "updated": 1, "deleted": 2}
        assert found["before"] == found["after"]
        assert shop.stage == "shadow"

        code, out, _ = repair(shop)
        assert (code, "equal" in out) == (0, True)
        assert history(shop)["id"] == found["id"]
        [status] = printed_json(shop.say("sync", "status", "--json"))
        assert (status["verified"]["equal"], status["reverse"]["changes"]) == (True, 0)
        assert told == []


def test_more_rows_than_asked_for_are_left_and_other_tables(shop: Shop) -> None:
    shop("start")
    with shop.running():
        shop("backfill", "--inline")
        spoil(shop.pair, "update book set title = title || '!' where id < 5", "delete from book where id > 400")
        spoil(shop.pair, "update author set name = 'wrong' where id = 7")
        assert repair(shop, "--table", "author")[0] == 0
        assert shop.pair.target("select name from author where id = 7") == [("Author 7",)]
        assert shop.pair.target("select title from book where id = 3") == [("Book 3!",)]
        code, _, err = repair(shop, "--table", "toys")
        assert (code, "books maps no table named 'toys'" in err) == (2, True)
        code, _, err = repair(shop, "--at-most", "103")
        assert code == 2
        assert "104 rows of books differ, and at most 103 are repaired" in err
        assert "sync start books --replace" in err
        assert repair(shop, "--at-most", "104")[0] == 0
    assert shop.pair.target(ALL) == shop.pair.source(ALL)


def test_nothing_is_repaired_where_rows_may_be_on_their_way(shop: Shop) -> None:
    assert "books is not streamed" in repair(shop)[2]
    shop("start")
    assert "nobody applies the stream of books" in repair(shop)[2]
    with shop.running():
        until(lambda: test_syncing.running_slots(shop.pair) == 2, "both streams run")
        code, _, err = repair(shop)
        assert (code, "books is being copied" in err) == (2, True)


def test_what_was_done_before_it_could_not_go_on_is_in_the_history(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    done = rewriting.Rewritten(updated=3)

    def fail(*_: object) -> Any:
        yield done
        raise TimedOut("night job")

    shop("start")
    with shop.running():
        shop("backfill", "--inline")
        spoil(shop.pair, "update book set title = 'wrong' where id = 9")
        monkeypatch.setattr(repairing, "rewrite", fail)
        code, _, err = repair(shop)
        assert (code, "night job" in err) == (2, True)
        assert history(shop)["evidence"] == {"found": {"book": 1}, "inserted": 0, "updated": 3, "deleted": 0}
