"""Every planted difference is found, and what is equal is equal however the two databases print it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import psycopg
import pytest

from strangler.local import Postgres, ensure_role
from strangler.project import Project, Secret, TableMapping
from strangler.sync import backfill
from strangler.sync.errors import MappingInvalid, NotComparable, RightMissing, SyncError, TimedOut, Unreachable
from strangler.sync.verify import Kind, Patience, Progress, TableVerdict, Verdict, Verifying, verify
from tests.fixtures.copying import Library, MakeLibrary
from tests.fixtures.postgres import PASSWORD

ITEM = "create table item (id integer primary key, x integer)"
# Large enough for several levels: ranges of 500, pieces of 32, rows.
MANY: Final = 6_000
FILL = f"insert into item select n, n % 100 from generate_series(1, {MANY}) n"


def nothing() -> None:
    """No time passes between two looks."""


def mapping(source: str = "item", target: str = "item", where: str | None = None, **forward: str) -> TableMapping:
    return TableMapping(source=source, target=target, key={"id": "id"}, forward=forward, reverse={}, where=where)


def compare(
    library: Library,
    *,
    tables: tuple[str, ...] = (),
    told: int = 20,
    chunk_rows: int = 500,
    settle: Callable[[], None] = nothing,
    patience: Patience | None = None,
    project: Project | None = None,
) -> Verdict:
    asked = Verifying(
        capability="books",
        tables=tables,
        told=told,
        chunk_rows=chunk_rows,
        settle=settle,
        patience=patience or Patience(),
    )
    steps = verify(asked, project or library.project)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            verdict: Verdict = end.value
            return verdict


def only(verdict: Verdict) -> TableVerdict:
    [table] = verdict.tables
    return table


def execute(url: str, statements: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statements.encode())


def found(table: TableVerdict) -> tuple[int, int, int]:
    return table.missing, table.extra, table.differing


@pytest.fixture
def items(make_library: MakeLibrary) -> Library:
    """The same table on both sides, with the same rows in different places of it."""
    library = make_library(
        f"{ITEM}; {FILL}; analyze item", f"{ITEM}; {FILL}; update item set x = x; analyze item", mapping(x="x")
    )
    assert compare(library).equal
    return library


# What is done to the service's table, and how many rows are missing, extra and differing then.
PLANTED: Final = [
    ("update item set x = x # 1 where id = 3333", (0, 0, 1)),
    ("update item set x = null where id = 1", (0, 0, 1)),
    ("update item set x = -x where id = 5999", (0, 0, 1)),
    ("update item set x = 175 - x where id in (70, 105)", (0, 0, 2)),
    ("update item set x = 30 - x where id in (4010, 5020)", (0, 0, 2)),
    ("delete from item where id = 3000", (1, 0, 0)),
    ("delete from item where id = 6000", (1, 0, 0)),
    ("insert into item values (0, 0)", (0, 1, 0)),
    ("insert into item values (7000, 0)", (0, 1, 0)),
    ("update item set id = 6001 where id = 2", (1, 1, 0)),
    ("delete from item where id = 42; insert into item select 6042, 42", (1, 1, 0)),
    ("delete from item where id % 7 = 0", (857, 0, 0)),
    ("delete from item where id between 1001 and 4000; update item set x = 7 where id = 5", (3000, 0, 1)),
    ("truncate item", (6000, 0, 0)),
    ("insert into item select n, 0 from generate_series(10001, 16000) n", (0, 6000, 0)),
]


def test_each_planted_difference_is_found_and_counted(items: Library) -> None:
    for planted, expected in PLANTED:
        execute(items.target, planted)
        table = only(compare(items))
        assert found(table) == expected, planted
        assert (table.equal, table.in_flight, table.unseen_ranges) == (False, 0, 0), planted
        assert len(table.differences) == min(20, sum(expected)), planted
        execute(items.target, f"truncate item; {FILL}")
    assert compare(items).equal


def test_the_swapped_values_are_shown_side_by_side(items: Library) -> None:
    execute(items.target, "update item set x = 30 - x where id in (4010, 5020)")
    table = only(compare(items))
    shown = {each.key["id"]: [(c.column, c.monolith, c.service) for c in each.cells] for each in table.differences}
    assert shown == {"4010": [("x", "10", "20")], "5020": [("x", "20", "10")]}
    assert (table.monolith_rows, table.service_rows) == (MANY, MANY)
    assert table.splits >= 2


def test_rows_are_told_up_to_the_wish_and_counted_beyond(items: Library) -> None:
    execute(items.target, "delete from item where id > 5000; update item set x = -1 where id < 4")
    table = only(compare(items, told=5))
    assert found(table) == (1000, 0, 3)
    assert [each.kind for each in table.differences] == [Kind.DIFFERING] * 3 + [Kind.MISSING] * 2
    assert compare(items, told=0).tables[0].differences == ()


def test_where_nothing_fits_most_is_not_even_looked_at(make_library: MakeLibrary) -> None:
    library = make_library(
        f"{ITEM}; insert into item select n, 1 from generate_series(1, 12000) n",
        f"{ITEM}; insert into item select n, 2 from generate_series(1, 12000) n",
        mapping(x="x"),
    )
    table = only(compare(library))
    assert 10_000 <= table.differing < 11_000
    assert table.unseen_ranges > 0
    assert table.differing + table.unseen_rows == 12_000


def test_a_row_that_is_there_twice_has_another_tally(make_library: MakeLibrary) -> None:
    # Parts of an inheritance tree each have a key of their own, so that one row can be in both.
    tree = f"{ITEM}; create table part () inherits (item); insert into item values (1, 1), (2, 2)"
    library = make_library(tree, f"{tree}; insert into part values (1, 1)", mapping(x="x"))
    table = only(compare(library))
    assert (table.monolith_rows, table.service_rows) == (2, 3)
    [difference] = table.differences
    assert difference.key == {"id": "1"}
    assert [(cell.column, cell.monolith, cell.service) for cell in difference.cells] == [("rows of this key", "1", "2")]


def test_a_capability_is_compared_table_by_table_through_its_projections(library: Library) -> None:
    run = backfill.prepare(library.files, library.project, replace=False)
    for _ in backfill.copy_here(library.project, run):
        pass
    verdict = compare(library)
    assert verdict.equal, verdict
    assert {table.target: table.monolith_rows for table in verdict.tables} == {
        "section": 20,
        "title": 2273,
        "sold": 1200,
    }
    execute(library.target, "update title set price_cents = 1 where id = 9; update section set title = '?'")
    assert {table.target: table.found for table in compare(library).tables} == {"section": 20, "title": 1, "sold": 0}
    assert [table.target for table in compare(library, tables=("public.book",)).tables] == ["title"]
    with pytest.raises(SyncError, match="books maps no table named 'ghost'; it maps title, section, sold"):
        compare(library, tables=("ghost",))


def test_progress_is_told_range_by_range(items: Library) -> None:
    steps: list[Progress] = list(verify(Verifying(capability="books", chunk_rows=500), items.project))
    assert [step.rows_done for step in steps] == [*range(0, MANY + 1, 500)]
    assert {step.rows for step in steps} == {MANY}


# --- rows in flight ---


def test_a_row_that_arrives_between_two_looks_is_in_flight(items: Library) -> None:
    execute(items.source, "update item set x = 1000 where id in (1, 2, 3); delete from item where id > 5500")
    looks = 0

    def settle() -> None:
        nonlocal looks
        looks += 1
        execute(items.target, "delete from item where id > 5500")
        if looks == 3:
            execute(items.target, "update item set x = 1000 where id in (1, 2)")

    table = only(compare(items, settle=settle))
    assert found(table) == (0, 0, 1)
    assert table.in_flight == 502
    assert [each.key for each in table.differences] == [{"id": "3"}]


def test_a_row_that_never_stands_still_is_in_flight_where_the_service_follows(items: Library) -> None:
    execute(items.source, "update item set x = 1000 where id in (1, 2)")

    def settle() -> None:
        with psycopg.connect(items.source) as source, psycopg.connect(items.target) as target:
            for row, x in source.execute("select id, x from item where id = 1").fetchall():
                target.execute("update item set x = %s where id = %s", [x, row])
            source.execute("update item set x = x + 1 where id in (1, 2)")

    table = only(compare(items, settle=settle))
    assert (table.in_flight, [each.key for each in table.differences]) == (1, [{"id": "2"}])


# --- keys ---


# A key's type here and there, and its n-th value.
KEYS: Final = [
    ("integer", "bigint", "n"),
    ("bigint", "integer", "n"),
    ("uuid", "uuid", "md5(n::text)::uuid"),
    ("text", "text", "chr(65 + n % 60) || n"),
    ('text collate "C"', 'text collate "C"', "chr(65 + n % 60) || n"),
    ("char(9)", "text", "n"),
    ("integer", "text", "n"),
    ("numeric", "numeric(9, 3)", "n / 8.0"),
    ("timestamptz", "timestamptz", "timestamptz '2020-01-01 00:00+00' + make_interval(secs => n / 7.0)"),
    ("bytea", "bytea", "decode(md5(n::text), 'hex')"),
    ("date", "date", "case when n = 1 then '-infinity' else date '2000-01-01' + n end"),
]


def test_keys_of_any_type_are_cut_alike_on_both_sides(make_library: MakeLibrary) -> None:
    def tables(side: int) -> str:
        return "; ".join(
            f"create table item{number} (id {each[side]} primary key, x integer);"
            f" insert into item{number} select {each[2]}, n from generate_series(1, 3000) n"
            for number, each in enumerate(KEYS)
        )

    names = [f"item{number}" for number in range(len(KEYS))]
    library = make_library(tables(0), tables(1), *(mapping(name, name, x="x") for name in names))
    assert compare(library).equal
    for name in names:
        execute(library.target, f"update {name} set x = -1 where x in (7, 2998); delete from {name} where x = 1500")
    verdict = compare(library)
    assert {table.target: found(table) for table in verdict.tables} == dict.fromkeys(names, (1, 0, 2))
    assert all(table.ranges >= 5 for table in verdict.tables)


def test_composite_keys_are_cut_in_their_own_order(make_library: MakeLibrary) -> None:
    rows = "insert into item select n % 3, md5(n::text)::uuid, 'k' || n % 50, n from generate_series(1, 3000) n"
    columns = "shop integer, number uuid, word text, x integer"
    library = make_library(
        f"create table item ({columns}, primary key (shop, number, word)); {rows}",
        f"create table item ({columns}, primary key (word, number, shop)); {rows}",
        TableMapping(
            source="item",
            target="item",
            key={"shop": "shop", "number": "number", "word": "word"},
            forward={"x": "x"},
            reverse={},
        ),
    )
    assert compare(library).equal
    execute(library.target, "update item set shop = 4 where x = 7; update item set x = 0 where x = 8")
    table = only(compare(library))
    assert found(table) == (1, 1, 1)
    assert table.ranges >= 5


def test_a_partitioned_table_is_compared_as_one(make_library: MakeLibrary) -> None:
    parts = "; ".join(
        f"create table part{n} partition of item for values with (modulus 3, remainder {n})" for n in range(3)
    )
    library = make_library(
        f"{ITEM} partition by hash (id); {parts}; {FILL}",
        f"{ITEM}; {FILL}; update item set x = -1 where id = 77; delete from item where id = 5000",
        mapping(x="x"),
    )
    table = only(compare(library))
    assert (found(table), table.monolith_rows, table.ranges > 5) == ((1, 0, 1), MANY, True)


def test_what_only_the_service_has_is_counted_where_the_monolith_has_nothing(make_library: MakeLibrary) -> None:
    library = make_library(ITEM, f"{ITEM}; {FILL}", mapping(x="x"))
    table = only(compare(library, told=2))
    assert found(table) == (0, MANY, 0)
    assert [each.key for each in table.differences] == [{"id": "1"}, {"id": "2"}]


def test_nothing_is_equal_to_nothing(make_library: MakeLibrary) -> None:
    assert compare(make_library(ITEM, ITEM, mapping(x="x"))).equal


# --- types ---

HERE = "create type mood as enum ('sad', 'ok', 'glad'); create domain grade as numeric check (value < 1000);"
THERE = "create domain grade as numeric check (value < 1000); create type mood as enum ('glad', 'sad', 'ok');"
# Column: type here, type there, the first value here, the same one as the service may hold it, and another one.
TYPES: Final = {
    "small": ("smallint", "integer", "1", "1", "-1"),
    "large": ("bigint", "bigint", "1", "1", "4294967298"),  # the same when its halves are folded
    "flag": ("boolean", "boolean", "true", "true", "null"),
    "price": ("numeric", "numeric", "1.0", "1.00", "-1.0"),
    "rounded": ("numeric", "numeric(10, 2)", "0.125", "0.13", "0.12"),
    "nan": ("numeric", "numeric", "'NaN'", "'NaN'", "'Infinity'"),
    "mark": ("grade", "numeric", "12.50", "12.5", "12.51"),
    "scales": ("numeric(9, 2)[]", "numeric[]", "'{1.00,2.50,NULL,NaN,10}'", "'{1,2.5,NULL,NaN,10}'", "'{1,2,NULL}'"),
    "ratio": ("double precision", "double precision", "1.0/3", "1.0/3", "0.33333333333333337"),
    "zero": ("double precision", "double precision", "'-0'", "'-0'", "0"),
    "single": ("real", "real", "0.1", "0.1", "'NaN'"),
    "word": ("text", "varchar(20)", "''", "''", "null"),
    "accent": ("text", "text", "'é'", "'é'", "E'e\\u0301'"),
    "padded": ("char(5)", "char(8)", "'ab'", "'ab'", "'ab c'"),
    "unpadded": ("char(5)", "text", "'ab'", "'ab'", "' ab'"),
    "codes": ("char(3)[]", "text[]", "'{a,b}'", "'{a,b}'", "'{b,a}'"),
    "bytes": ("bytea", "bytea", "'\\x00ff'", "'\\x00ff'", "'\\x00fe'"),
    "at": ("timestamptz", "timestamptz", "'2024-03-31 01:00+00'", "'2024-03-31 03:00+02'", "'2024-03-31 01:00+01'"),
    "coarse": ("timestamptz", "timestamptz(0)", "'2024-01-01 00:00:00.6Z'", "'2024-01-01 00:00:01Z'", "'-infinity'"),
    "local": ("timestamp", "timestamp", "'infinity'", "'infinity'", "'-infinity'"),
    "day": ("date", "date", "'infinity'", "'infinity'", "'5874897-12-31'"),
    "clock": ("time", "time", "'24:00'", "'24:00'", "'00:00'"),
    "zoned": ("timetz", "timetz", "'10:00+01'", "'10:00+01'", "'09:00+00'"),
    "span": ("interval", "interval", "'1 month'", "'1 month'", "'30 days'"),
    "number": ("uuid", "uuid", "md5('1')::uuid", "md5('1')::uuid", "md5('2')::uuid"),
    "facts": ("json", "jsonb", """'{"b": 1,  "a": null}'""", """'{"a":null,"b":1}'""", """'{"a":null,"b":"1"}'"""),
    "loose": ("jsonb", "json", """'{"b": 1, "a": [1]}'""", """'{"b":1,"a":[ 1 ]}'""", """'{"b":1,"a":[1,1]}'"""),
    "exact": ("json", "json", """'{"b": 1,  "a": 2}'""", """'{"b": 1,  "a": 2}'""", """'{"a": 2, "b": 1}'"""),
    "list": (
        "jsonb",
        "jsonb",
        "(select jsonb_agg(n) from generate_series(1, 40) n)",
        "(select jsonb_agg(n) from generate_series(1, 40) n)",
        "(select jsonb_agg(case n when 1 then 33 when 33 then 1 else n end) from generate_series(1, 40) n)",
    ),
    "grid": ("integer[]", "integer[]", "'{{1,2},{3,4}}'", "'{{1,2},{3,4}}'", "'{1,2,3,4}'"),
    "empty": ("text[]", "text[]", "'{NULL}'", "'{NULL}'", "'{\"NULL\"}'"),
    "feeling": ("mood", "mood", "'sad'", "'sad'", "'ok'"),
    "said": ("text", "mood", "'glad'", "'glad'", "'ok'"),
    "bits": ("bit(4)", "varbit(4)", "B'0101'", "B'0101'", "B'0111'"),
    "place": ("inet", "inet", "'10.0.0.1'", "'10.0.0.1'", "'10.0.0.1/24'"),
    "spot": ("point", "point", "'(1,2)'", "'(1,2)'", "'(1,3)'"),
    "reach": ("int4range", "int4range", "'[1,4]'", "'[1,5)'", "'empty'"),
    "cash": ("money", "money", "'1234.50'", "'1234.50'", "'1234.51'"),
}  # fmt: skip


@pytest.fixture
def kinds(make_library: MakeLibrary) -> Library:
    """A column of each type and a row for each column, equal for a person; the two roles' settings differ."""
    columns = [", ".join(f'"{name}" {each[side]}' for name, each in TYPES.items()) for side in (0, 1)]
    values = [", ".join(each[side] for each in TYPES.values()) for side in (2, 3)]
    fill = "insert into item select n, {} from generate_series(1, {}) n; insert into item (id) values (0)"
    settings = (
        "timezone = 'Asia/Kathmandu'",
        "datestyle = 'German'",
        "extra_float_digits = -3",
        "bytea_output = 'escape'",
        "intervalstyle = 'iso_8601'",
    )
    return make_library(
        f"{HERE} create table item (id integer primary key, {columns[0]}); {fill.format(values[0], len(TYPES))}",
        f"{THERE} create table item (id bigint primary key, {columns[1]}); {fill.format(values[1], len(TYPES))};"
        + "".join(f"alter role current_user set {each};" for each in settings),
        mapping(**{name: f'"{name}"' for name in TYPES}),
    )


