"""What a batch of changes comes to: for each key its last image, or its end. No I/O.

Within a batch the images of one key are merged, and it is not the last that wins: after an INSERT an UPDATE that left a
long value as it was says so without the value, which only the INSERT has. What is still unknown when the batch ends
stands in the target already, or the row is not there yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from strangler.sync.errors import StreamBroken
from strangler.sync.pgoutput import UNCHANGED, Tuple, Value, is_whole

RowKey = tuple[Value, ...]
"""A row's values of the key columns, as the source's text."""


class Barrier(Exception):
    """What comes next cannot be merged with what the batch has; apply that first."""


@dataclass(slots=True)
class Changes:
    """What happened to one table. ``key`` are the positions of the key's columns in its rows.

    Applied in this order: ``emptied``, ``gone``, ``moved`` (a row whose key changed, with what only the target knows),
    ``rows``. What happens after a move is for another batch. Those of ``there`` that are in ``rows`` were updated and
    not made: the target should have them.
    """

    key: tuple[int, ...]
    emptied: bool = False
    gone: set[RowKey] = field(default_factory=set)
    rows: dict[RowKey, Tuple] = field(default_factory=dict)
    moved: tuple[RowKey, RowKey] | None = None
    there: set[RowKey] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.gone) + len(self.rows) + (self.moved is not None) + self.emptied

    def insert(self, row: Tuple) -> None:
        key = self._key_of(row)
        self.gone.discard(key)
        self.rows[key] = row

    def update(self, old: Tuple | None, row: Tuple, *, old_is_key: bool = True) -> None:
        """Take an update; ``old`` is the old row, or its key alone, or None when the key is as it was.

        Raises ``Barrier`` when the row's key changed and only the target knows a value of it, or when another row of
        that key goes in the same batch: what is not known of this one is not in that one.
        """
        before = self._key_of(row if old is None else old)
        if not is_whole(row):  # a key alone has NULL for whatever is no part of it
            known = self.rows.get(before) or (None if old_is_key else old)
            row = filled(row, known) if known is not None else row
        key = self._key_of(row)
        if before != key:
            self._move(before, key, row)
        elif key not in self.rows:
            if not is_whole(row) and key in self.gone:
                raise Barrier
            self.there.add(key)
        self.gone.discard(key)
        self.rows[key] = row

    def delete(self, old: Tuple) -> None:
        key = self._key_of(old)
        self.rows.pop(key, None)
        self.gone.add(key)

    def truncate(self) -> None:
        self.rows.clear()
        self.gone.clear()
        self.there.clear()
        self.moved = None
        self.emptied = True

    def _move(self, before: RowKey, key: RowKey, row: Tuple) -> None:
        if not is_whole(row):
            if len(self):
                raise Barrier
            self.moved = (before, key)
            return
        self.rows.pop(before, None)
        self.gone.add(before)

    def _key_of(self, row: Tuple) -> RowKey:
        key = tuple([row[at] for at in self.key])
        for value in key:
            if value is None or value is UNCHANGED:
                raise StreamBroken("a row came without the values of its key; its table's replica identity has changed")
        return key


def filled(row: Tuple, source: Tuple) -> Tuple:
    """Return ``row`` with what it leaves out as ``source`` has it."""
    return tuple([other if value is UNCHANGED else value for value, other in zip(row, source, strict=True)])
