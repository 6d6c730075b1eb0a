"""Rows as COPY reads them: what is sent as a line comes to the same values. And statements, by their text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from strangler.capability import Stack
from strangler.project import OnDelete, Referred, TableMapping
from strangler.sync import catalogue
from strangler.sync.landing import Landing, lines
from strangler.sync.mapping import Projection, digest
from strangler.sync.pgoutput import UNCHANGED, Value
from strangler.sync.referring import Incoming, Policy, Relation

ESCAPED = {b"\\\\": b"\\", b"\\t": b"\t", b"\\n": b"\n", b"\\r": b"\r"}
values = st.one_of(
    st.none(), st.just(UNCHANGED), st.binary(max_size=5), st.text("ab\\\t\n\rN", max_size=5).map(str.encode)
)


def read(field: bytes) -> bytes | None:
    """Return what COPY takes a field for, after "Text Format" in PostgreSQL's documentation of COPY."""
    if field == b"\\N":
        return None
    found, at = b"", 0
    while at < len(field):
        size = 2 if field[at : at + 1] == b"\\" else 1
        found += ESCAPED[field[at : at + 2]] if size == 2 else field[at : at + 1]
        at += size
    return found


rows = st.integers(1, 4).flatmap(lambda size: st.lists(st.tuples(*[values] * size), max_size=4))


@given(st.integers(-1, 9), rows)
def test_lines_have_the_values_of_their_rows(part: int, rows: list[tuple[Value, ...]]) -> None:
    sent = lines(part, rows)
    assert sent.count(b"\n") == len(rows)
    assert not sent or sent.endswith(b"\n")
    assert b"\r" not in sent
    for line, row in zip(sent.split(b"\n"), rows, strict=False):
        first, *fields = line.split(b"\t")
        assert int(first) == part
        assert [read(field) for field in fields] == [None if value is UNCHANGED else value for value in row]


def policy(on_delete: OnDelete) -> Policy:
    """Return what becomes of notes, which refer to a key of two columns, in another order than it has."""
    note = Relation(schema="back office", name="note", visible=False)
    return Policy(key=Incoming(name="fk", table=note, columns=("at", "of"), to=("shelf", "shop")), on_delete=on_delete)


GONE = sql.SQL("select shop, shelf from gone")
SAME = 'other."at" = here."shelf" and other."of" = here."shop"'


@pytest.mark.parametrize(
    ("on_delete", "statement"),
    [
        (
            OnDelete.SET_NULL,
            'update "back office"."note" as other set "at" = null, "of" = null from (select shop, shelf from gone) as'
            f' here where {SAME} returning "here"."shop", "here"."shelf"',
        ),
        (
            OnDelete.CASCADE,
            'delete from "back office"."note" as other using (select shop, shelf from gone) as here'
            f' where {SAME} returning "here"."shop", "here"."shelf"',
        ),
    ],
)
def test_one_statement_writes_all_that_refers(on_delete: OnDelete, statement: str) -> None:
    assert policy(on_delete).written(GONE, ("shop", "shelf")).as_string(None) == statement


def test_one_row_is_found_that_may_not_go() -> None:
    assert policy(OnDelete.RESTRICT).refused(GONE, ("shop", "shelf")).as_string(None) == (
        'select array[here."shop"::text, here."shelf"::text] from (select shop, shelf from gone) as here'
        f' where exists (select from "back office"."note" as other where {SAME}) limit 1'
    )


def landing(where: str | None) -> Landing:
    columns = {
        name: catalogue.Column(
            type=kind,
            type_oid=0,
            sent_as=kind,
            not_null=True,
            has_default=False,
            generated=False,
            always=False,
            sequence=None,
        )
        for name, kind in {"shop": "integer", "shelf": "text"}.items()
    }
    book = catalogue.Table(
        name="book",
        qualified="public.book",
        oid=1,
        columns=columns,
        unique=(),
        deferrable=(),
        parents=frozenset(),
        rights=frozenset(),
    )
    key = {"shop": "shop", "shelf": "shelf"}
    mapping = TableMapping(source="book", target="book", key=key, forward={}, reverse={}, where=where)
    return Landing(
        projection=Projection(mapping=mapping, source=book, target=book),
        staging=sql.Identifier("staged"),
        columns=("shop", "shelf"),
        types={"shop": "integer", "shelf": "text"},
        uses={},
        departing=sql.Identifier("leaving"),
        policies=(policy(OnDelete.CASCADE),),
    )


def test_who_goes_is_noted_where_it_is_there_and_locked() -> None:
    assert landing(None).depart(absent=False).as_string(None) == (
        'insert into "leaving" ("shop", "shelf") select "there"."shop", "there"."shelf" from "book" as there join'
        ' (select ("shop")::integer as "shop", ("shelf")::text as "shelf" from "staged" where "strangler_part" =  -1)'
        ' as here on there."shop" = here."shop" and there."shelf" = here."shelf" for update of there'
    )


def test_who_comes_back_is_one_that_the_mapping_takes() -> None:
    assert landing("shop > 1").come_back().as_string(None) == (
        'delete from "leaving" as there using (select ("shop")::integer as "shop", ("shelf")::text as "shelf" from'
        ' "staged" where "strangler_part" >= 0 and (shop > 1)) as here where there."shop" = here."shop" and'
        ' there."shelf" = here."shelf" returning array[there."shop"::text, there."shelf"::text],'
        ' there."strangler_done"'
    )


def test_what_is_done_is_noted_with_the_keys_that_it_was_done_for() -> None:
    found = landing(None)
    written = found.policies[0].written(found.gone(), ("shop", "shelf")).as_string(None)
    assert found.carry_out(found.policies[0], found.gone()).as_string(None) == (
        f'with done as ({written}) insert into "leaving" ("shop", "shelf", "strangler_done")'
        ' select distinct "shop", "shelf", true from done'
    )


def test_what_is_declared_of_who_refers_makes_no_other_rows() -> None:
    mapping = landing(None).projection.mapping
    note = Referred(by="note", columns=("of",), stack=Stack.MONOLITH, on_delete=OnDelete.KEEP)
    assert digest([mapping]) == digest([replace(mapping, referred_by=(note,))])
    assert digest([mapping]) != digest([replace(mapping, where="shop > 1")])


@pytest.mark.parametrize(
    ("forward", "where", "unique", "otherwise", "apart"),
    [
        ({"title": "title"}, None, [("shop", "shelf")], False, True),
        ({}, None, [("shop", "shelf")], False, False),
        ({"title": "title"}, "shop > 1", [("shop", "shelf")], False, False),
        ({"title": "title"}, None, [("shop", "shelf"), ("title",)], False, False),
        ({"title": "title"}, None, [("shop", "shelf")], True, False),
    ],
)
def test_rows_that_should_be_there_are_updated_where_no_other_row_may_be_in_their_way(
    forward: dict[str, str], where: str | None, unique: list[tuple[str, ...]], otherwise: bool, apart: bool
) -> None:
    found = landing(where)
    projection = replace(
        found.projection,
        mapping=replace(found.projection.mapping, forward=forward),
        target=replace(found.projection.target, unique=tuple(map(frozenset, unique)), kept_apart_otherwise=otherwise),
    )
    assert replace(found, projection=projection).tells_apart is apart