def test_equal_values_are_equal_whatever_their_types_and_the_roles_settings(kinds: Library) -> None:
    assert [each.cells for each in only(compare(kinds)).differences] == []
    assert compare(kinds).equal


def test_a_changed_value_of_each_type_is_found_and_shown(kinds: Library) -> None:
    """In ranges of one row, so that each change must show in its range's checksum."""
    changes = enumerate(TYPES.items(), start=1)
    execute(
        kinds.target,
        "; ".join(f'update item set "{name}" = {each[4]} where id = {number}' for number, (name, each) in changes),
    )
    shown = {
        each.key["id"]: [c.column for c in each.cells]
        for each in only(compare(kinds, told=99, chunk_rows=1)).differences
    }
    assert shown == {str(number): [name] for number, name in enumerate(TYPES, start=1)}


# --- what keeps it from comparing ---


def test_a_table_that_is_not_there_is_named(make_library: MakeLibrary) -> None:
    library = make_library(ITEM, "select", mapping(x="x"))
    with pytest.raises(MappingInvalid, match="the target has no table item that this role may see"):
        compare(library)


def test_a_reader_is_enough_and_a_missing_right_is_named_with_its_grant(items: Library, postgres: Postgres) -> None:
    base = items.target.rpartition("/")[2]
    with psycopg.connect(postgres.url(base), autocommit=True) as connection:
        ensure_role(connection, f"{base}_reads", PASSWORD)
        connection.execute(f"grant connect on database {base} to {base}_reads".encode())
    url = postgres.url(base, f"{base}_reads", PASSWORD)
    services = {"books": replace(items.project.services["books"], database=Secret(value=url))}
    project = replace(items.project, services=services)
    try:
        with pytest.raises(MappingInvalid, match=f'run there: grant select on item to "{base}_reads"'):
            compare(items, project=project)
        execute(items.target, f"grant select on item to {base}_reads")
        assert compare(items, project=project).equal
        execute(items.target, f"revoke select on item from {base}_reads; grant select (id) on item to {base}_reads")
        with pytest.raises(RightMissing, match=f'run there: grant select on item to "{base}_reads"'):
            compare(items, project=project)
        execute(items.target, f"grant select on item to {base}_reads; alter table item enable row level security")
        with pytest.raises(RightMissing, match=f'run there, as superuser: alter role "{base}_reads" bypassrls'):
            compare(items, project=project)
    finally:
        with psycopg.connect(postgres.url(base), autocommit=True) as connection:
            connection.execute(f"drop owned by {base}_reads; drop role {base}_reads".encode())


