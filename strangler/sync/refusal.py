"""Why a target refuses a change, for whoever mends it: which row, which statement, what forbids it, and the way on.

Of the row only its key is told. What PostgreSQL adds in its DETAIL is the whole row at times, or values of other
columns, what an input function refuses it quotes, and what a trigger says it says itself: none of that belongs into a
log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import psycopg

from strangler.project.values import printable
from strangler.sync.images import Changes
from strangler.sync.intake import Batch
from strangler.sync.pgoutput import Delete, Event, Insert, Truncate, Update
from strangler.sync.telling import brief

_VALUE: Final = 60  # of a key, as verify tells it
_KEYS: Final = 4
_REASON: Final = 300
_VERBS: Final[Mapping[type[Event], str]] = {
    Insert: "insert into",
    Update: "update of",
    Delete: "delete from",
    Truncate: "truncate of",
}
_COLUMNS: Final = re.compile(r"Key \((.+?)\)=\(")
_DATA: Final = "22"  # the class of data exceptions, which quote the value that was refused
_OWN: Final = ("P0", "38")  # the classes of what PL/pgSQL and other languages raise, in words of the function's own
_RAISE: Final = "exec_stmt_raise"  # as PostgreSQL's pl_exec.c calls it: RAISE may give any other SQLSTATE
_FUNCTION: Final = re.compile(r"PL/pgSQL function (.+) line \d+ at ")
_QUOTED: Final = re.compile(r'".*"', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A table of the source as the stream writes it: its names on both sides, and the columns of its key.

    ``types`` are those of the target's columns that are written.
    """

    source: str
    target: str
    key: tuple[str, ...]
    types: Mapping[str, str] = field(default_factory=dict)

    def suspects(self, refused: Refused) -> Iterator[str]:
        """Yield the columns of the type that a value does not fit: of those PostgreSQL names the type alone."""
        if refused.state.startswith(_DATA):
            yield from (f"{self.target}.{name}" for name, type_ in self.types.items() if type_ in refused.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What a database has said of a statement: SQLSTATE, the first line, and what it names.

    ``own`` says that a function of the database's owner has raised it, whatever its SQLSTATE is.
    """

    state: str
    reason: str
    constraint: str | None = None
    table: str | None = None
    detail: str | None = None
    own: bool = False

    @classmethod
    def of(cls, exc: psycopg.Error) -> Refused:
        diag = exc.diag
        if (exc.sqlstate or "").startswith(_OWN) or diag.source_function == _RAISE:
            return cls(state=exc.sqlstate or "", reason=_raised(diag.context or "", exc.sqlstate), own=True)
        return cls(
            state=exc.sqlstate or "",
            reason=diag.message_primary or (str(exc).strip().splitlines() or [repr(exc)])[0],
            constraint=diag.constraint_name,
            table=diag.table_name,
            detail=diag.message_detail,
        )

    def __str__(self) -> str:
        reason = _QUOTED.sub('"…"', self.reason) if self.state.startswith(_DATA) else self.reason
        columns = _COLUMNS.match(self.detail or "")
        of = f" (columns {columns[1]})" if columns else ""
        named = "" if self.constraint is None or self.constraint in reason else f" (constraint {self.constraint})"
        return brief(f"{reason}{of}{named}", _REASON)


def _raised(context: str, state: str | None) -> str:
    """Return who refuses in words of its own, without them: they may have any value."""
    function = _FUNCTION.match(context)
    return f"{function[1] if function else 'a function there'} raises an error of its own (SQLSTATE {state})"


def told(batch: Batch, event: Event | None, refused: Refused, tables: Mapping[str, Mapped]) -> str:
    """Return the whole sentence for ``event``, which came alone; ``batch`` has what it comes to."""
    # Several targets of one table are told of one row.
    rows = dict.fromkeys(row for name, changes in batch.tables.items() for row in _rows(changes, tables[name]))
    written = ", ".join(tables[name].target for name in batch.tables)
    what = f"{_verb(event)} {written}" if written else "what is checked at a transaction's end"
    which = ", ".join(rows) if rows else f"a transaction that changed {refused.table or 'some rows'}"
    suspects = [column for name in batch.tables for column in tables[name].suspects(refused)]
    why = f"{refused}, as {', '.join(suspects)} {'is' if len(suspects) == 1 else 'are'}" if suspects else str(refused)
    return printable(f"{which} cannot be applied: {what}: {why}; next: {way_on(refused, event, written)}")


def way_on(refused: Refused, event: Event | None, written: str) -> str:
    """Return what is to be done in the target: the change stands in the WAL as it was, whatever its row is now."""
    table = refused.table or written or "the table"
    constraint = refused.constraint or "what forbids it"
    match "" if refused.own else refused.state:
        case "23505" | "23P01":
            do = f"find the other row of {table} with these values and who wrote it, and change or delete that row"
        case "23503" if isinstance(event, Delete | Truncate):
            do = f"delete the rows of {table} that refer to it, or drop {constraint}"
        case "23503":
            do = f"put in the row that {table} refers to, or drop {constraint}"
        case "23502":
            do = f"drop the not null of {table}"
        case "23514":
            do = f"drop or widen {constraint} of {table}"
        case "42501":
            do = "grant the sync's role what is missing"
        case state if state.startswith("42"):
            do = f"bring {table} and the mapping together again: its schema has changed"
        case state if state.startswith(_DATA):
            do = f"widen the column of {table} that is too narrow for the value"
        case _:
            do = f"see what {table} does with such a row, its triggers too"
    return f"{do}, there in the target; it is tried again every few seconds, and what came after it waits"


def _verb(event: Event | None) -> str:
    return next((verb for kind, verb in _VERBS.items() if isinstance(event, kind)), "change of")


def _rows(changes: Changes, mapped: Mapped) -> Iterator[str]:
    moved = changes.moved[:1] if changes.moved is not None else ()
    for key in islice((*changes.gone, *moved, *changes.rows), _KEYS):
        values = [brief(value.decode(), _VALUE) if isinstance(value, bytes) else "NULL" for value in key]
        named = ", ".join(f"{column} = {value}" for column, value in zip(mapped.key, values, strict=True))
        yield f"{mapped.source} ({named})"
