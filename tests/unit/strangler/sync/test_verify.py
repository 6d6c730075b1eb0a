"""What verify decides without a database: ranges, second looks, and how a difference is shown."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.mapping import Key
from strangler.sync.verify.forms import Type, common, ordered_as
from strangler.sync.verify.looking import Image, Kind, Suspect, look_again, suspects
from strangler.sync.verify.ranges import Next, Range, Tally, decide, step
from strangler.sync.verify.verdict import Cell, Progress

Table = dict[int, int]
tables = st.dictionaries(st.integers(0, 400), st.integers(0, 3), max_size=120)


@dataclass(frozen=True)
class Compared:
    """Two tables in memory, compared as the databases are: by tallies of ranges alone, until a range is small."""

    monolith: Table
    service: Table
    leaf: int
    ways: int

    def found(self, within: Range) -> set[Key]:
        here, there = _held(self.monolith, within), _held(self.service, within)
        match decide(_tally(here), _tally(there), self.leaf):
            case Next.NOTHING:
                return set()
            case Next.COUNT:
                return {(str(key),) for key in {**here, **there}}
            case Next.LOOK:
                return {each.key for each in suspects(_images(here), _images(there))}
        larger = sorted(here if len(here) >= len(there) else there)
        distance = step(len(larger), self.ways)
        bounds = [(str(key),) for key in larger[distance - 1 :: distance]]
        return set().union(*map(self.found, within.pieces(bounds)))


def _held(table: Table, within: Range) -> Table:
    low = -1 if within.low is None else int(within.low[0])
    high = 20_000 if within.high is None else int(within.high[0])
    return {key: value for key, value in table.items() if low < key <= high}


def _tally(rows: Table) -> Tally:
    return Tally(rows=len(rows), checksum=sum(hash((key, value)) for key, value in rows.items()))


def _images(rows: Table) -> dict[Key, Image]:
    return {(str(key),): (value,) for key, value in rows.items()}


@given(tables, tables, st.integers(1, 20), st.integers(2, 16))
def test_splitting_finds_exactly_the_rows_that_differ(monolith: Table, service: Table, leaf: int, ways: int) -> None:
    differing = {(str(key),) for key in monolith.keys() | service.keys() if monolith.get(key) != service.get(key)}
    assert Compared(monolith, service, leaf, ways).found(Range()) == differing


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=50), st.integers(0, 10_001))
def test_every_key_lies_in_exactly_one_piece(keys: list[int], late: int) -> None:
    pieces = Range().pieces([(str(key),) for key in sorted(keys)])
    for key in {*keys, late}:
        assert sum(key in _held({key: 0}, piece) for piece in pieces) == 1


@given(st.integers(1, 10**9), st.integers(2, 64))
def test_pieces_are_no_more_than_asked_for_and_take_all_rows(rows: int, ways: int) -> None:
    assert -(-rows // step(rows, ways)) <= ways


def test_what_is_gone_as_a_whole_is_counted_and_not_fetched() -> None:
    assert decide(Tally(rows=10_000, checksum=7), Tally(), leaf=100) is Next.COUNT
    assert decide(Tally(), Tally(rows=10_000, checksum=7), leaf=100) is Next.COUNT
    assert decide(Tally(rows=100, checksum=7), Tally(), leaf=100) is Next.LOOK


def test_the_same_checksum_of_more_rows_differs() -> None:
    assert decide(Tally(rows=2, checksum=0), Tally(rows=1, checksum=0), leaf=100) is Next.LOOK


def suspect(monolith: int | None, service: int | None) -> Suspect:
    [found] = suspects({("1",): _image(monolith)}, {("1",): _image(service)})
    return found


def _image(value: int | None) -> Image:
    return () if value is None else (value,)


def looked(*looks: tuple[int | None, int | None]) -> Suspect:
    """Return a suspect after these looks at the monolith and the service."""
    found = suspect(*looks[0])
    for monolith, service in looks[1:]:
        found = found.again(_image(monolith), _image(service))
    return found


def test_a_row_that_arrives_is_in_flight() -> None:
    assert looked((2, 1), (2, 2)).in_flight
    assert looked((2, None), (2, 2)).in_flight
    assert looked((None, 1), (None, None)).in_flight


def test_a_row_that_is_written_all_the_time_is_in_flight_where_the_service_follows() -> None:
    assert looked((5, 3), (8, 5)).in_flight  # behind: it shows what the monolith showed before
    assert looked((5, 3), (8, 9), (9, 12)).in_flight  # ahead: the monolith shows next what it showed


def test_a_row_that_stands_still_differs_however_often_the_monolith_changes_it() -> None:
    stuck = looked((2, 1), (3, 1), (4, 1), (None, 1))
    assert not stuck.in_flight
    assert stuck.kind is Kind.EXTRA


def test_a_row_that_both_sides_wrote_at_the_last_look_is_not_decided() -> None:
    assert looked((2, 1), (4, 3)).moving
    assert not looked((2, 1)).moving
    assert not looked((2, 1), (4, 1)).moving  # it stands still
    assert not looked((2, 1), (4, 3), (4, 5)).moving  # nothing else is to come


def chased(*looks: tuple[int, int]) -> Suspect:
    return looked((9, 8)).chased([({("1",): (monolith,)}, {("1",): (service,)}) for monolith, service in looks])


def test_looks_within_a_batch_of_the_stream_do_not_say_that_the_service_stands_still() -> None:
    assert chased((2, 1), (3, 1), (5, 4), (7, 4)).moving
    assert not chased((2, 1), (3, 1), (5, 1), (7, 1)).moving
    assert not chased((2, 1), (2, 4)).moving
    assert chased((2, 1)).moving  # since the look before
    assert chased() == looked((9, 8))


def test_what_the_monolith_wrote_back_later_does_not_excuse_an_earlier_look() -> None:
    assert not looked((2, 1), (2, 3), (1, 3)).in_flight


def test_a_row_that_is_there_twice_differs() -> None:
    [twice] = suspects({("1",): (7,)}, {("1",): (7, 7)})
    assert twice.kind is Kind.DIFFERING


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 2)), st.dictionaries(st.integers(0, 20), st.integers(0, 2)))
def test_each_suspect_is_left_or_in_flight(monolith: Table, service: Table) -> None:
    found = list(suspects(_images(monolith), _images(service)))
    left, arrived = look_again(found, _images(monolith), _images(monolith))
    assert (left, arrived) == ([], len(found))
    left, arrived = look_again(found, _images(monolith), _images(service))
    assert ([each.key for each in left], arrived) == ([each.key for each in found], 0)


@given(st.text(max_size=80), st.text(max_size=80), st.integers(6, 60))
def test_values_are_shown_within_their_room_and_their_difference_with_them(one: str, other: str, width: int) -> None:
    shown = Cell(column="body", monolith=one, service=other).shown(width)
    assert all(len(text) <= width for text in shown)
    if one != other and one.isprintable() and other.isprintable():
        assert shown[0] != shown[1]


values = st.none() | st.text(max_size=80)


@given(values, values, st.integers(6, 60))
def test_values_in_json_keep_within_their_width_and_differ_as_the_whole_ones_do(
    one: str | None, other: str | None, width: int
) -> None:
    cut = Cell(column="body", monolith=one, service=other).within(width)
    assert all(value is None or len(value) <= width for value in (cut.monolith, cut.service))
    assert (cut.monolith is None, cut.service is None) == (one is None, other is None)
    assert (cut.monolith == cut.service) == (one == other)


@given(values, values)
def test_values_that_have_room_are_told_whole_in_json(one: str | None, other: str | None) -> None:
    cell = Cell(column="body", monolith=one, service=other)
    assert cell.within(81) == cell


def test_long_values_are_cut_around_the_first_difference() -> None:
    common = "lorem ipsum " * 20
    assert Cell(column="body", monolith=f"{common}begins {common}", service=f"{common}starts {common}").shown(24) == (
        "…m ipsum begins lorem ips…"[:23] + "…",
        "…m ipsum starts lorem ips…"[:23] + "…",
    )


@pytest.mark.parametrize(
    ("value", "text"), [(None, "NULL"), ("", "''"), ("a\tb\n", "a\\tb\\n"), ("\x1b[31m", "\\x1b[31m")]
)
def test_nothing_and_what_cannot_be_printed_are_shown_for_what_they_are(value: str | None, text: str) -> None:
    assert Cell(column="body", monolith=value, service="x").shown(20) == (text, "x")


def kind(name: str, full: str | None = None, sent_as: str | None = None) -> Type:
    return Type(name=name, full=full or name, sent_as=sent_as or name)


@pytest.mark.parametrize(
    ("source", "target", "order"),
    [
        (kind("integer"), kind("bigint"), "bigint"),
        (kind("uuid"), kind("uuid"), "uuid"),
        (kind("text"), kind("text"), None),
        (kind("integer"), kind("text"), None),
        (kind("mood", sent_as="text"), kind("mood", sent_as="text"), None),
        (kind("numeric", "numeric(10,2)"), kind("numeric"), None),
    ],
)
def test_keys_are_compared_in_an_order_that_both_databases_have(source: Type, target: Type, order: str | None) -> None:
    assert ordered_as(source, target) == order


def test_json_is_compared_without_its_blanks_only_where_one_side_has_none() -> None:
    assert common(kind("json"), kind("jsonb")) == "jsonb"
    assert common(kind("json"), kind("json")) == "json"


def test_the_remaining_time_follows_the_pace() -> None:
    assert Progress(target="item", rows=100, rows_done=25, seconds=2.0).remaining_s == 6.0
    assert Progress(target="item", rows=100, rows_done=0, seconds=2.0).remaining_s is None