def test_a_locked_table_is_not_waited_for(items: Library) -> None:
    with psycopg.connect(items.target) as holder:
        holder.execute("lock table item in access exclusive mode")
        with pytest.raises(TimedOut, match="locked by somebody else"):
            compare(items, patience=Patience(lock_s=0.1))


def test_a_statement_that_takes_too_long_says_what_would_do(make_library: MakeLibrary) -> None:
    slow = mapping(x="x + length(pg_sleep(10)::text)")
    library = make_library(f"{ITEM}; {FILL}", f"{ITEM}; {FILL}", slow)
    with pytest.raises(TimedOut, match=r"monolith's database was cancelled: .* smaller ranges with --chunk-rows"):
        compare(library, patience=Patience(statement_s=0.5))


def test_a_key_without_an_index_that_serves_is_told_the_one_that_would(make_library: MakeLibrary) -> None:
    table = "create table item (id varchar(9) primary key, x integer)"
    fill = f"insert into item select n, n from generate_series(1, {MANY}) n"
    library = make_library(f"{table}; {fill}", f"{table}; {fill}", mapping(x="x + length(pg_sleep(10)::text)"))
    with pytest.raises(TimedOut) as caught:
        compare(library, patience=Patience(statement_s=0.5))
    _, _, statement = str(caught.value).partition("this is one: ")
    assert statement == 'create index concurrently on item ("id" collate "C")'
    for url in (library.source, library.target):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())
    with pytest.raises(TimedOut, match="smaller ranges with --chunk-rows"):
        compare(library, patience=Patience(statement_s=0.5))


def test_a_row_that_the_mapping_cannot_project_is_said_in_the_databases_words(make_library: MakeLibrary) -> None:
    library = make_library(f"{ITEM}; {FILL}", f"{ITEM}; {FILL}", mapping(x="100 / (x - 50)"))
    with pytest.raises(NotComparable, match="item in the monolith's database could not be read: division by zero"):
        compare(library)


def test_nothing_can_be_written_meanwhile(make_library: MakeLibrary) -> None:
    writes = (
        "create sequence counted; create table item (id integer primary key, x bigint); insert into item values (1)"
    )
    library = make_library(writes, writes, mapping(x="nextval('counted')"))
    with pytest.raises(NotComparable, match="cannot execute nextval\\(\\) in a read-only transaction"):
        compare(library)


def test_a_database_that_goes_away_is_named(items: Library) -> None:
    execute(items.target, "update item set x = -1 where id = 1")

    def end() -> None:
        execute(
            items.target,
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
            " where application_name = 'strangler verify' and datname = current_database()",
        )

    with pytest.raises(Unreachable, match="the books's database went away: "):
        compare(items, settle=end)
