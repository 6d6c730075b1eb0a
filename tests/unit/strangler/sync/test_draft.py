"""Whatever the names are, a drafted mapping loads back as the projections that were meant."""

from __future__ import annotations

import re
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from strangler.capability import Stack
from strangler.project import OnDelete, Referred, TableMapping, load
from strangler.sync.draft import (
    Column,
    Described,
    ForeignKey,
    Needs,
    Rule,
    Table,
    Trigger,
    answerable,
    in_order,
    quote,
    shown,
    unwritable,
    writable,
)
from strangler.sync.draft_schema import draft
from tests.fixtures.project_files import write

KEYWORDS: Final = frozenset({"user", "order", "select", "table"})
# What PostgreSQL allows: anything but NUL, of at least one character.
NAMES: Final = st.one_of(
    st.sampled_from(sorted(KEYWORDS)),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12),
)
TABLE_NAMES: Final = NAMES.filter(lambda name: writable(("public", name)))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Table, ...]:
    ids = draw(
        st.lists(st.tuples(st.just("public") | TABLE_NAMES, TABLE_NAMES), min_size=1, max_size=4, unique_by=shown)
    )
    return tuple(draw(a_table(each, ids)) for each in ids)


@st.composite
def a_table(draw: st.DrawFn, own: tuple[str, str], ids: list[tuple[str, str]]) -> Table:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True).filter(lambda found: found[0].strip()))
    columns = tuple(
        Column(
            name=name,
            type="integer",
            generated="" if name == names[0] else draw(st.sampled_from(["", "", "s"])),
            default="1",
            needs=Needs(functions=draw(st.sampled_from([(), (), ("f()",)]))),
        )
        for name in names
    )
    others = draw(st.lists(st.sampled_from([*ids, ("public", "outside")]), max_size=3))
    return Table(
        schema=own[0],
        name=own[1],
        columns=columns,
        key=(names[0],),
        rules=(Rule(name=draw(NAMES), kind="p", definition="PRIMARY KEY", columns=(names[0],)),),
        outgoing=tuple(key(own, other, f"to {n}", draw(NAMES)) for n, other in enumerate(others)),
        incoming=tuple(
            replace(key(("public", "inside"), own, "in", column), target_columns=(draw(st.sampled_from(names)),))
            for column in draw(st.lists(NAMES, max_size=2, unique=True))
        ),
        triggers=(Trigger(name=draw(NAMES), function=draw(NAMES)),),
    )


def key(source: tuple[str, str], target: tuple[str, str], name: str, column: str) -> ForeignKey:
    return ForeignKey(
        name=name,
        source=source,
        columns=(column,),
        target=target,
        target_columns=(column,),
        definition="FOREIGN KEY",
        on_delete="cascade",
        other_columns=(column, "a"),
    )


def meant(table: Table) -> TableMapping:
    rest = {
        column.name: quote(column.name, KEYWORDS)
        for column in table.columns
        if column.name not in table.key and not column.generated
    }
    keys = {name: name for name in table.key}
    answers = tuple(
        Referred(by="inside", columns=each.columns, stack=Stack.MONOLITH, on_delete=OnDelete.RESTRICT)
        for each in table.incoming
        if answerable(each, table)
    )
    name = shown(table.id)
    return TableMapping(source=name, target=name, key=keys, forward=rest, reverse=rest, referred_by=answers)


@given(tables())
def test_only_what_mapping_toml_cannot_say_of_who_refers_is_left_out(found: tuple[Table, ...]) -> None:
    for table in found:
        for each in table.incoming:
            (column,) = each.columns
            assert answerable(each, table) == (each.target_columns == table.key and not re.search(r"\$[A-Z_{]", column))


@given(tables())
def test_a_drafted_mapping_loads_as_it_was_meant(found: tuple[Table, ...]) -> None:
    made = draft("catalog", Described(tables=found, keywords=KEYWORDS), {})
    assert len(tomllib.loads(made.mapping)["table"]) == len(found)
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), {"migrations/catalog/mapping.toml": made.mapping})
        loaded = load(file, {}).capabilities["catalog"].tables
    assert sorted(loaded, key=lambda each: each.source) == sorted(map(meant, found), key=lambda each: each.source)


@given(tables())
def test_referred_to_tables_come_first_and_what_closes_a_circle_is_told(found: tuple[Table, ...]) -> None:
    ordered, closing = in_order(found)
    places = {table.id: place for place, table in enumerate(ordered)}
    assert sorted(places) == sorted(table.id for table in found)
    for table in ordered:
        for each in table.outgoing:
            if each.target != table.id and each.target in places and (table.id, each.name) not in closing:
                assert places[each.target] < places[table.id]


@given(tables())
def test_no_name_ends_a_comment(found: tuple[Table, ...]) -> None:
    made = draft("catalog", Described(tables=found, keywords=KEYWORDS), {})
    parsed = tomllib.loads(made.mapping)
    assert parsed.keys() <= {"table"}
    assert all(
        each.keys() <= {"source", "target", "key", "where", "forward", "reverse", "referred_by"}
        for each in parsed.get("table", [])
    )
    drafted = sum(len(each.get(way, {})) for each in parsed.get("table", []) for way in ("forward", "reverse"))
    count = sum(1 for table in found for column in meant(table).forward for _ in ("forward", "reverse") if column)
    assert drafted == count


@given(NAMES)
def test_a_quoted_name_is_read_as_the_name(name: str) -> None:
    text = quote(name, KEYWORDS)
    if text == name:
        assert name not in KEYWORDS
        assert name == name.lower()
    else:
        assert text[1:-1].replace('""', '"') == name


def test_a_name_that_the_mapping_cannot_carry_is_told() -> None:
    for name in ("a.b", 'a"b', "$HOME", "${x}", " "):
        table = Table(schema="public", name=name, columns=(), key=(" ",))
        assert len(list(unwritable([table]))) == 2, name


def test_a_table_without_a_key_stands_as_a_comment() -> None:
    table = Table(schema="public", name="log", columns=(Column(name="a", type="text"),), key=())
    made = draft("catalog", Described(tables=(table,)), {})
    assert made.mapped == ()
    assert all(line.startswith("#") for line in made.mapping.splitlines() if line)
    assert "create table log" in made.schema
