"""Numbers that count on past the other side's: sequences do not travel in the WAL, and no number is given twice.

After a copy it is enough to be past the rows. When the owner moves, numbers that the owner has given count, too,
whether or not there is a row: what was given and not committed stays unused, as it would have been there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
FAR: Final = 100_000
"""So many where the owner cannot be asked: what it has given, and told to people, is not to be given to others."""
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
    oid: int
    sequence: str
    number: int


class Carrying:
    """The sequences of a target's tables, each with what feeds it in the source: looked up before anybody waits."""

    def __init__(
        self, source: psycopg.Connection, target: psycopg.Connection, projections: Sequence[Projection]
    ) -> None:
        self._fed: list[_Fed] = []
        for projection in projections:
            theirs = {each.column: each for each in counters(source, projection.source)}
            self._fed += [
                _Fed(projection.target.name, each, theirs.get(_plain(projection, each.column)))
                for each in counters(target, projection.target)
            ]

    def carry_over(self, source: psycopg.Connection, target: psycopg.Connection, margin: int = MARGIN) -> list[Set]:
        """Have the target's sequences count on past the source's, and past all rows; return those that were set.

        In the target's transaction that is open, though what is set stays when that is rolled back: PostgreSQL's
        sequences know no transactions. One that is past them already is left. Wants membership of the tables' owner
        roles. Raises ``RightMissing``, and ``SyncError`` where a sequence has no number left.
        """
        given = _lasts(source, [each.source for each in self._fed if each.source is not None])
        last = _lasts(target, [each.counter for each in self._fed])
        rows = _furthest(target, self._fed)
        wanted: dict[int, Set] = {}
        for each in self._fed:
            found = each.wanted(rows[each.counter.oid], given, last[each.counter.oid], margin)
            # One sequence may feed several tables.
            if found is not None and (
                found.oid not in wanted or each.counter.further(wanted[found.oid].number, found.number) == found.number
            ):
                wanted[found.oid] = found
        _set(target, list(wanted.values()), {each.counter.oid: each.counter.owner for each in self._fed})
        return list(wanted.values())


def count_far(target: psycopg.Connection, tables: Mapping[str, int], margin: int = FAR) -> list[Set]:
    """Have the sequences of ``tables``, by name with their oid, count on far past all rows and all that they gave.

    Where nobody can be asked what else was given; one that has no room for ``margin`` goes to its end. As for
    transactions and rights, see ``Carrying.carry_over``.
    """
    fed = [_Fed(name, each, None) for name, oid in tables.items() for each in _counters(target, oid)]
    last, rows = _lasts(target, [each.counter for each in fed]), _furthest(target, fed)
    wanted = {each.counter.oid: each.far(rows[each.counter.oid], last[each.counter.oid], margin) for each in fed}
    _set(target, list(wanted.values()), {each.counter.oid: each.counter.owner for each in fed})
    return list(wanted.values())


@dataclass(frozen=True, slots=True)
class _Fed:
    """A sequence of ``table``, and the one of the source whose numbers come into its column as they are."""

    table: str
    counter: Counter
    source: Counter | None

    def wanted(self, rows: int | None, given: dict[int, int | None], last: int | None, margin: int) -> Set | None:
        """Return after which number it is to count on, None where it is past all that were given."""
        counter = self.counter
        taken = counter.further(rows, None if self.source is None else given[self.source.oid])
        if taken is None or (last is not None and counter.further(last, taken) == last != taken):
            return None
        number = counter.beyond(taken, margin)
        if not counter.holds(number) or number == last:
            raise SyncError(
                f"{self.table}.{counter.column}: {counter.name} ends at {counter.end:,}, and the owner has given"
                f" {taken:,}; alter the sequence, and the column's type"
            )
        return Set(table=self.table, column=counter.column, oid=counter.oid, sequence=counter.name, number=number)

    def far(self, rows: int | None, last: int | None, margin: int) -> Set:
        counter = self.counter
        given = counter.further(rows, last)
        first = counter.least if counter.increment > 0 else counter.most
        number = counter.beyond(first if given is None else given, margin)
        number = min(max(number, counter.least), counter.most)  # a row may have a number that none could give
        return Set(table=self.table, column=counter.column, oid=counter.oid, sequence=counter.name, number=number)


def _lasts(connection: psycopg.Connection, wanted: Sequence[Counter]) -> dict[int, int | None]:
    """Return the last number that each has given, None before the first: one question for each of their owners."""
    found: dict[int, int | None] = {}
    for owner in {each.owner for each in wanted}:
        asked = [
            sql.SQL("select {}::bigint, case when is_called then last_value end from {}").format(
                sql.Literal(each.oid), sql.SQL(each.name)
            )
            for each in wanted
            if each.owner == owner
        ]
        with acting(connection, owner):
            found.update(connection.execute(sql.SQL(" union all ").join(asked)).fetchall())
    return found


def _furthest(target: psycopg.Connection, fed: Sequence[_Fed]) -> dict[int, int | None]:
    """Return the furthest number that a row has, by the sequence that feeds its column."""
    asked = [
        sql.SQL("select {}::bigint, {}({})::bigint from {}").format(
            sql.Literal(each.counter.oid),
            sql.SQL("max" if each.counter.increment > 0 else "min"),
            sql.Identifier(each.counter.column),
            identifier(each.table),
        )
        for each in fed
    ]
    found: dict[int, int | None] = {}
    counter = {each.counter.oid: each.counter for each in fed}
    for oid, furthest in target.execute(sql.SQL(" union all ").join(asked)).fetchall() if asked else ():
        found[oid] = counter[oid].further(found.get(oid), furthest)
    return found


def _set(target: psycopg.Connection, wanted: Sequence[Set], owners: dict[int, str]) -> None:
    for owner in {owners[each.oid] for each in wanted}:
        calls = [
            sql.SQL("setval({}::oid::regclass, {})").format(sql.Literal(each.oid), sql.Literal(each.number))
            for each in wanted
            if owners[each.oid] == owner
        ]
        with acting(target, owner):
            target.execute(sql.SQL("select {}").format(sql.SQL(", ").join(calls)))


def _plain(projection: Projection, column: str) -> str:
    """Return which of the source's columns comes as it is, an empty string where an expression makes the column."""
    mapping = projection.mapping
    name = mapping.key.get(column) or mapping.forward.get(column, "")
    return next((each for each in projection.source.columns if name in (each, f'"{each}"')), "")


def counters(connection: psycopg.Connection, table: Table) -> list[Counter]:
    """Return the sequences that feed columns of a table."""
    return _counters(connection, table.oid)


def _counters(connection: psycopg.Connection, table: int) -> list[Counter]:
    return [
        Counter(column=column, oid=oid, name=name, owner=owner, increment=increment, least=least, most=most)
        for column, oid, name, owner, increment, least, most in connection.execute(_OF_TABLE, {"table": table})
    ]


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
