"""Tables altered on either side of a stream, with rows written before and after: equal rows, or a reason why not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from strangler.sync.errors import SyncError
from strangler.sync.rewriting import rewrite
from strangler.sync.stream import follow
from tests.fixtures.streams import Pair, Paired, as_a_release_before, table
from tests.fixtures.waiting import until
from tests.integration.strangler.sync.test_filling import chunks, fill, finish

SOURCE = """
create table book (
  id integer primary key, code text unique, title varchar(20) not null, pages integer default 1,
  price numeric(10, 2), note text, spare text
);
alter table book alter column note set storage external;
"""
TARGET = """
create table item (
  id bigint primary key, title text not null, pages integer, price text, note text, extra text
);
"""
BOOK = table(
    "book",
    "item",
    {"id": "id"},
    {"title": "title", "pages": "pages", "price": "price", "note": "note"},
    reverse={"title": "title", "pages": "pages", "price": "price::numeric", "note": "note"},
)
ITEMS = "select id, title, pages, price, md5(note) as note from item order by id"
BOOKS = "select id, title, pages, price::text, md5(note) as note from book order by id"
REASON = "select stopped from strangler_sync.stream"
# Long values of which updates leave some as they were, so that the source does not send them.
BEFORE = "insert into book select n, 'c' || n, 'Book ' || n, n, n, repeat('n', n * 500) from generate_series({}, {}) n"
AFTER = (
    "update book set price = 1 + coalesce(price, 0) where id % 3 = 0",
    "delete from book where id % 5 = 0",
    "update book set id = id + 1000 where id % 7 = 0",
)
WAYS = ("running", "down", "copying")


@dataclass(frozen=True, slots=True)
class Altered:
    """What is done to one side, and what is written to the source afterwards, in the same transaction."""

    does: str
    then: Sequence[str] = ("insert into book values (901, 'new', 'New', 3, 4, 'n')", *AFTER)
    target: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """What is done, what is written then, and what must be in the reason."""

    does: str
    says: str
    then: Sequence[str] = AFTER


NAMED = ("insert into book (id, code, title, note) values (901, 'new', 'New', 'n')", *AFTER)
PASSES = {
    "nullable column": Altered("alter table book add column born date", NAMED),
    "column with a default": Altered("alter table book add column born date default '1970-01-01'", NAMED),
    "column that must have a value": Altered("alter table book add column rank integer not null default 3", NAMED),
    "column whose default rewrites the table": Altered(
        "alter table book add column made timestamptz not null default clock_timestamp()", NAMED
    ),
    "unmapped column dropped": Altered("alter table book drop column spare", NAMED),
    "unmapped column renamed": Altered("alter table book rename column spare to other", NAMED),
    "unmapped column of another type": Altered("alter table book alter spare type jsonb using null", NAMED),
    "default": Altered("alter table book alter column pages set default 77", NAMED),
    "mapped column that must have a value": Altered("alter table book alter column pages set not null"),
    "index": Altered("create index on book (title); create unique index on book (code, title)"),
    "constraint": Altered("alter table book add constraint full_ check (pages >= 0)"),
    "table that refers to it": Altered("create table page (book_id integer references book on delete cascade)"),
    "whole rows as identity": Altered("alter table book replica identity full"),
    "no identity": Altered(
        "alter table book replica identity nothing", ["insert into book values (901, 'new', 'New', 3, 4, 'n')"]
    ),
    "wider integer": Altered(
        "alter table book alter column id type bigint",
        ["insert into book values (5000000000, 'new', 'New', 3, 4, 'n')", *AFTER],
    ),
    "longer text": Altered(
        "alter table book alter column title type varchar(200)",
        ["insert into book values (901, 'new', repeat('New', 20), 3, 4, 'n')", *AFTER],
    ),
    "text without a length": Altered(
        "alter table book alter column title type text",
        ["insert into book values (901, 'new', repeat('New', 200), 3, 4, 'n')", *AFTER],
    ),
    "number of more digits": Altered(
        "alter table book alter column price type numeric(12, 2)",
        ["insert into book values (901, 'new', 'New', 3, 9999999999.99, 'n')", *AFTER],
    ),
    "target's nullable column": Altered("alter table item add column more text", target=True),
    "target's column that must have a value": Altered(
        "alter table item add column more integer not null default 3", target=True
    ),
    "target's unmapped column dropped": Altered("alter table item drop column extra", target=True),
    "target's index": Altered("create index on item (title)", target=True),
    "target's wider integer": Altered(
        "alter table item alter column pages type bigint; alter table item add check (pages > 0)", target=True
    ),
}
STOPS = {
    "dropped": Stopped("alter table book drop column note", "public.book.note was dropped", ["delete from book"]),
    "dropped and made anew": Stopped(
        "alter table book drop column note; alter table book add column note text",
        "public.book.note was dropped and made anew",
    ),
    "renamed": Stopped("alter table book rename column title to name", "public.book.title is called name now"),
    "of another type": Stopped(
        "alter table book alter column note type jsonb using to_jsonb(note)",
        "public.book.note is jsonb now, and was text",
    ),
    "of a type that others have as text": Stopped(
        "alter table book alter column pages type text", "public.book.pages is text now, and was integer"
    ),
    "narrower integer": Stopped(
        "alter table book alter column pages type smallint", "public.book.pages is smallint now, and was integer"
    ),
    "rounded": Stopped(
        "alter table book alter column price type numeric(10, 1)",
        r"public.book.price is numeric\(10,1\) now, and was numeric\(10,2\)",
    ),
    "of other digits": Stopped(
        "alter table book alter column price type numeric(10, 3)",
        r"public.book.price is numeric\(10,3\) now, and was numeric\(10,2\)",
    ),
    "cut": Stopped(
        "alter table book alter column title type varchar(4) using left(title, 4)",
        r"public.book.title is character varying\(4\) now, and was character varying\(20\)",
    ),
    "table renamed": Stopped(
        "alter table book rename to volume", "public.book is called public.volume now", ["delete from volume"]
    ),
    "table swapped": Stopped(
        "alter table book rename to volume; create table book (like volume including all)",
        "public.book is called public.volume now",
    ),
    "table in another schema": Stopped(
        "create schema shelf; alter table book set schema shelf",
        "public.book is called shelf.book now",
        ["delete from shelf.book"],
    ),
    "table dropped": Stopped("drop table book", "public.book was dropped", ()),
    "key dropped": Stopped(
        "alter table book drop constraint book_pkey; alter table book replica identity full",
        "public.book may have rows of the same id now",
        ("insert into book values (3, 'more', 'More', 3, 4, 'n')", *AFTER),
    ),
    "key changed": Stopped(
        "alter table book drop constraint book_pkey, add primary key (code)",
        "public.book may have rows of the same id now",
    ),
    "another identity": Stopped(
        "alter table book alter column code set not null; alter table book replica identity using index book_code_key",
        "a change of public.book does not tell the mapping's key",
    ),
}

# What is done to the target, what must be in the reason, and what mends it there.
REFUSED = {
    "dropped": ("alter table item drop column note", "item.note|column note", "alter table item add column note text"),
    "renamed": (
        "alter table item rename column title to name",
        "item.title|column title|title of relation .item|item.name",
        "alter table item rename column name to title",
    ),
    "that must have a value": (
        "alter table item add column more integer not null default 3; alter table item alter column more drop default",
        "item.more must have a value|public.book .*column .more. of relation .item",
        "alter table item alter column more set default 3",
    ),
    "of another type": (
        "alter table item alter column note type integer using length(note)",
        r"public.book \(.*\) cannot be applied: .*: invalid input syntax for type integer",
        "alter table item alter column note type text",
    ),
    "cut": (
        "alter table item alter column title type varchar(8)",
        r"public.book \(.*\) cannot be applied: .*: value too long for type character varying\(8\), as item.title is",
        "alter table item alter column title type text",
    ),
    "table renamed": (
        "alter table item rename to thing",
        "the target has no table item|relation .item. does not exist",
        "alter table thing rename to item",
    ),
}


def shop(pair: Paired, way: str) -> Pair:
    """Return a pair whose stream is running, is down, or runs beside a copy that is half done."""
    return begun(pair(SOURCE, TARGET, BOOK, begin=False), way, BEFORE.format(1, 40), ITEMS, BOOKS)


def begun(found: Pair, way: str, rows: str, there: str, here: str) -> Pair:
    if way == "copying":
        found.source(rows)
    found.begin(copying=way == "copying")
    if way != "copying":
        found.source(rows)
    found.keep()
    if way != "copying":
        found.equal(there, here)
    if way == "down":
        found.stop()
    return found


def alter(found: Pair, does: str, then: Sequence[str], *, target: bool = False, schema: str = "public") -> None:
    """Alter one side, with rows written before and after in one transaction, and in others."""
    there = f"set search_path = {schema}"
    found.source(there, BEFORE.format(41, 50))
    if target:
        found.source(there, BEFORE.format(51, 60))
        found.target(there, does)
        found.source(there, *then)
    else:
        found.source(there, BEFORE.format(51, 60), does, *then)


SCHEMAS = {"with_" + re.sub(r"\W", "_", name): altered for name, altered in PASSES.items()}


def in_each(text: str) -> str:
    """Return what does the same in every schema."""
    return "; ".join(f"set search_path = {each}; {text}" for each in SCHEMAS)


def within(schema: str, query: str) -> str:
    return re.sub(r" from (\w+)", rf" from {schema}.\1", query)


def of_each(query: str) -> str:
    """Return what asks the same of every schema, and says which one a row is of."""
    asked = (f"select '{each}', * from ({within(each, query)}) as one" for each in SCHEMAS)
    return f"{' union all '.join(asked)} order by 1, 2"


@pytest.mark.parametrize("way", WAYS)
def test_what_adds_or_does_not_concern_the_mapping_passes(pair: Paired, way: str) -> None:
    # A schema each in one stream: to begin a stream each was most of what this took.
    schemas = "; ".join(f"create schema {each}" for each in SCHEMAS)
    tables = [replace(BOOK, source=f"{each}.book", target=f"{each}.item") for each in SCHEMAS]
    found = pair(f"{schemas}; {in_each(SOURCE)}", f"{schemas}; {in_each(TARGET)}", *tables, begin=False)
    items, books = of_each(ITEMS), of_each(BOOKS)
    begun(found, way, in_each(BEFORE.format(1, 40)), items, books)
    if way == "copying":
        planned = chunks(found, 20)
        first = {each.target: each for each in reversed(planned)}  # what comes later is of the last, which has no end
        assert len(planned) > len(first) == len(SCHEMAS)
        fill(found, *first.values())
    for name, altered in SCHEMAS.items():
        alter(found, altered.does, altered.then, target=altered.target, schema=name)
        if way == "running":  # it goes on by itself, and not since it began anew for the sake of the next
            found.equal(within(name, ITEMS), within(name, BOOKS))
    if way == "down":
        found.keep()
    if way == "copying":
        fill(found, *(each for each in planned if each != first[each.target]))
        finish(found)
    found.equal(items, books)
    found.source(in_each("insert into book (id, code, title) values (902, 'last', 'Last')"))
    found.equal(items, books)
    assert found.target(REASON) == [(None,)]
    found.stop()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stopped", STOPS.values(), ids=STOPS.keys())
def test_what_makes_other_rows_stops_and_says_why(pair: Paired, stopped: Stopped, way: str) -> None:
    found = shop(pair, way)
    alter(found, stopped.does, stopped.then)
    if way == "down":
        found.keep()
    # Altered while a session begins, the database may say it in its own words first; the next session says it in ours.
    until(lambda: re.search(stopped.says, found.target(REASON)[0][0] or ""), "it is stopped, and says why", 20)
    found.stop()
    numbers = {number for (number,) in found.target("select id from item")}
    assert numbers <= {*range(1, 61)}  # nothing of what came after
    assert numbers >= {*range(1, 41)} or way == "copying"
    for why in (found.target(REASON)[0][0], refused(found)):
        assert re.search(stopped.says, why), why
        assert "begin anew: strangler sync remove, strangler sync start --replace" in why


@pytest.mark.parametrize(("does", "says", "mends"), REFUSED.values(), ids=REFUSED.keys())
def test_a_target_that_does_not_take_a_row_says_why_until_it_is_mended(
    pair: Paired, does: str, says: str, mends: str
) -> None:
    found = shop(pair, "running")
    found.target("truncate item", does)
    found.source("delete from book", "insert into book values (61, 'new', 'The title', 3, 4, 'n')")
    until(lambda: found.target(REASON) != [(None,)], "it is stopped", 20)
    assert re.search(says, found.target(REASON)[0][0])
    until(lambda: len(found.told) > 0, "it was told")
    found.target(mends)
    found.equal(ITEMS, BOOKS)
    until(lambda: found.target(REASON) == [(None,)], "it goes on")
    found.stop()


def test_what_a_type_has_rounded_is_found_when_the_type_is_put_back_as_is_told(pair: Paired) -> None:
    found = pair(SOURCE, TARGET, BOOK)
    found.source(BEFORE.format(1, 10), "update book set price = id + 0.25")
    found.keep()
    found.equal(ITEMS, BOOKS)
    found.source("alter table book alter column price type numeric(10, 0)")
    until(lambda: found.target(REASON) != [(None,)], "it is stopped", 20)
    assert "or put that back and then compare all rows: strangler sync verify" in found.target(REASON)[0][0]
    found.source("alter table book alter column price type numeric(10, 2)")
    until(lambda: found.target(REASON) == [(None,)], "it goes on", 20)
    assert found.target(ITEMS) != found.source(BOOKS)
    list(rewrite(found.forward, {"item": [(str(number),) for number in range(1, 11)]}))
    assert found.target(ITEMS) == found.source(BOOKS)
    found.stop()


def test_rows_of_partitions_that_come_and_go_are_for_repair(pair: Paired) -> None:
    log = "create table log (id bigint primary key, said text)"
    parts = "create table log_{0} partition of log for values from ({0}0) to ({0}9)"
    found = pair(
        f"{log} partition by range (id); {parts.format(1)}; {parts.format(2)}",
        log,
        table("log", "log", {"id": "id"}, {"said": "said"}, reverse={"said": "said"}),
    )
    rows = "select id, said from log order by id"
    found.keep()
    found.source("insert into log values (10, 'a'), (20, 'b')")
    found.equal(rows, rows)
    found.source(
        "alter table log detach partition log_2",
        "create table log_3 (like log including all); insert into log_3 values (30, 'c')",
        "alter table log attach partition log_3 for values from (30) to (39)",
        parts.format(4),
        "insert into log values (11, 'd'), (31, 'e'), (40, 'f')",
    )
    until(lambda: (40,) in found.target("select id from log"), "they have come", 20)
    assert found.target("select id from log order by id") == [(10,), (11,), (20,), (31,), (40,)]
    list(rewrite(found.forward, {"log": [("20",), ("30",)]}))
    assert found.target(rows) == found.source(rows)
    assert found.told == []
    found.stop()


def test_a_stream_that_was_begun_before_outlines_were_kept_keeps_one_from_then_on(pair: Paired) -> None:
    found = pair(SOURCE, TARGET, BOOK)
    as_a_release_before(found)
    found.source(BEFORE.format(1, 10))
    found.keep()
    found.equal(ITEMS, BOOKS)
    found.source("alter table book rename column title to name")
    until(lambda: found.target(REASON) != [(None,)], "it is stopped", 20)
    assert "public.book.title is called name now" in found.target(REASON)[0][0]
    found.stop()


def refused(found: Pair) -> str:
    """Return why a session does not begin, or does not go on."""
    with pytest.raises(SyncError) as caught:
        follow(found.forward, lambda: True)
    return str(caught.value)
