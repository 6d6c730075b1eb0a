"""A batch's merged images, against the changes one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.errors import StreamBroken
from strangler.sync.images import Barrier, Changes, RowKey, filled
from strangler.sync.pgoutput import UNCHANGED, Tuple

Table = dict[RowKey, Tuple]
KEYS = [b"1", b"2", b"3"]
values = st.sampled_from([b"a", b"b", None])
keys = st.sampled_from(KEYS)
# Insert a row, change a column or the long one or the key of one that is there, delete it, empty the table; apply.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), keys, values, values),
        st.tuples(st.just("update"), keys, values, st.just(UNCHANGED)),
        st.tuples(st.just("update"), keys, values, values),
        st.tuples(st.just("move"), keys, keys, st.booleans()),
        st.tuples(st.just("delete"), keys),
        st.tuples(st.sampled_from(["truncate", "apply"])),
    ),
    max_size=30,
)


class Replica:
    """A source, the batch of what happened to it, and a target that gets it."""

    def __init__(self) -> None:
        self.source: Table = {}
        self.target: Table = {}
        self.changes = Changes((0,))

    def do(self, verb: str, *given: object) -> None:
        getattr(self, verb)(*given)

    def insert(self, key: bytes, plain: bytes | None, long: bytes | None) -> None:
        if (key,) not in self.source:
            self.source[(key,)] = row = (key, plain, long)
            self.changes.insert(row)

    def update(self, key: bytes, plain: bytes | None, long: bytes | None) -> None:
        if (key,) in self.source:
            self._changed(None, (key, plain, long), (key,))

    def move(self, before: bytes, key: bytes, whole: bool) -> None:
        known = self.source.get((before,))
        if known is not None and (key,) not in self.source:
            old = known if whole else (before, None, None)
            self._changed(old, (key, known[1], UNCHANGED), (before,), old_is_key=not whole)

    def _changed(self, old: Tuple | None, row: Tuple, before: RowKey, *, old_is_key: bool = True) -> None:
        whole = filled(row, self.source.pop(before))
        self.source[(whole[0],)] = whole
        try:
            self.changes.update(old, row, old_is_key=old_is_key)
        except Barrier:
            self.apply()
            self.changes.update(old, row, old_is_key=old_is_key)
        if self.changes.moved is not None:
            self.apply()

    def delete(self, key: bytes) -> None:
        if self.source.pop((key,), None) is not None:
            self.changes.delete((key, None, None))

    def truncate(self) -> None:
        self.source.clear()
        self.changes.truncate()

    def apply(self) -> None:
        """Apply the batch as it says that it is to be applied."""
        changes, self.changes = self.changes, Changes((0,))
        if changes.emptied:
            self.target.clear()
        for key in changes.gone:
            self.target.pop(key, None)
        if changes.moved is not None:
            before, after = changes.moved
            self.target[after] = self.target.pop(before)
        assert changes.there & changes.rows.keys() <= self.target.keys()
        for key, row in changes.rows.items():
            self.target[key] = filled(row, self.target[key]) if UNCHANGED in row else row


@given(steps)
def test_a_batch_comes_to_what_its_changes_come_to_one_by_one(made: list[tuple[str, object]]) -> None:
    replica = Replica()
    for step in made:
        replica.do(*step)
    replica.apply()
    assert replica.target == replica.source


def test_the_last_image_of_a_key_is_not_enough() -> None:
    changes = Changes((0,))
    changes.insert((b"1", b"a", b"long"))
    changes.update(None, (b"1", b"b", UNCHANGED))
    assert changes.rows == {(b"1",): (b"1", b"b", b"long")}
    assert len(changes) == 1


def test_a_row_that_was_updated_and_not_made_should_be_there() -> None:
    changes = Changes((0,))
    changes.update(None, (b"1", b"a", b"long"))
    changes.insert((b"2", b"a", b"long"))
    changes.update(None, (b"2", b"b", b"long"))
    changes.delete((b"3", None, None))
    changes.insert((b"3", b"a", b"long"))
    assert changes.there == {(b"1",)}


@pytest.mark.parametrize("row", [(None, b"a"), (UNCHANGED, b"a")])
def test_a_row_without_its_key_is_refused(row: Tuple) -> None:
    with pytest.raises(StreamBroken, match="without the values of its key"):
        Changes((0,)).insert(row)
