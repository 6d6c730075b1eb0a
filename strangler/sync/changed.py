"""Which rows a stream has changed, kept beside its watermark: what is to be compared after all rows were once equal.

Each batch adds its keys in the statement that sets the watermark, so that neither is there without the other. While
tables are copied nothing is recorded: all rows are compared when the copy ends, and the record begins there.

For 10,000 changes it took 3 ms: 1.2 to write the keys down, and 1.8 more in the database. In 14 rounds of 100,000
changes, by turns with it and without, on two busy cores, the median was 5.7 and 5.2 s, the least 4.0 and 4.3 s, and the
applier's own processor time 2.2 s in both: in the noise.

A comparison of all rows that found both sides equal makes what was recorded before it needless. It stands at the
watermark that was read *before* it read any row: whatever was applied later it may have seen or not, and that is
recorded with a later position, and is compared again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import psycopg

from strangler.sync.images import Changes, RowKey
from strangler.sync.mapping import Key
from strangler.sync.pgoutput import lsn_of, lsn_text

MOST: Final = 50_000
"""Past so many keys of a table since the last proof the record says that any row may have changed.

To compare one took 27 us on two cores (of 300,000 rows, PostgreSQL 18), so these take 1.4 s; no pause has much more.
After so many changes all rows are better compared once more while nobody waits: then few have changed since.
"""
# So many rows of the record are read in no time, and one small transaction after another makes them in minutes.
MOST_BATCHES: Final = 1_000
_PATIENCE: Final = "10s"

Line = tuple[str, int, str | None]
"""A target table, the number of keys, and the keys as they are kept; None where any row may have changed."""

Touched = tuple[int, bytes | None]
"""How many keys a batch has of a table, and the keys as they are kept; None where any row may have changed."""


def touched(changes: Changes) -> Touched:
    """Return which rows ``changes`` are of. It takes 0.6 ms for 10,000, and the target should not wait for it."""
    if changes.emptied or len(changes) > MOST:
        return 0, None
    keys = [*changes.gone, *changes.rows, *(changes.moved or ())]
    return len(keys), written(keys) if keys else b""


class Noted:
    """What a transaction of the target has changed so far."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[bytes] | None] = {}
        self._numbers: dict[str, int] = {}

    def take(self, table: str, batch: Touched) -> None:
        """Add what a batch has of a target's table."""
        more, text = batch
        blocks = self._blocks.setdefault(table, [])
        if blocks is None or text == b"":
            return
        number = self._numbers.get(table, 0) + more
        if text is None or number > MOST:
            self._blocks[table], self._numbers[table] = None, 0
            return
        self._numbers[table] = number
        blocks.append(text)

    def lines(self) -> list[Line]:
        """Return what is to be kept."""
        return [
            (table, self._numbers.get(table, 0), None if blocks is None else b"\n".join(blocks).decode())
            for table, blocks in self._blocks.items()
            if blocks != []
        ]


def written(keys: Sequence[RowKey]) -> bytes:
    """Return keys as they are kept: no line is empty, and none has a tab or an end of line that is a value's."""
    # Looked at as a whole: most keys have nothing to escape.
    rows = cast("Sequence[Sequence[bytes]]", keys)
    text = b"\n".join([b"\t" + b"\t".join(key) for key in rows])
    width = len(rows[0])
    if b"\\" in text or text.count(b"\t") != width * len(rows) or text.count(b"\n") != len(rows) - 1:
        text = b"\n".join([b"\t" + b"\t".join(map(_escaped, key)) for key in rows])
    return text


def read(text: str) -> Iterator[Key]:
    """Yield the keys of which ``written`` made ``text``."""
    for line in text.split("\n"):
        values = line[1:].split("\t")
        yield tuple(map(_meant, values)) if "\\" in line else tuple(values)


def _escaped(value: bytes) -> bytes:
    return value.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n")


