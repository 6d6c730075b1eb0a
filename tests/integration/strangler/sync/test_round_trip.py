"""Rows sent to the service's database and back: what is lost on the way is named, and nothing is kept of it."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from strangler.project import TableMapping
from strangler.sync.check import Finding, Level, check, round_trip
from strangler.sync.check.round_trip import ROWS
from strangler.sync.check.trip import Trip
from strangler.sync.errors import TimedOut
from tests.fixtures.books import MAPPING, Shop
from tests.fixtures.copying import SOURCE
from tests.fixtures.streams import Pair, Paired, table

PRICED = "create table item (id bigint primary key, price numeric, note text)"
CENTS = "create table item (id bigint primary key, cents bigint, note text)"


def priced(**changes: object) -> TableMapping:
    usual = table(
        "item",
        "item",
        {"id": "id"},
        {"cents": "round(price * 100)::bigint", "note": "note"},
        reverse={"price": "cents / 100.0", "note": "note"},
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def of_mapping(pair: Pair) -> list[Finding]:
    return [each for each in check(pair.forward) if each.where == "mapping.toml"]


def told(pair: Pair) -> list[tuple[Level, str]]:
    return [(each.level, each.found) for each in of_mapping(pair)]


def test_a_column_that_loses_something_is_named_with_a_row_and_both_values(pair: Paired) -> None:
    ends = pair(PRICED, CENTS, priced(), begin=False)
    ends.source("insert into item values (1, 9.5, 'as it was'), (2, 9.995, 'rounded'), (3, null, null), (4, 0.001, '')")
    assert told(ends) == [
        (
            Level.STOP,
            "item.price does not come back as it was in 2 of 4 sampled rows: of 2, 9.995 comes back as 10; mend its"
            ' expressions, or say: acknowledged = ["price"] in its [[table]]',
        )
    ]


def test_what_is_acknowledged_stops_nothing(pair: Paired) -> None:
    ends = pair(PRICED, CENTS, priced(acknowledged=("price",)), begin=False)
    ends.source("insert into item values (2, 9.995, null)")
    assert told(ends) == [
        (
            Level.WARN,
            "item.price does not come back as it was in 1 of 1 sampled rows: of 2, 9.995 comes back as 10; it is"
            " acknowledged",
        )
    ]


def test_nothing_is_told_apart_from_null(pair: Paired) -> None:
    there = priced(forward={"cents": "price::bigint", "note": "nullif(note, '')"}, reverse={"note": "note"})
    ends = pair(PRICED, CENTS, there, begin=False)
    ends.source("insert into item values (7, 1, '')")
    unclaimed, lost = told(ends)
    assert unclaimed[0] is Level.WARN
    assert unclaimed[1].startswith("nothing gives price of item back")
    assert lost[1].startswith("item.note does not come back as it was in 1 of 1 sampled rows: of 7, '' comes back as")


def test_the_last_rows_of_a_large_table_are_tried_and_some_of_all_the_others(pair: Paired) -> None:
    ends = pair(PRICED, CENTS, priced(), begin=False)
    ends.source(
        "insert into item select n, n, 'same' from generate_series(1, 5000) n",
        "update item set price = 0.001 where id = 5000",
        "update item set note = repeat('x', 9) where id % 10 = 0",
        "analyze item",
    )
    [(_, only_the_last)] = told(ends)
    assert "item.price does not come back as it was in 1 of " in only_the_last
    assert "sampled rows: of 5000, 0.001 comes back as 0" in only_the_last
    assert ROWS // 2 < int(only_the_last.split(" of ")[1].split(" ")[0]) <= ROWS
    ends.source("update item set price = 0.001 where id between 1 and 4000 and id % 4 = 0")
    [(_, early)] = told(ends)
    assert int(early.split(" in ")[1].split(" ")[0]) > 50


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (
            "create table item (id bigint primary key, cents bigint check (cents < 100000), note text)",
            'does not go into the service\'s table: new row for relation "strangler_there" violates check constraint',
        ),
        (
            "create table item (id bigint primary key, cents integer, note text)",
            "does not go into the service's table: integer out of range",
        ),
        (
            "create table item (id bigint primary key, cents bigint, note varchar(5))",
            "does not go into the service's table: value too long",
        ),
    ],
)
def test_a_row_that_the_service_refuses_is_found_among_the_others(pair: Paired, there: str, words: str) -> None:
    ends = pair(PRICED, there, priced(), begin=False)
    ends.source(
        "insert into item select n, n, 'same' from generate_series(1, 700) n",
        "update item set price = 100000000, note = 'far too long' where id = 321",
    )
    [(level, found)] = told(ends)
    assert level is Level.STOP
    assert found.startswith(f"item: the row 321 {words}")


def test_a_row_that_does_not_come_back_at_all_is_named(pair: Paired) -> None:
    ends = pair(PRICED, CENTS, priced(reverse={"price": "100 / (cents - 500)", "note": "note"}), begin=False)
    ends.source("insert into item select n, n, 'same' from generate_series(1, 9) n")
    [(_, found)] = told(ends)
    assert found == "item: the row 5 does not come back from the service's table: division by zero"


def test_a_key_that_becomes_another_is_no_key(pair: Paired) -> None:
    here = "create table item (at timestamptz primary key)"
    ends = pair(here, "create table item (at date primary key)", table("item", "item", {"at": "at"}, {}), begin=False)
    ends.source("insert into item values ('2020-02-02 12:00 UTC'), ('2020-02-03 00:00 UTC')")
    [(level, found)] = told(ends)
    assert level is Level.STOP
    assert "1 of 2 sampled rows come back under keys that no row has: 2020-02-02 00:00:00+00" in found


def test_values_of_many_types_come_back_as_they_were(pair: Paired) -> None:
    book = {each: each for each in ("name", "price", "tags", "facts", "cover", "weight", "printed", "mark")}
    ends = pair(
        SOURCE,
        "create table book (id bigint primary key, name text, price numeric, tags text[], facts jsonb, cover bytea,"
        " weight float8, printed date, mark uuid);"
        " create table sold (number uuid, shop smallint, at timestamp, book bigint, primary key (shop, number));"
        " create table shelf (code text primary key, label text)",
        table("book", "book", {"id": "id"}, book, reverse=book, where="is_active", acknowledged=("shelf", "is_active")),
        table(
            "sale",
            "sold",
            {"shop": "shop", "number": "number"},
            {"at": "at at time zone 'UTC'", "book": "book"},
            reverse={"at": "at at time zone 'UTC'", "book": "book"},
        ),
        table("shelf", "shelf", {"code": "code"}, {"label": "label"}, reference=True),
        begin=False,
    )
    ends.source("alter table book replica identity full")
    # Whatever is acknowledged: the row that the service makes would be refused.
    assert told(ends) == [
        (Level.STOP, "book → book: book.is_active must have a value and gets none; add it to the mapping")
    ]
    ends.source("alter table book alter is_active set default true")
    assert told(ends) == []


def test_no_number_is_spent_and_nothing_is_left(pair: Paired) -> None:
    ends = pair(
        PRICED,
        "create table item (id bigint primary key, cents bigint, note text, place bigserial,"
        " nth bigint generated always as identity, twice bigint generated always as (cents * 2) stored)",
        priced(),
        begin=False,
    )
    ends.source("insert into item values (1, 5, 'five')")
    assert told(ends) == []
    assert ends.target("select nextval('item_place_seq'), nextval('item_nth_seq')") == [(1, 1)]
    assert ends.target("select count(*) from item") == [(0,)]


def test_a_table_that_somebody_locks_is_not_waited_for(pair: Paired, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = pair(PRICED, CENTS, priced(), begin=False)
    monkeypatch.setattr(round_trip, "PATIENCE", "set local lock_timeout = '100ms'")
    with ends.forward.open() as (source, target), psycopg.connect(ends.forward.source_url) as other:
        [there], [back] = ends.forward.projections(source, target), ends.back.projections(target, source)
        other.execute("lock table item in access exclusive mode")
        with pytest.raises(TimedOut, match="rows of item could not be tried in time"):
            round_trip.travel(source, target, there, back)
        other.rollback()
        assert round_trip.travel(source, target, there, back) == Trip(sampled=0)


def test_streams_are_not_begun_for_what_loses_something(shop: Shop) -> None:
    shop.pair.source("update author set name = 'Ann ' where id = 30")
    mapping = shop.file.parent / "migrations" / "books" / "mapping.toml"
    mapping.write_text(MAPPING.replace('name = "name"', 'name = "trim(name)"', 1))
    code, _, err = shop("start")
    assert (code, shop.stage) == (1, "monolith")
    assert "author.name does not come back as it was in 1 of 30 sampled rows: of 30, Ann  comes back as Ann" in err
    mapping.write_text(mapping.read_text().replace("[table.forward]", 'acknowledged = ["name"]\n[table.forward]', 1))
    assert shop("start")[0] == 0


def test_an_expression_that_only_one_side_can_work_out_is_told_before_a_stream_meets_it(pair: Paired) -> None:
    function = "create function shout(words text) returns text language sql as 'select upper($1)';"
    loud = priced(forward={"cents": "price::bigint", "note": "shout(note)"}, acknowledged=("price", "note"))
    ends = pair(function + PRICED, CENTS, loud, begin=False)
    [(level, found)] = [each for each in told(ends) if "row to try" not in each[1]]
    assert (level, found.partition(" (")[0]) == (
        Level.STOP,
        "item.note: its own database cannot work out what the source can: function shout(text) does not exist",
    )


def test_a_long_value_among_others_is_told_with_the_identity_that_it_wants(pair: Paired) -> None:
    mixed = priced(forward={"cents": "price::bigint", "note": "note || id"}, acknowledged=("price", "note"))
    ends = pair(PRICED, CENTS, mixed, begin=False)
    [found] = [each for each in check(ends.forward) if "mixes a long value" in each.found]
    assert found.found.startswith("note of item mixes a long value of item with others")
    ends.source(found.statement or "")
    assert not [each for each in check(ends.forward) if "mixes a long value" in each.found]


def test_the_rows_of_all_partitions_are_tried(pair: Paired) -> None:
    parts = (
        "create table item (id bigint, price numeric, note text, primary key (id)) partition by range (id);"
        " create table item_low partition of item for values from (0) to (1000);"
        " create table item_high partition of item for values from (1000) to (9000)"
    )
    ends = pair(parts, CENTS, priced(), begin=False)
    ends.source("insert into item select n, n, 'same' from generate_series(1, 4000) n")
    assert told(ends) == []
    ends.source("update item set price = 0.001 where id < 1000")
    [(_, found)] = told(ends)
    assert found.startswith("item.price does not come back as it was in ")
