"""What is kept of the rows that a stream changed, and what is known by it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.changed import MOST, MOST_BATCHES, Noted, Recorded, gathered, read, touched, written
from strangler.sync.errors import SyncError
from strangler.sync.images import Changes
from strangler.sync.mapping import Key
from strangler.sync.pgoutput import UNCHANGED
from strangler.sync.since import position_of, refusal

TEXTS = st.text(st.sampled_from("ab0\\\t\n\r é") | st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
POSITIONS = st.integers(0, 50)


@given(st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[TEXTS] * width), min_size=1, max_size=8)))
def test_keys_are_read_as_they_were_written(keys: list[tuple[str, ...]]) -> None:
    text = written([tuple(value.encode() for value in key) for key in keys]).decode()
    assert list(read(text)) == keys
    assert all(text.split("\n"))  # the database takes it apart line by line, and drops what is empty


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(0, 5)),
        st.tuples(st.just("delete"), st.integers(0, 5)),
        st.tuples(st.just("update"), st.integers(0, 5), st.integers(0, 5)),
        st.tuples(st.just("flush")),
    ),
    max_size=30,
)


@given(CHANGES)
def test_every_key_that_something_happened_to_is_noted_and_no_other(events: list[tuple[str, int, int]]) -> None:
    noted, changes, wanted = Noted(), Changes(key=(0,)), set()
    for what, *numbers in events:
        keys = [b"%d" % number for number in numbers]
        wanted |= {(key.decode(),) for key in keys}
        if what == "insert":
            changes.insert((keys[0], b"x"))
        elif what == "delete":
            changes.delete((keys[0], None))
        elif what == "update":
            changes.update((keys[0], None), (keys[1], b"y"))
        else:
            noted.take("book", touched(changes))
            changes = Changes(key=(0,))
    noted.take("book", touched(changes))
    lines = noted.lines()
    assert [line[0] for line in lines] == (["book"] if wanted else [])
    assert {key for _, _, text in lines if text is not None for key in read(text)} == wanted


def test_both_keys_of_a_row_that_moved_with_what_only_the_target_knows_are_noted() -> None:
    noted, changes = Noted(), Changes(key=(0,))
    changes.update((b"1", None), (b"2", UNCHANGED))
    noted.take("book", touched(changes))
    [(_, number, text)] = noted.lines()
    assert text is not None
    assert (number >= 2, set(read(text))) == (True, {("1",), ("2",)})


@pytest.mark.parametrize("how", ["emptied", "many", "many together"])
def test_of_an_emptied_table_and_of_too_many_keys_it_is_noted_that_any_row_may_have_changed(how: str) -> None:
    noted, changes, few = Noted(), Changes(key=(0,)), Changes(key=(0,))
    if how == "emptied":
        changes.truncate()
    else:
        changes.gone = {(b"%d" % number,) for number in range(MOST + (how == "many"))}
    few.delete((b"1",))
    for each in (few, changes, few):
        noted.take("book", touched(each))
    noted.take("author", touched(few))
    assert noted.lines() == [("book", 0, None), ("author", 1, "\t1")]


def test_as_many_keys_as_are_kept_are_kept() -> None:
    noted, changes = Noted(), Changes(key=(0,))
    changes.gone = {(b"%d" % number,) for number in range(MOST)}
    noted.take("book", touched(changes))
    assert noted.lines()[0][1] == MOST


def test_keys_of_batches_are_gathered_by_table() -> None:
    rows = [
        ("book", "\t1\n\t2"),
        ("author", "\t7"),
        ("page", "\t1"),
        ("book", "\t2\n\t3"),
        ("page", None),
        ("page", "\t2"),
    ]
    assert gathered(rows) == {
        "book": frozenset({("1",), ("2",), ("3",)}),
        "author": frozenset({("7",)}),
        "page": None,
    }


def test_many_batches_are_no_more_work_than_their_keys_in_one() -> None:
    keys = [f"\t{number}" for number in range(2 * MOST)]  # a record is folded past these numbers
    each = len(keys) // MOST_BATCHES
    batches = [("book", "\n".join(keys[at : at + each])) for at in range(0, len(keys), each)]
    in_one, _ = worked([("book", "\n".join(keys))])
    in_many, found = worked(batches)
    assert len(found["book"] or ()) == 2 * MOST
    assert in_many < 5 * in_one  # 30 times as much, when every batch copied what was there


def worked(rows: Sequence[tuple[str, str | None]]) -> tuple[float, Mapping[str, frozenset[Key] | None]]:
    """Return the processor time of this thread, in s, in which ``rows`` were gathered, the least of three."""
    spent = []
    for _ in range(3):
        began = time.thread_time()
        found = gathered(rows)
        spent.append(time.thread_time() - began)
    return min(spent), found


@given(POSITIONS, st.none() | POSITIONS, POSITIONS, st.booleans(), st.booleans())
def test_what_changed_is_known_between_where_the_record_begins_and_the_watermark(
    lsn: int, since: int | None, position: int, copying: bool, given_up: bool
) -> None:
    found = Recorded(lsn=lsn, since=since, copying=copying, given_up="it kept too much" if given_up else None)
    recorded = position == lsn if since is None else since <= position <= lsn
    known = not copying and not given_up and recorded
    assert (refusal(found, position) is None) == known


def test_where_nothing_was_applied_since_nothing_has_changed_though_nobody_records_yet() -> None:
    assert refusal(Recorded(lsn=0x2000, since=None), 0x2000) is None


def test_a_refusal_says_why_and_what_to_do() -> None:
    found = Recorded(lsn=0x2000, since=0x1000)
    assert refusal(found, 0xFFF) == (
        "what was changed since 0/FFF is not known any more, but since 0/1000; say --changed-since last, or compare all"
        " rows: strangler sync verify"
    )
    assert "0/2001 is still to come: the stream stands at 0/2000" in str(refusal(found, 0x2001))
    assert "start strangler sync run of this release" in str(refusal(Recorded(lsn=0x2000, since=None), 0x1FFF))
    assert "are all compared at the end" in str(refusal(Recorded(lsn=1, since=None, copying=True), 1))
    assert "slot too long" in str(refusal(Recorded(lsn=1, since=1, given_up="slot too long"), 1))


@pytest.mark.parametrize("text", ["", "0", "16/B374D848 ", "16/", "/1", "1/123456789", "g/1", "LAST", "-1/2", "١/1"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(SyncError, match="neither a position in the WAL"):
        position_of(text)


def test_a_position_is_read_as_postgresql_writes_it() -> None:
    assert position_of("16/B374D848") == 0x16B374D848