def _meant(value: str) -> str:
    parts = value.split("\\\\")
    return "\\".join(part.replace("\\t", "\t").replace("\\n", "\n") for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """How far a stream is, and after which position it has recorded all that it changed: None, it has not."""

    lsn: int
    since: int | None
    copying: bool = False
    given_up: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What was changed by transactions that the source committed after ``since``, up to ``until``.

    The keys, as the source prints them, are those of each target table in which something changed, or None where any
    row may have. A key may be of a change that is a little older.
    """

    since: int
    until: int
    keys: Mapping[str, frozenset[Key] | None]


def exists(target: psycopg.Connection) -> bool:
    """Return whether changes can be recorded there; a release before did not do so."""
    row = target.execute("select to_regclass('strangler_sync.changed') is not null").fetchone()
    return bool(row and row[0])


def recorded(target: psycopg.Connection, stream: str) -> Recorded | None:
    """Return how far a stream has recorded what it changed, None where it was never begun."""
    if not exists(target):
        return _unrecorded(target, stream)
    row = target.execute(
        "select lsn::text, (case when recorded_to = lsn then recorded_from end)::text, copying, given_up"
        " from strangler_sync.stream where name = %s",
        [stream],
    ).fetchone()
    if row is None:
        return None
    since = None if row[1] is None else lsn_of(row[1])
    return Recorded(lsn=lsn_of(row[0]), since=since, copying=row[2], given_up=row[3])


def _unrecorded(target: psycopg.Connection, stream: str) -> Recorded | None:
    row = target.execute(
        "select lsn::text, copying, given_up from strangler_sync.stream where name = %s", [stream]
    ).fetchone()
    return None if row is None else Recorded(lsn=lsn_of(row[0]), since=None, copying=row[1], given_up=row[2])


def since(target: psycopg.Connection, stream: str, position: int) -> Mapping[str, frozenset[Key] | None]:
    """Return the keys that ``stream`` changed after ``position``, by target table; see ``Changed``."""
    return gathered(
        target.execute(
            "select target, keys from strangler_sync.changed where stream = %s and lsn > %s::pg_lsn",
            [stream, lsn_text(position)],
        )
    )


def gathered(rows: Iterable[tuple[str, str | None]]) -> Mapping[str, frozenset[Key] | None]:
    """Return the keys of batches, of which each is a target table and what ``written`` made, or None for any row."""
    found: dict[str, set[Key] | None] = {}
    for table, text in rows:
        keys = found.setdefault(table, set())
        if text is None:
            found[table] = None
        elif keys is not None:
            keys.update(read(text))
    return {table: None if keys is None else frozenset(keys) for table, keys in found.items()}


def note(target: psycopg.Connection, stream: str, lines: Sequence[Line]) -> None:
    """Record what was written beside ``stream``, whose row is locked: as if by its next batch, wherever that ends."""
    with target.cursor() as cursor:
        cursor.executemany(
            "insert into strangler_sync.changed (stream, target, lsn, number, keys)"
            " select name, %s, lsn + 1, %s, %s from strangler_sync.stream where name = %s",
            [(*line, stream) for line in lines],
        )


def forget(target: psycopg.Connection, stream: str, lsn: str) -> None:
    """Forget what was changed up to a position, since all rows were compared and equal there.

    What cannot be forgotten now, since a large transaction is applied, is forgotten after the next comparison.
    """
    if not exists(target):
        return
    try:
        with target.transaction():
            target.execute("select set_config('lock_timeout', %s, true)", [_PATIENCE])
            target.execute(
                "update strangler_sync.stream set recorded_from = greatest(recorded_from, %s::pg_lsn)"
                " where name = %s and recorded_from is not null",
                [lsn, stream],
            )
            target.execute("delete from strangler_sync.changed where stream = %s and lsn <= %s::pg_lsn", [stream, lsn])
    except psycopg.errors.LockNotAvailable:
        pass


# --- bounded ---

_LONG: Final = """
select target from strangler_sync.changed where stream = %s group by target
having sum(number) > 2 * %s or count(*) > %s
"""
# Where any row may have changed keys say nothing, and are not looked at. To fold took 111 ms for 100,000 changes; how
# much of that this saves was not measured by itself.
_FOLD: Final = """
with taken as (
  delete from strangler_sync.changed where stream = %(stream)s and target = %(target)s returning lsn, keys
), distinct_ones as (
  select distinct line from taken, string_to_table(taken.keys, E'\\n') as line
  where (select bool_and(keys is not null) from taken)
), folded as (
  select count(*) as number, string_agg(line, E'\\n') as keys from distinct_ones
)
insert into strangler_sync.changed (stream, target, lsn, number, keys)
select %(stream)s, %(target)s, whole.lsn, case when whole.known then number else 0 end,
       case when whole.known then folded.keys end
from folded, lateral (
  select max(lsn) as lsn, bool_and(keys is not null) and number <= %(most)s as known from taken
) as whole where whole.lsn is not null
"""


class Tidying:
    """Keeps the record of a stream bounded: of each table a few batches, and at most so many keys."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._keys = MOST  # what sessions before have left is looked at once
        self._batches = 0

    def after(self, target: psycopg.Connection, lines: Iterable[Line]) -> None:
        """Fold what has become long, each key once, after ``lines`` were added. Where keys are too many, none is kept.

        A folded key has the position of the last one: it is compared once more than it need be, perhaps, and never
        less.
        """
        for _, number, _ in lines:
            self._keys += number
            self._batches += 1
        if self._keys < MOST and self._batches < MOST_BATCHES:
            return
        self._keys = self._batches = 0
        for (table,) in target.execute(_LONG, [self._stream, MOST, MOST_BATCHES]).fetchall():
            target.execute(_FOLD, {"stream": self._stream, "target": table, "most": MOST})
