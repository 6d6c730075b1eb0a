"""What a database wrote that its stream never brought to the other side: read from its slot, as keys by table.

A slot keeps what was not acknowledged, and the target's watermark tells up to where it was applied: what commits behind
that is what was lost. The rows themselves stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psycopg

from strangler.sync.direction import Direction
from strangler.sync.pgoutput import (
    Begin,
    Commit,
    Decoder,
    Delete,
    Event,
    Insert,
    Origin,
    Relation,
    Truncate,
    Tuple,
    Update,
    Value,
    lsn_text,
)
from strangler.sync.walsender import quoted

MOST_READ: Final = 1_000_000
"""So many changes are read at most: a slot that nobody drained for a day may have more than anybody looks through."""
MOST_KEYS: Final = 100_000
NAMED: Final = 1_000
"""So many keys of a table go into the history: more than somebody mends by hand."""
_WITH_ORIGIN: Final = 160_000
_BLOCK: Final = 1_000
_PEEK: Final = "select data from pg_logical_slot_peek_binary_changes(%(slot)s, null, %(most)s, variadic %(options)s)"

Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The keys that were written in ``transactions`` which commit after ``since``, by table; emptied ones by name.

    ``whole`` is False where there are more than were read, ``why`` says why none could be.
    """

    since: int
    keys: Mapping[str, frozenset[Key]] = field(default_factory=dict)
    emptied: frozenset[str] = frozenset()
    transactions: int = 0
    whole: bool = True
    why: str = ""

    def __str__(self) -> str:
        if self.why:
            return f"what it wrote and the monolith lacks cannot be told: {self.why}"
        count = sum(map(len, self.keys.values()))
        if not self.transactions:
            return "it wrote nothing that the monolith lacks"
        tables = ", ".join(f"{len(keys):,} in {table}" for table, keys in sorted(self.keys.items()))
        emptied = f"; emptied: {', '.join(sorted(self.emptied))}" if self.emptied else ""
        more = "" if self.whole else ", and more"
        return (
            f"it wrote {count:,} keys{more} that the monolith lacks, in {self.transactions:,} transactions"
            f" ({tables}{emptied})"
        )

    def to_json(self) -> dict[str, Any]:
        tables = {
            table: {"keys": len(keys), "named": [list(each) for each in sorted(keys, key=_by_text)[:NAMED]]}
            for table, keys in sorted(self.keys.items())
        }
        return {
            "since": lsn_text(self.since),
            "transactions": self.transactions,
            "whole": self.whole,
            "tables": tables,
            "emptied": sorted(self.emptied),
            **({"why": self.why} if self.why else {}),
        }


def _by_text(key: Key) -> tuple[str, ...]:
    return tuple("" if part is None else part for part in key)


def read(source: psycopg.Connection, direction: Direction, since: int) -> Lost:
    """Return what a stream's source wrote after ``since``, and leave its slot as it is."""
    columns = {each.source: tuple(each.key.values()) for each in direction.tables}
    options = ["proto_version", "1", "publication_names", quoted(direction.name)]
    if source.info.server_version >= _WITH_ORIGIN:
        options += ["origin", "none"]
    decoder, count = Decoder(1), 0

    def events(cursor: psycopg.Cursor[Any]) -> Iterator[Event]:
        nonlocal count
        for (data,) in cursor:
            count += 1
            yield decoder.decode(bytes(data))

    try:
        with source.transaction(), source.cursor(name="strangler_lost") as cursor:
            cursor.itersize = _BLOCK
            cursor.execute(_PEEK, {"slot": direction.name, "most": MOST_READ, "options": options})
            found = gathered(events(cursor), columns, since)
    except psycopg.Error as exc:
        return Lost(since=since, why=str(exc).strip().splitlines()[0])
    return replace(found, whole=found.whole and count < MOST_READ)


def gathered(
    events: Iterable[Event],
    columns: Mapping[str, tuple[str, ...]],
    since: int,
) -> Lost:
    """Return what the transactions among ``events`` wrote that end after ``since``; those of others do not count.

    ``columns`` are each table's whose values are its key.
    """
    tables: dict[int, tuple[str, tuple[int, ...]]] = {}
    keys: dict[str, set[Key]] = {}
    emptied: set[str] = set()
    pending: list[tuple[str, Key | None]] = []
    transactions, foreign, more = 0, False, False
    for event in events:
        match event:
            case Begin():
                pending, foreign = [], False
            case Origin():
                foreign = True  # an applier's own: it came from the other side
            case Relation():
                tables[event.oid] = _placed(event, columns)
            case Insert() | Update() | Delete() | Truncate():
                pending += _written(event, tables)
            case Commit():
                if event.end_lsn <= since or foreign or not pending:
                    continue
                transactions += 1
                for table, key in pending:
                    if key is None:
                        emptied.add(table)
                    elif sum(map(len, keys.values())) < MOST_KEYS:
                        keys.setdefault(table, set()).add(key)
                    else:
                        more = True
    return Lost(
        since=since,
        keys={table: frozenset(found) for table, found in keys.items()},
        emptied=frozenset(emptied),
        transactions=transactions,
        whole=not more,
    )


def _placed(relation: Relation, columns: Mapping[str, tuple[str, ...]]) -> tuple[str, tuple[int, ...]]:
    """Return a table's name, and where in a row its key stands: all of the row, where it is none of the mapping's."""
    qualified = f"{relation.schema}.{relation.name}"
    name = qualified if qualified in columns else relation.name
    there = [each.name for each in relation.columns]
    wanted = columns.get(name, tuple(there))
    return name, tuple(there.index(each) for each in wanted if each in there)


def _written(
    event: Insert | Update | Delete | Truncate, tables: Mapping[int, tuple[str, tuple[int, ...]]]
) -> Iterator[tuple[str, Key | None]]:
    if isinstance(event, Truncate):
        yield from ((tables[each][0], None) for each in event.relations if each in tables)
        return
    name, at = tables[event.relation]
    for row in _rows(event):
        yield name, tuple(_text(row[each]) for each in at)


def _rows(event: Insert | Update | Delete) -> Iterator[Tuple]:
    if not isinstance(event, Delete):
        yield event.row
    if not isinstance(event, Insert) and event.old is not None:
        yield event.old


def _text(value: Value) -> str | None:
    return value.decode() if isinstance(value, bytes) else None
