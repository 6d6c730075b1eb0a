"""What a stream applies is noted for reactions: each change once, as it was, and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from strangler.capability import Stack
from strangler.project import Reaction, TableMapping
from strangler.sync import fence, fencing, install, metrics, reacting, status, transfer
from strangler.sync.check.run import refuse_losses
from strangler.sync.direction import Direction
from strangler.sync.errors import MappingInvalid
from strangler.sync.rewriting import rewrite
from tests.fixtures.streams import Pair, Paired, project_of, table
from tests.fixtures.waiting import until

BOOK = "create table book (id bigint primary key, title text, body text, shown boolean not null default true)"
COLUMNS = {"title": "title", "body": "body", "shown": "shown"}
NOTED = "select op, key, old, new from strangler_sync.reaction order by id"
TRIGGERS = "select tgname::text, tgenabled::text from pg_trigger where tgname like 'strangler_react%' order by 1"


def reaction(name: str = "shelf", *columns: str, stack: Stack = Stack.SERVICE) -> Reaction:
    return Reaction(name=name, stack=stack, columns=columns)


def book(*reactions: Reaction) -> TableMapping:
    return table("book", "book", {"id": "id"}, COLUMNS, reverse=COLUMNS, reactions=reactions)


def declaring(direction: Direction, *reactions: Reaction) -> Direction:
    return replace(direction, tables=(book(*reactions),))


def noted(pair: Pair) -> list[Any]:
    return pair.target(NOTED)


def test_each_change_that_a_stream_applies_is_noted_once_and_as_it_was(pair: Paired) -> None:
    made = pair(BOOK, BOOK, book(reaction("shelf", "title", "shown"), reaction("all")))

    def follow() -> None:
        made.equal("select * from book order by 1", "select * from book order by 1")

    long = "translate(repeat(md5(random()::text), 400), 'a', 'b')"  # beside the row, and left out where it is unchanged
    made.source(f"insert into book values (1, 'One', {long}), (2, 'Two', 'short')")
    made.start()
    follow()
    made.source("update book set title = 'Uno' where id = 1")
    made.source("update book set body = 'longer' where id = 2")  # of which the first is told nothing
    follow()
    made.source("update book set id = 3 where id = 2")
    follow()
    made.source(*(f"update book set title = '{each}'" for each in ("x", "y", "Uno")))  # in one transaction
    follow()
    made.source("truncate book")
    follow()
    made.source("insert into book values (4, 'Four', null)", "delete from book")
    made.source("insert into book values (5, null, null, false)")
    follow()
    made.target("update book set title = 'not the stream''s'")  # by the sync's own role, even
    made.stop()

    told = [each[1:] for each in made.target(f"select reaction, {NOTED.removeprefix('select ')}") if each[0] == "shelf"]
    emptied = sorted(told[6:8], key=str)  # in whatever order they lie there
    assert [*told[:6], *emptied, *told[8:]] == [
        ("insert", {"id": 1}, None, {"title": "One", "shown": True}),
        ("insert", {"id": 2}, None, {"title": "Two", "shown": True}),
        ("update", {"id": 1}, {"title": "One", "shown": True}, {"title": "Uno", "shown": True}),
        ("delete", {"id": 2}, {"title": "Two", "shown": True}, None),
        ("insert", {"id": 3}, None, {"title": "Two", "shown": True}),
        ("update", {"id": 3}, {"title": "Two", "shown": True}, {"title": "Uno", "shown": True}),
        ("delete", {"id": 1}, {"title": "Uno", "shown": True}, None),
        ("delete", {"id": 3}, {"title": "Uno", "shown": True}, None),
        ("insert", {"id": 5}, None, {"title": None, "shown": False}),
    ]
    [(whole,)] = made.target(
        "select (new ->> 'body') = (select new ->> 'body' from strangler_sync.reaction where reaction = 'all' and op ="
        " 'insert' and key = '{\"id\": 1}') and length(new ->> 'body') > 10000 from strangler_sync.reaction where"
        " reaction = 'all' and op = 'update' and key = '{\"id\": 1}'"
    )
    assert whole


def test_rows_that_are_copied_are_no_changes_and_rows_that_are_repaired_are(pair: Paired) -> None:
    made = pair(BOOK, BOOK, book(reaction()), begin=False)
    made.begin(copying=True)
    made.source("insert into book values (1, 'One')")
    made.start()
    made.equal("select id from book", "select id from book")
    made.stop()
    assert noted(made) == []
    made.target("update strangler_sync.stream set copying = false")
    made.target("update book set title = 'spoilt'")
    made.start()
    assert sum(each.rows for each in rewrite(made.forward, {"book": [("1",)]})) == 1
    until(lambda: len(noted(made)) > 0, "the repair is noted")
    made.stop()
    assert noted(made)[-1][3]["title"] == "One"


def test_what_is_declared_anew_takes_the_place_of_what_was_and_nothing_is_left_in_the_end(pair: Paired) -> None:
    made = pair(BOOK, BOOK, book(reaction("one"), reaction("two", "title")))
    assert made.target(TRIGGERS) == [("strangler_react_one", "A"), ("strangler_react_two", "A")]
    oids = "select oid from pg_trigger where tgname like 'strangler_react%' order by tgname"
    before = made.target(oids)
    with transfer.open_database(made.forward.target_url, "target") as target:
        reacting.install(target, made.forward)
        assert made.target(oids) == before
        around = fencing.fence_of(made.forward)
        fence.claim(target, around.capability, 1)
        fence.raise_fence(target, around, epoch=1, owner=Stack.MONOLITH, budget_s=5)
        reacting.install(target, declaring(made.forward, reaction("two", "shown"), reaction("three")))
        assert fence.drift(target, around) == []
        odd = declaring(made.forward, reaction("odd", "pages"))
        with odd.open() as (source, _), pytest.raises(MappingInvalid, match=r"\[\[table.reaction\]\] odd"):
            refuse_losses(odd, source, target)
        with pytest.raises(MappingInvalid, match=r"\[\[table.reaction\]\] odd: .*book has no column pages; there: id"):
            reacting.install(target, odd)
    assert made.target(TRIGGERS) == [("strangler_react_three", "A"), ("strangler_react_two", "A")]
    assert [made.target(oids)[1]] != [before[1]]
    for direction in (made.forward, made.back):
        install.remove(direction)
    assert made.target(TRIGGERS) == []
    assert made.target("select to_regnamespace('strangler_sync')::text") == [(None,)]


def test_what_waits_and_what_failed_is_told(pair: Paired, tmp_path: Any) -> None:
    made = pair(BOOK, BOOK, book(reaction("shelf"), reaction("idle", "body")))
    made.start()
    made.source("insert into book values (1, 'One')")
    made.source("delete from book where false")
    until(lambda: len(noted(made)) == 2, "both are noted")
    made.target("delete from strangler_sync.reaction where reaction = 'idle'")
    made.target(
        "insert into strangler_sync.reaction_trouble (reaction, change, tries, error)"
        " select 'shelf', id, 3, 'ValueError: no shelf' from strangler_sync.reaction"
    )
    [found] = status.status(project_of(made, tmp_path, control=made.forward.source_url))
    idle, shelf = found.forward.reactions
    assert (idle.name, idle.waiting, idle.oldest_s, idle.trouble) == ("idle", 0, None, None)
    assert (shelf.name, shelf.waiting, shelf.tries, shelf.trouble) == ("shelf", 1, 3, "ValueError: no shelf")
    assert shelf.oldest_s is not None
    told = {
        (sample.name, sample.labels["reaction"]): sample.value
        for family in metrics.families([found])
        for sample in family.samples
        if "reaction" in sample.labels
    }
    assert told["strangler_sync_reaction_waiting", "shelf"] == 1
    assert told["strangler_sync_reaction_tries", "shelf"] == 3
    assert told["strangler_sync_reaction_lag_seconds", "idle"] == 0
    made.stop()
