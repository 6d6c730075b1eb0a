from __future__ import annotations

import pytest

from strangler.project import TableMapping
from strangler.sync import backfill
from strangler.sync.errors import MappingInvalid
from tests.fixtures.copying import Library, MakeLibrary


def mapping(
    source: str = "item", target: str = "item", where: str | None = None, reverse: str | None = None, **forward: str
) -> TableMapping:
    back = {"x": reverse} if reverse else {}
    return TableMapping(source=source, target=target, key={"id": "id"}, forward=forward, reverse=back, where=where)


def problems(library: Library) -> list[str]:
    with pytest.raises(MappingInvalid) as caught:
        backfill.check(library.files, library.project)
    return [problem.removeprefix("mapping.toml: item → item: ") for problem in caught.value.problems]


def test_a_key_that_may_be_null_is_refused_since_such_rows_lie_in_no_range(make_library: MakeLibrary) -> None:
    table = "create table item (id integer unique, x integer)"
    assert problems(make_library(table, table, mapping(x="x"))) == [
        "key id is not unique and NOT NULL in item; use its primary key",
        "key id is not unique and NOT NULL in item; make it the primary key",
    ]


def test_what_only_shows_together_is_found_before_anything_is_copied(make_library: MakeLibrary) -> None:
    table = "create table item (id integer primary key, x integer)"
    [problem] = problems(make_library(table, table, mapping(x="max(x)")))
    assert problem.startswith("its columns do not go into one SELECT: column")


def test_the_way_back_is_tried_against_the_service(make_library: MakeLibrary) -> None:
    table = "create table item (id integer primary key, x integer)"
    there = "create table item (id integer primary key, cents integer)"
    assert problems(make_library(table, there, mapping(cents="x", reverse="cent"))) == [
        "reverse x = 'cent' does not give integer: column \"cent\" does not exist"
    ]
    back = mapping(cents="x", reverse="cents / 100")
    library = make_library(table, there, back)
    assert [each.mapping for each in backfill.check(library.files, library.project)] == [back]


def test_parents_come_first_whatever_the_mapping_calls_them(make_library: MakeLibrary) -> None:
    library = make_library(
        "create table item (id integer primary key, p integer); create table kind (id integer primary key)",
        "create table kind (id integer primary key); create table item (id integer primary key, p integer"
        " references kind)",
        mapping(p="p"),
        mapping("public.kind", "public.kind"),
    )
    found = backfill.check(library.files, library.project)
    assert [each.target.name for each in found] == ["public.kind", "item"]


def test_tables_in_a_circle_are_refused_by_name(make_library: MakeLibrary) -> None:
    circle = (
        "create table item (id integer primary key, x integer); create table kind (id integer primary key, x integer"
        " references item); alter table item add foreign key (x) references kind"
    )
    library = make_library(circle, circle, mapping(x="x"), mapping("kind", "kind", x="x"))
    [problem] = problems(library)
    assert problem.startswith("mapping.toml: the target's tables refer to each other in a circle: ")
    assert {"item", "kind"} <= set(problem.replace(";", "").split())


def test_a_missing_right_is_named_with_its_statement(make_library: MakeLibrary) -> None:
    table = "create table item (id integer primary key, x integer)"
    library = make_library(table, f"{table}; revoke all on item from current_user", mapping(x="x"))
    [problem] = problems(library)
    role = library.target.partition("//")[2].partition(":")[0]
    assert problem == f'the role "{role}" may not select, insert on item; run there: grant select, insert on item' + (
        f' to "{role}"'
    )


def test_a_table_in_a_closed_schema_counts_as_not_there(make_library: MakeLibrary) -> None:
    table = "create table item (id integer primary key)"
    closed = f"create schema shut; create table shut.item (id integer primary key); {table};"
    library = make_library(f"{closed} revoke all on schema shut from current_user", table, mapping("shut.item", "item"))
    [problem] = problems(library)
    assert "the source has no table shut.item that this role may see" in problem
