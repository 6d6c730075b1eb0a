"""Whether rows come back as they were: sampled ones go to the other side and back, as the databases move them.

Of a table these are the rows with the last keys, and as many spread over it; the same ones each time, so that what is
said changes with the rows and the mapping alone. Tables of the session take them, and go with its transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from strangler.sync import transfer
from strangler.sync.catalogue import identifier
from strangler.sync.check.trip import Loss, Refusal, Trip
from strangler.sync.errors import RightMissing, TimedOut
from strangler.sync.mapping import Key, Projection
from strangler.sync.verify import forms
from strangler.sync.verify.pair import first_line
from strangler.sync.verify.table import facts

ROWS: Final = 1_000
"""So many rows of a table are tried at most."""
# Twice as many pages as rows that are to be spread over them: some hold rows that the mapping's condition leaves out.
_PAGES: Final = ROWS
# While it lasts, the monolith's server may clean up nothing that was deleted since.
PATIENCE: Final = "set local statement_timeout = '30s'; set local lock_timeout = '5s'"
_THERE: Final = sql.Identifier("pg_temp", "strangler_there")
_BACK: Final = sql.Identifier("pg_temp", "strangler_back")
_SIDES: Final = ("here", "back")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A table's way there and back, between two databases in whose transactions its rows are."""

    source: psycopg.Connection
    target: psycopg.Connection
    forward: Projection
    back: Projection

    def prepare(self) -> None:
        """Make a table for the rows in each database, which takes and refuses what the mapped one does."""
        self.target.execute(
            sql.SQL(
                "create temp table {} (like {} including defaults including generated including constraints)"
                " on commit drop"
            ).format(_THERE, identifier(self.forward.target.name))
        )
        for name, column in self.forward.target.columns.items():
            if column.sequence is not None and name not in self.forward.columns:  # no number is to be spent on this
                self.target.execute(
                    sql.SQL("alter table {0} alter column {1} drop default, alter column {1} drop not null").format(
                        _THERE, sql.Identifier(name)
                    )
                )
        self.source.execute(
            sql.SQL("create temp table {} on commit drop as select {} from {} limit 0").format(
                _BACK, transfer.names(self.back.columns), identifier(self.back.target.name)
            )
        )

    def go(self, keys: Sequence[Key]) -> None:
        transfer.pipe(self.source, self.target, self.forward, self.forward.rows_of(keys), _THERE)

    def come_back(self) -> None:
        rows = sql.SQL("select {} from {}").format(sql.SQL(", ").join(self.back.casts()), _THERE)
        transfer.pipe(self.target, self.source, self.back, rows, _BACK)

    def refusal(self, keys: Sequence[Key]) -> Refusal | None:
        """Return which of the rows is refused first, found by halving."""
        words = self._words(keys)
        if words is None:
            return None
        left = list(keys)
        while len(left) > 1:
            half = left[: len(left) // 2]
            said = self._words(half)
            left, words = (half, said) if said is not None else (left[len(half) :], words)
        return Refusal(key=left[0], words=self._words(left) or words)

    def _words(self, keys: Sequence[Key]) -> str | None:
        """Return what the databases say against the rows with these keys, and leave nothing of them."""
        with self.source.transaction(force_rollback=True), self.target.transaction(force_rollback=True):
            said = "does not go into the service's table"
            try:
                self.go(keys)
                said = "does not come back from the service's table"
                self.come_back()
            except psycopg.OperationalError:
                raise
            except psycopg.Error as exc:
                return f"{said}: {first_line(exc)}"
        return None


def travel(source: psycopg.Connection, target: psycopg.Connection, forward: Projection, back: Projection) -> Trip:
    """Return what came of a table's sampled rows. Raises ``TimedOut``, ``RightMissing``."""
    way = _Way(source=source, target=target, forward=forward, back=back)
    with _bounded(forward.mapping.source, source, target):
        there = facts(source, forward.source)
        keys = _sampled(source, forward, there.pages)
        if not keys:
            return Trip(sampled=0)
        way.prepare()
        refusal = way.refusal(keys)
        if refusal is not None:
            return Trip(sampled=len(keys), refusal=refusal)
        way.go(keys)
        way.come_back()
        compared = _Compared(
            source=source,
            key=_key(forward),
            columns=tuple(back.mapping.forward),
            types=there.types,
            table=forward.source.name,
        )
        return compared.trip(len(keys))


@contextmanager
def _bounded(table: str, source: psycopg.Connection, target: psycopg.Connection) -> Iterator[None]:
    try:
        with source.transaction(force_rollback=True), target.transaction(force_rollback=True):
            source.execute("set transaction isolation level repeatable read")  # rows are compared with what was sent
            for each in (source, target):
                each.execute(PATIENCE)
            yield
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as exc:
        raise TimedOut(f"rows of {table} could not be tried in time: {first_line(exc)}") from exc
    except psycopg.errors.InsufficientPrivilege as exc:
        raise RightMissing(f"rows of {table} could not be tried: {first_line(exc)}") from exc


# --- which rows ---


def _sampled(source: psycopg.Connection, projection: Projection, pages: int) -> list[Key]:
    last = [tuple(key) for (key,) in source.execute(_last(projection))]
    spread = [tuple(key) for (key,) in source.execute(_spread(projection, pages))]
    return list(dict.fromkeys([*last, *spread]))


def _last(projection: Projection) -> sql.Composed:
    order = sql.SQL(", ").join(sql.SQL("{} desc").format(sql.Identifier(each)) for each in _key(projection))
    return sql.SQL("select {} from {} where {} order by {} limit {}").format(
        _texts(_key(projection)), identifier(projection.source.name), projection.condition, order, ROWS // 2
    )


def _spread(projection: Projection, pages: int) -> sql.Composed:
    percent = 100 if pages <= _PAGES else round(100 * _PAGES / pages, 4)
    return sql.SQL(
        "select {key} from {table} tablesample system ({percent}) repeatable (1) where {taken}"
        " order by hashtextextended({key}::text, 0) limit {rows}"
    ).format(
        key=_texts(_key(projection)),
        table=identifier(projection.source.name),
        percent=percent,
        taken=projection.condition,
        rows=ROWS // 2,
    )


def _key(projection: Projection) -> tuple[str, ...]:
    return tuple(projection.mapping.key.values())


def _texts(columns: Sequence[str], table: str | None = None) -> sql.Composed:
    names = (sql.Identifier(table, each) if table else sql.Identifier(each) for each in columns)
    return sql.SQL("array[{}]").format(sql.SQL(", ").join(sql.SQL("{}::text").format(each) for each in names))


# --- what came back ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """The rows that came back beside those that went; values are equal where a verification would find them so."""

    source: psycopg.Connection
    key: Sequence[str]
    columns: Sequence[str]
    types: Mapping[str, forms.Type]
    table: str

    def trip(self, sampled: int) -> Trip:
        rows = self.source.execute(self._differing()).fetchall()
        return Trip(
            sampled=sampled,
            losses=tuple(self._losses([each for each in rows if each[1]])),
            strays=tuple(tuple(key) for key, known, *_ in rows if not known),
        )

    def _losses(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[Loss]:
        for number, column in enumerate(self.columns):
            lost = [each for each in rows if each[3][number]]
            if lost:
                key, _, place, _ = lost[0]
                here, back = self.source.execute(self._values(column), [place]).fetchone() or (None, None)
                yield Loss(column=column, rows=len(lost), key=tuple(key), here=here, back=back)

    def _differing(self) -> sql.Composed:
        """Return the SELECT of key, whether there is such a row, where it is, and per column whether it differs.

        Without the values: any of them may be a book.
        """
        differ = [sql.SQL("{} is distinct from {}").format(*self._texts(each)) for each in self.columns]
        unknown = sql.SQL("{} is null").format(sql.Identifier("here", self.key[0]))
        return sql.SQL(
            "select {key}, not ({unknown}), back.ctid::text, array[{differ}]::boolean[] from {rows} where {any}"
            " order by {order}"
        ).format(
            key=_texts(self.key, "back"),
            unknown=unknown,
            differ=sql.SQL(", ").join(differ),
            rows=self._rows(),
            any=sql.SQL(" or ").join([unknown, *differ]),
            order=sql.SQL(", ").join(sql.Identifier("back", each) for each in self.key),
        )

    def _values(self, column: str) -> sql.Composed:
        here, back = self._texts(column)
        return sql.SQL("select {}, {} from {} where back.ctid = %s::tid").format(here, back, self._rows())

    def _rows(self) -> sql.Composed:
        same = (sql.SQL("{} = {}").format(*(sql.Identifier(side, each) for side in _SIDES)) for each in self.key)
        return sql.SQL("{} as back left join {} as here on {}").format(
            _BACK, identifier(self.table), sql.SQL(" and ").join(same)
        )

    def _texts(self, column: str) -> list[sql.Composable]:
        kind = self.types[column]
        return [forms.by_bytes(forms.held(kind, kind.sent_as, sql.Identifier(side, column))) for side in _SIDES]
