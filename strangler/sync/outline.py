"""What the tables of a stream's source are like, as far as the mapping uses them, and what has become of that since.

A stream brings rows, and not what ALTER TABLE does to them: where a column is not what it was, rows that nobody has
written since are not what was copied. So the columns are kept with the stream, by their numbers, which a renamed column
keeps and one that is made anew does not, and compared with the catalogue at each start and each heartbeat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from strangler.sync.errors import BEGIN_ANEW, RETYPED, StreamBroken

_INT2, _INT4, _INT8, _NUMERIC, _TEXT, _VARCHAR = 21, 23, 20, 1700, 25, 1043
_TIMES: Final = (1083, 1266, 1114, 1184)  # time and timestamp, with their zones and without
_WIDER: Final = frozenset({(_INT2, _INT4), (_INT2, _INT8), (_INT4, _INT8), (_VARCHAR, _TEXT)})
"""Types, and others that take the same text for the same value, and that expressions understand alike."""
_ANY: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as ``pg_attribute`` has it; ``shown`` is its type for people."""

    name: str
    type: int
    modifier: int
    shown: str
    not_null: bool

    def widens(self, to: Column) -> bool:
        """Return whether all values stay what they are when the column becomes ``to``."""
        return is_wider(self.type, to.type) or (self.type == to.type and _takes(self.type, self.modifier, to.modifier))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table's columns by their numbers; of the mapping's ``key`` those numbers. ``unique`` are any that are there."""

    name: str
    columns: Mapping[int, Column]
    key: frozenset[int] = frozenset()
    unique: tuple[frozenset[int], ...] = ()

    def tells_rows_apart(self, key: frozenset[int]) -> bool:
        whole = all(each in self.columns and self.columns[each].not_null for each in key)
        return whole and any(each <= key for each in self.unique)


Outline = Mapping[int, Table]
"""Tables by their oid, which a renamed one keeps."""


def is_wider(before: int, now: int) -> bool:
    """Return whether values of one type are the same in another one, by the numbers of the types."""
    return (before, now) in _WIDER


def _takes(kind: int, before: int, now: int) -> bool:
    if before == now:
        return True
    if kind == _VARCHAR or kind in _TIMES:
        return now == _ANY or (before != _ANY and now >= before)
    if kind == _NUMERIC:
        return now == _ANY or (before != _ANY and _scale(now) == _scale(before) and now >= before)
    return False


def _scale(modifier: int) -> int:
    # numeric(p, s) has p in the upper half and s in 11 bits of the lower, 4 added.
    return (modifier - 4) & 0x7FF


def differences(kept: Outline, now: Outline) -> Iterator[str]:
    """Yield what has changed of what was ``kept``: each names its table, and its column where it is one's."""
    for oid, before in kept.items():
        there = now.get(oid)
        if there is None:
            yield f"{before.name} was dropped"
        elif there.name != before.name:
            yield f"{before.name} is called {there.name} now"
        else:
            yield from _changed(before, there)


def _changed(before: Table, now: Table) -> Iterator[str]:
    names = {each.name for each in now.columns.values()}
    for number, column in before.columns.items():
        there = now.columns.get(number)
        place = f"{before.name}.{column.name}"
        if there is None:
            yield f"{place} was dropped{' and made anew' if column.name in names else ''}"
        elif there.name != column.name:
            yield f"{place} is called {there.name} now"
        elif not column.widens(there):
            yield f"{place} is {there.shown} now, and was {column.shown}"
    if before.key <= now.columns.keys() and not now.tells_rows_apart(before.key):
        key = ", ".join(before.columns[each].name for each in sorted(before.key))
        yield f"{before.name} may have rows of the same {key} now: it is not unique and NOT NULL any more"


def prove(kept: Outline, now: Outline, where: str) -> None:
    """Raise ``StreamBroken`` with everything that is not as it was kept."""
    found = list(differences(kept, now))
    if found:
        way = RETYPED if any(_retyped(table, now.get(oid)) for oid, table in kept.items()) else BEGIN_ANEW
        raise StreamBroken(f"in the {where} {'; '.join(found)}; {way}")


def _retyped(before: Table, now: Table | None) -> bool:
    """Return whether a column that is there still has a type that values may not fit."""
    there = {} if now is None else now.columns
    return any(number in there and not each.widens(there[number]) for number, each in before.columns.items())
