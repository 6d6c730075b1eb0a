from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.images import Changes
from strangler.sync.intake import Batch
from strangler.sync.pgoutput import Delete, Event, Insert, Truncate, Update
from strangler.sync.refusal import Mapped, Refused, told, way_on

TABLES = {"title": Mapped(source="public.book", target="title", key=("shop", "number"))}
REFUSED = Refused(state="23514", reason='violates check constraint "short"', constraint="short", table="title")


def batch(*keys: tuple[bytes, bytes]) -> Batch:
    found = Batch()
    changes = found.tables["title"] = Changes((0, 1))
    for key in keys:
        changes.insert((*key, b"private"))
    return found


def test_the_row_the_statement_the_reason_and_the_way_on_are_told() -> None:
    assert told(batch((b"1", b"a")), Update(7, 1, None, False, (b"1", b"a", b"private")), REFUSED, TABLES) == (
        'public.book (shop = 1, number = a) cannot be applied: update of title: violates check constraint "short";'
        " next: drop or widen short of title, there in the target; it is tried again every few seconds, and what came"
        " after it waits"
    )


def test_a_row_that_goes_to_several_targets_is_told_once() -> None:
    found = batch((b"1", b"a"))
    found.tables["extract"] = found.tables["title"]
    tables = {**TABLES, "extract": Mapped(source="public.book", target="extract", key=("shop", "number"))}
    sentence = told(found, Insert(7, 1, (b"1", b"a", b"private")), REFUSED, tables)
    assert sentence.startswith("public.book (shop = 1, number = a) cannot be applied: insert into title, extract: ")


def test_a_table_s_name_moves_no_cursor() -> None:
    found = Batch()
    found.tables["there"] = Changes((0,))
    found.tables["there"].delete((b"1",))
    tables = {"there": Mapped(source="public.\x1b[2J", target="there\n", key=("id",))}
    sentence = told(found, Delete(7, 1, (b"1",), True), REFUSED, tables)
    assert sentence.startswith(r"public.\x1b[2J (id = 1) cannot be applied: delete from there\n: violates")


def test_what_only_the_end_of_a_transaction_breaks_has_no_row() -> None:
    assert told(Batch(), None, REFUSED, TABLES).startswith(
        "a transaction that changed title cannot be applied: what is checked at a transaction's end: violates"
    )


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=2_000)


@given(texts, texts, texts, texts)
def test_whatever_stands_in_a_row_the_sentence_is_bounded_and_on_one_line(
    key: str, other: str, reason: str, detail: str
) -> None:
    refused = Refused(state="XX000", reason=reason, detail=f"Failing row contains ({detail}).")
    sentence = told(batch((key.encode(), other.encode())), Insert(7, 1, (b"", b"", b"")), refused, TABLES)
    assert sentence.isprintable()
    assert len(sentence) < 10 * (60 + 60 + 300) + 400  # what cannot be printed takes up to ten characters


@given(st.text(st.characters(categories=["L"]), min_size=1))
def test_values_that_postgresql_tells_of_are_left_out(value: str) -> None:
    value = f"<{value}>"
    of_unique = Refused(state="23505", reason="duplicate", detail=f"Key (lower(name), at)=({value}, 1) already exists.")
    assert str(of_unique) == "duplicate (columns lower(name), at)"
    for reason in ('for type integer: "{}"', 'value "{}" is out of range', 'for type json: "a"{}"'):
        assert value not in str(Refused(state="22P02", reason=reason.format(value)))


@pytest.mark.parametrize(
    ("state", "event", "wanted"),
    [
        ("23505", None, "find the other row of title with these values"),
        ("23503", Insert(7, 1, ()), "put in the row that title refers to, or drop short"),
        ("23503", Delete(7, 1, (), True), "delete the rows of title that refer to it, or drop short"),
        ("23503", Truncate(7, (1,), False, False), "delete the rows of title that refer to it"),
        ("23502", None, "drop the not null of title"),
        ("22001", None, "widen the column of title"),
        ("42501", None, "grant the sync's role"),
        ("42703", None, "bring title and the mapping together"),
        ("P0001", None, "see what title does with such a row"),
    ],
)
def test_each_kind_of_refusal_has_its_way_on(state: str, event: Event | None, wanted: str) -> None:
    refused = Refused(state=state, reason="no", constraint="short", table="title")
    assert way_on(refused, event, "title").startswith(wanted)
