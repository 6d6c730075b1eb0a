"""What ``sync verify`` tells of rows that differ: bounded, and with nothing in it that a terminal would obey."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from strangler.cli.verify import view
from strangler.sync.verify import Cell, Difference, Kind, TableVerdict, Verdict, to_json


def verdict(*differences: Difference) -> Verdict:
    kinds = [each.kind for each in differences]
    table = TableVerdict(
        source="book",
        target="title",
        monolith_rows=10,
        service_rows=10,
        ranges=1,
        splits=0,
        missing=kinds.count(Kind.MISSING),
        extra=kinds.count(Kind.EXTRA),
        differing=kinds.count(Kind.DIFFERING),
        in_flight=0,
        moving=0,
        unseen_ranges=0,
        unseen_rows=0,
        differences=differences,
        seconds=0.5,
    )
    return Verdict(capability="books", tables=(table,), seconds=0.5)


def differing(*cells: Cell, key: str = "1") -> Difference:
    return Difference(key={"id": key}, kind=Kind.DIFFERING, cells=cells)


def lines(found: Verdict, width: int = 100) -> list[str]:
    """Return the lines of a terminal, from the first difference on."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(view(found, width))
    return [line.rstrip() for line in capture.get().split("\n")][3:]


def test_what_is_written_all_the_time_is_not_said_to_differ() -> None:
    found = verdict(differing(Cell(column="views", monolith="7", service="8")))
    [table] = found.tables
    moving = replace(found, tables=(replace(table, moving=1),))
    assert lines(found)[-2] == "books: different in title"
    assert "1 differing, 1 of them written on both sides while they were looked at" in "\n".join(lines(moving, 200))
    assert lines(moving, 200)[-2].startswith("books: not decided in title: ")
    assert to_json(moving, 100)["tables"][0]["undecided"] == 1


def test_a_row_is_shown_column_by_column() -> None:
    row = differing(
        Cell(column="name", monolith="Ada", service=""), Cell(column="price", monolith=None, service="1.50")
    )
    assert lines(verdict(row)) == [
        "title (from book): 1 differing",
        "         monolith      service",
        "  id = 1",
        "  name   Ada           ''",
        "  price  NULL          1.50",
        "",
        "books: different in title",
        "",
    ]


@pytest.mark.parametrize("kind", Kind)
def test_a_key_moves_no_cursor_and_takes_no_page(kind: Kind) -> None:
    cells = (Cell(column="x", monolith="1", service="2"),) if kind is Kind.DIFFERING else ()
    row = Difference(key={"id": "a\x1b[2J\n" + "k" * 300}, kind=kind, cells=cells)
    shown = "\n".join(lines(verdict(row)))
    assert "id = a\\x1b[2J\\nkkk" in shown
    assert "\x1b" not in shown
    assert "k" * 60 not in shown


def test_a_row_that_differs_everywhere_takes_a_screenful() -> None:
    cells = [Cell(column=f"c{number}", monolith="1", service="2") for number in range(1_000)]
    shown = lines(verdict(differing(*cells)))
    assert "  and 980 more columns; --json tells them" in shown
    assert len(shown) < 30


def test_characters_that_take_two_cells_leave_the_difference_to_be_seen() -> None:
    common = "漢字" * 100
    row = differing(Cell(column="body", monolith=f"{common}一{common}", service=f"{common}二{common}"))
    [shown] = [line for line in lines(verdict(row), width=80) if "body" in line]
    assert "一" in shown
    assert "二" in shown


@given(st.text(max_size=120), st.text(max_size=120), st.integers(40, 160))
def test_no_line_of_a_row_is_wider_than_the_terminal(one: str, other: str, width: int) -> None:
    shown = lines(verdict(differing(Cell(column="body", monolith=one, service=other))), width)
    assert all(cell_len(line) <= width for line in shown)
    assert len(shown) == len(lines(verdict(differing(Cell(column="body", monolith="1", service="2"))), width))


def test_json_tells_the_key_whole_and_of_each_value_as_much_as_is_wanted() -> None:
    row = differing(
        Cell(column="body", monolith="a" * 50 + "b", service="a" * 50 + "c"),
        Cell(column="price", monolith=None, service="1\x1b"),
        key="k" * 300,
    )
    told = to_json(verdict(row, Difference(key={"id": "2"}, kind=Kind.MISSING)), width=12)
    [table] = told["tables"]
    assert table["differences"] == [
        {
            "key": {"id": "k" * 300},
            "kind": "differing",
            "cells": [
                {"column": "body", "monolith": "…aaaaaaaaaab", "service": "…aaaaaaaaaac", "cut": True},
                {"column": "price", "monolith": None, "service": "1\x1b", "cut": False},
            ],
        },
        {"key": {"id": "2"}, "kind": "missing", "cells": []},
    ]
    assert (table["equal"], table["differing"], table["missing"]) == (False, 1, 1)
    assert "\x1b" not in json.dumps(told)
