"""What has become of a table's columns since a stream was begun."""

from __future__ import annotations

from dataclasses import replace

import pytest

from strangler.sync.errors import BEGIN_ANEW, RETYPED, StreamBroken
from strangler.sync.outline import Column, Table, differences, prove
from strangler.sync.outlining import dumped, kept

INT4, INT8, NUMERIC, TEXT, VARCHAR, CHAR, STAMP = 23, 20, 1700, 25, 1043, 1042, 1184


def numeric(precision: int, scale: int) -> int:
    return (precision << 16 | scale) + 4


def column(kind: int = TEXT, modifier: int = -1, name: str = "title") -> Column:
    return Column(name=name, type=kind, modifier=modifier, shown=f"{kind}({modifier})", not_null=True)


ID = column(INT4, name="id")
BOOK = Table(name="public.book", columns={1: ID, 2: column()}, key=frozenset({1}))
NOW = Table(name="public.book", columns={1: ID, 2: column(), 3: column(name="more")}, unique=(frozenset({1}),))


@pytest.mark.parametrize(
    ("before", "now", "passes"),
    [
        ((TEXT, -1), (TEXT, -1), True),
        ((INT4, -1), (INT8, -1), True),
        ((INT8, -1), (INT4, -1), False),
        ((INT4, -1), (TEXT, -1), False),
        ((VARCHAR, 24), (TEXT, -1), True),
        ((TEXT, -1), (VARCHAR, 24), False),
        ((VARCHAR, 24), (VARCHAR, 44), True),
        ((VARCHAR, 24), (VARCHAR, -1), True),
        ((VARCHAR, 44), (VARCHAR, 24), False),
        ((VARCHAR, -1), (VARCHAR, 24), False),
        ((CHAR, 8), (CHAR, 12), False),
        ((NUMERIC, numeric(10, 2)), (NUMERIC, numeric(12, 2)), True),
        ((NUMERIC, numeric(10, 2)), (NUMERIC, -1), True),
        ((NUMERIC, numeric(10, 2)), (NUMERIC, numeric(12, 3)), False),
        ((NUMERIC, numeric(10, 2)), (NUMERIC, numeric(9, 2)), False),
        ((NUMERIC, -1), (NUMERIC, numeric(10, 2)), False),
        ((STAMP, 0), (STAMP, -1), True),
        ((STAMP, -1), (STAMP, 0), False),
    ],
)
def test_a_type_passes_when_all_its_values_stay_what_they_are(
    before: tuple[int, int], now: tuple[int, int], passes: bool
) -> None:
    assert column(*before).widens(column(*now)) is passes


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({7: NOW}, []),
        ({}, ["public.book was dropped"]),
        ({7: replace(NOW, name="public.volume")}, ["public.book is called public.volume now"]),
        ({7: replace(NOW, columns={1: ID})}, ["public.book.title was dropped"]),
        ({7: replace(NOW, columns={1: ID, 3: column()})}, ["public.book.title was dropped and made anew"]),
        ({7: replace(NOW, columns={1: ID, 2: column(name="name")})}, ["public.book.title is called name now"]),
        ({7: replace(NOW, columns={1: ID, 2: column(INT4)})}, ["public.book.title is 23(-1) now, and was 25(-1)"]),
        (
            {7: replace(NOW, unique=(frozenset({2}),))},
            ["public.book may have rows of the same id now: it is not unique and NOT NULL any more"],
        ),
        (
            {7: replace(NOW, columns={1: replace(ID, not_null=False), 2: column()})},
            ["public.book may have rows of the same id now: it is not unique and NOT NULL any more"],
        ),
    ],
)
def test_what_has_changed_is_named(now: dict[int, Table], said: list[str]) -> None:
    assert list(differences({7: BOOK}, now)) == said


def test_everything_is_said_at_once_with_the_way_on() -> None:
    with pytest.raises(
        StreamBroken, match=r"in the shop public.book was dropped; public.page was dropped; put .*anew: "
    ):
        prove({7: BOOK, 8: replace(BOOK, name="public.page")}, {}, "shop")


def test_of_another_type_it_is_not_said_that_it_may_be_put_back_and_that_is_all() -> None:
    for type_, way in ((INT4, RETYPED), (TEXT, BEGIN_ANEW)):
        now = replace(NOW, columns={1: ID, 2: column(type_, name="name")})
        with pytest.raises(StreamBroken) as caught:
            prove({7: BOOK, 8: BOOK}, {7: now}, "shop")
        assert str(caught.value).endswith(way)


def test_what_is_kept_comes_back_as_it_was() -> None:
    stored = dumped({7: BOOK}).obj
    assert kept(
        {str(oid): {**each, "columns": {str(n): c for n, c in each["columns"].items()}} for oid, each in stored.items()}
    ) == {7: BOOK}
    assert kept(None) is None
