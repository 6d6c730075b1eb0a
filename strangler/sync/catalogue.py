"""What a live database says of a table: its columns, its keys, whom it refers to, and what this role may do with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

# A type without its length is format_type(..., -1): with NULL, char(5) would be "character", and that is character(1).
_COLUMNS = """
with recursive base (attnum, type) as (
    select attnum, atttypid from pg_attribute where attrelid = %(table)s and attnum > 0 and not attisdropped
    union all
    select b.attnum, t.typbasetype from base b join pg_type t on t.oid = b.type where t.typtype = 'd'
)
select a.attname, format_type(a.atttypid, -1), a.atttypid::bigint,
       case t.typtype when 'e' then 'text' else format_type(t.oid, -1) end,
       a.attnotnull, a.atthasdef or a.attidentity <> '', a.attgenerated <> '', a.attidentity = 'a',
       pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)
from pg_attribute a join base b using (attnum) join pg_type t on t.oid = b.type and t.typtype <> 'd'
where a.attrelid = %(table)s order by a.attnum
"""
# A partial or expression index proves nothing about a key.
_UNIQUE = """
select array(select a.attname::text
             from unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1]) as k(n)
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n), i.indimmediate
from pg_index i where i.indrelid = %s and i.indisunique and i.indpred is null and i.indexprs is null and i.indisvalid
"""
_KEPT_APART_OTHERWISE = """
select exists (select from pg_index i where i.indrelid = %s
               and (i.indisexclusion or i.indisunique and (i.indpred is not null or i.indexprs is not null)))
"""
_REFERRED = "select exists (select from pg_constraint where confrelid = %s and contype = 'f')"
_PARENTS = "select distinct confrelid::bigint from pg_constraint where conrelid = %s and contype = 'f'"
# Single columns do for reading and inserting; which ones, the expressions and the copy itself tell.
_RIGHTS = """
select has_any_column_privilege(%(table)s::oid, 'select'), has_any_column_privilege(%(table)s::oid, 'insert'),
       has_table_privilege(%(table)s::oid, 'truncate')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as ``COPY`` and ``INSERT`` see it. The type is without length: COPY checks the length itself.

    ``sent_as`` is the type whose binary form the column takes from a database that does not know its own: a domain's
    base, text for an enum. ``sequence`` feeds its default. What is ``always`` numbered takes a value by INSERT alone.
    """

    type: str
    type_oid: int
    sent_as: str
    not_null: bool
    has_default: bool
    generated: bool
    always: bool
    sequence: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a live database, called ``name`` in the mapping; ``rights`` are those of the role that looked.

    Of what is ``unique``, that is ``deferrable`` which may be broken until a transaction ends. Rows are
    ``kept_apart_otherwise`` by a unique index on some of them or on an expression, or by an exclusion constraint.
    ``referred`` tells of foreign keys into it, whosever.
    """

    name: str
    qualified: str
    oid: int
    columns: Mapping[str, Column]
    unique: tuple[frozenset[str], ...]
    deferrable: tuple[frozenset[str], ...]
    parents: frozenset[int]
    rights: frozenset[str]
    referred: bool = False
    kept_apart_otherwise: bool = False

    def is_key(self, columns: Iterable[str]) -> bool:
        """Return whether ``columns`` tell any two rows apart, and every row has them."""
        names = set(columns)
        return all(self.columns[name].not_null for name in names) and any(key <= names for key in self.unique)

    @property
    def refers_to_itself(self) -> bool:
        return self.oid in self.parents


def identifier(name: str) -> sql.Identifier:
    """Return a table's name, qualified or not, quoted for SQL."""
    return sql.Identifier(*(part.strip('"') for part in name.split(".")))


def look_up(connection: psycopg.Connection, name: str) -> Table | None:
    """Return the table called ``name``, None when the role sees none of that name."""
    found = _found(connection, name)
    if found is None:
        return None
    oid, qualified = found
    columns = {
        each[0]: Column(
            type=each[1],
            type_oid=each[2],
            sent_as=each[3],
            not_null=each[4],
            has_default=each[5],
            generated=each[6],
            always=each[7],
            sequence=each[8],
        )
        for each in connection.execute(_COLUMNS, {"table": oid})
    }
    unique = [(frozenset(names), immediate) for names, immediate in connection.execute(_UNIQUE, [oid])]
    return Table(
        name=name,
        qualified=qualified,
        oid=oid,
        columns=columns,
        unique=tuple(names for names, _ in unique),
        deferrable=tuple(names for names, immediate in unique if not immediate),
        parents=frozenset(each[0] for each in connection.execute(_PARENTS, [oid])),
        rights=_rights(connection, oid),
        referred=any(each[0] for each in connection.execute(_REFERRED, [oid])),
        kept_apart_otherwise=any(each[0] for each in connection.execute(_KEPT_APART_OTHERWISE, [oid])),
    )


def _found(connection: psycopg.Connection, name: str) -> tuple[int, str] | None:
    query = (
        "select c.oid::bigint, n.nspname || '.' || c.relname from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass(%s)"
    )
    try:
        return connection.execute(query, [identifier(name).as_string(connection)]).fetchone()
    except psycopg.errors.InsufficientPrivilege:  # of its schema
        return None


def _rights(connection: psycopg.Connection, oid: int) -> frozenset[str]:
    row = connection.execute(_RIGHTS, {"table": oid}).fetchone() or ()
    return frozenset(right for right, held in zip(("select", "insert", "truncate"), row, strict=True) if held)
