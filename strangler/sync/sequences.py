"""Numbers that count on past the other side's: sequences do not travel in the WAL, and no number is given twice.

After a copy it is enough to be past the rows. When the owner moves, numbers that the owner has given count, too,
whether or not there is a row: what was given and not committed stays unused, as it would have been there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from strangler.sync.catalogue import Table, identifier
from strangler.sync.errors import RightMissing, SyncError
from strangler.sync.mapping import Projection

MARGIN: Final = 1_000
"""So many numbers are passed over, for what somebody remembers of the owner's numbers who has not come to commit."""
# What a column's default takes its numbers from, whosever it is.
_OF_TABLE: Final = """
select a.attname, s.seqrelid::bigint, format('%%I.%%I', n.nspname, c.relname), pg_get_userbyid(c.relowner)::text,
       s.seqincrement, s.seqmin, s.seqmax
from pg_attribute a
join lateral (
    select objid as id from pg_depend where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass
        and refobjid = a.attrelid and refobjsubid = a.attnum and deptype in ('a', 'i')
    union
    select p.refobjid from pg_attrdef d join pg_depend p on p.classid = 'pg_attrdef'::regclass and p.objid = d.oid
        and p.refclassid = 'pg_class'::regclass where d.adrelid = a.attrelid and d.adnum = a.attnum
) as used on true
join pg_sequence s on s.seqrelid = used.id
join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
where a.attrelid = %(table)s and a.attnum > 0 and not a.attisdropped order by a.attnum, 2
"""
# A descending one counts from its highest number; all else is the same with the signs turned.
_LAST: Final = "select last_value, is_called from {}"
_FURTHEST: Final = "select {}({}) from {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A sequence that feeds ``column``; ``name`` is quoted for SQL. ``owner`` is the role that may read and set it."""

    column: str
    oid: int
    name: str
    owner: str
    increment: int
    least: int
    most: int

    @property
    def end(self) -> int:
        return self.most if self.increment > 0 else self.least

    def further(self, one: int | None, other: int | None) -> int | None:
        """Return which of two numbers it gives later."""
        given = [each for each in (one, other) if each is not None]
        return None if not given else (max(given) if self.increment > 0 else min(given))

    def beyond(self, number: int, margin: int) -> int:
        """Return the number from which on none is given that the owner gave, as far as there is room for ``margin``."""
        wanted = number + margin * self.increment
        return min(wanted, max(number, self.most)) if self.increment > 0 else max(wanted, min(number, self.least))

    def holds(self, number: int) -> bool:
        return self.least <= number <= self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A sequence of ``table`` that counts on after ``number``."""

    table: str
    column: str
    sequence: str
    number: int


def carry_over(
    source: psycopg.Connection, target: psycopg.Connection, projections: Sequence[Projection], margin: int = MARGIN
) -> list[Set]:
    """Have the target's sequences count on past the source's, and past all rows; return those that were set.

    In the target's transaction that is open, though what is set stays when that is rolled back: PostgreSQL's sequences
    know no transactions. One that is past them already is left. Wants membership of the tables' owner roles. Raises
    ``RightMissing``, and ``SyncError`` where a sequence has no number left.
    """
    return [each for projection in projections for each in _carried(source, target, projection, margin)]


def _carried(
    source: psycopg.Connection, target: psycopg.Connection, projection: Projection, margin: int
) -> Iterator[Set]:
    theirs = {each.column: each for each in counters(source, projection.source)}
    for counter in counters(target, projection.target):
        given = _given(source, target, projection, counter, theirs)
        with acting(target, counter.owner):
            last = _last(target, counter)
        if given is None or (last is not None and counter.further(last, given) == last and last != given):
            continue
        number = counter.beyond(given, margin)
        if not counter.holds(number) or number == last:
            raise SyncError(
                f"{projection.target.name}.{counter.column}: {counter.name} ends at {counter.end:,}, and the owner has"
                f" given {given:,}; alter the sequence, and the column's type"
            )
        with acting(target, counter.owner):
            target.execute("select setval(%s::oid::regclass, %s)", [counter.oid, number])
        yield Set(table=projection.target.name, column=counter.column, sequence=counter.name, number=number)


def _given(
    source: psycopg.Connection,
    target: psycopg.Connection,
    projection: Projection,
    counter: Counter,
    theirs: dict[str, Counter],
) -> int | None:
    """Return the last number that is taken, by a row or by the owner's own sequence."""
    rows = _furthest(target, projection.target, counter)
    fed = theirs.get(_plain(projection, counter.column))
    if fed is None:
        return rows
    with acting(source, fed.owner):
        return counter.further(rows, _last(source, fed))


def _plain(projection: Projection, column: str) -> str:
    """Return which of the source's columns comes as it is, an empty string where an expression makes the column."""
    mapping = projection.mapping
    name = mapping.key.get(column) or mapping.forward.get(column, "")
    return next((each for each in projection.source.columns if name in (each, f'"{each}"')), "")


def counters(connection: psycopg.Connection, table: Table) -> list[Counter]:
    """Return the sequences that feed columns of a table."""
    return [
        Counter(column=column, oid=oid, name=name, owner=owner, increment=increment, least=least, most=most)
        for column, oid, name, owner, increment, least, most in connection.execute(_OF_TABLE, {"table": table.oid})
    ]


def _furthest(connection: psycopg.Connection, table: Table, counter: Counter) -> int | None:
    query = sql.SQL(_FURTHEST).format(
        sql.SQL("max" if counter.increment > 0 else "min"), sql.Identifier(counter.column), identifier(table.name)
    )
    row = connection.execute(query).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def _last(connection: psycopg.Connection, counter: Counter) -> int | None:
    """Return the last number that was given, None before the first."""
    row = connection.execute(sql.SQL(_LAST).format(sql.SQL(counter.name))).fetchone()
    return row[0] if row is not None and row[1] else None


@contextmanager
def acting(connection: psycopg.Connection, role: str) -> Iterator[None]:
    """Act as ``role``. Raises ``RightMissing`` with the statement that lets this role do so."""
    name = sql.Identifier(role).as_string(connection)
    try:
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    except psycopg.errors.InsufficientPrivilege as exc:
        mine = sql.Identifier(connection.info.user).as_string(connection)
        raise RightMissing(f"the sync's role may not act as {role}; run there: grant {name} to {mine}") from exc
    try:
        yield
    finally:
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
            connection.execute("reset role")
