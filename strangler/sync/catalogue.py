"""What a live database says of a table: its columns, its keys, and whom it refers to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

_COLUMNS = """
select a.attname as name, format_type(a.atttypid, null) as type, a.attnotnull as not_null,
       a.atthasdef or a.attidentity <> '' as has_default, a.attgenerated <> '' as generated
from pg_attribute a where a.attrelid = %s and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
# A partial or expression index proves nothing about a key.
_UNIQUE = """
select array(select a.attname::text from unnest(i.indkey::smallint[]) as k(n)
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n)
from pg_index i where i.indrelid = %s and i.indisunique and i.indpred is null and i.indexprs is null and i.indisvalid
"""
_PARENTS = """
select distinct c.confrelid::regclass::text from pg_constraint c
where c.conrelid = %s and c.contype = 'f' and c.confrelid <> c.conrelid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as ``COPY`` and ``INSERT`` see it. The type is without length: COPY checks the length itself."""

    type: str
    not_null: bool
    has_default: bool
    generated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a live database."""

    name: str
    columns: Mapping[str, Column]
    unique: tuple[frozenset[str], ...]
    parents: tuple[str, ...]

    def is_key(self, columns: Iterable[str]) -> bool:
        """Return whether ``columns`` tell any two rows apart."""
        names = set(columns)
        return any(key <= names for key in self.unique)


def identifier(name: str) -> sql.Identifier:
    """Return a table's name, qualified or not, quoted for SQL."""
    return sql.Identifier(*(part.strip('"') for part in name.split(".")))


def look_up(connection: psycopg.Connection, name: str) -> Table | None:
    """Return the table called ``name``, None when the role sees none of that name."""
    row = connection.execute("select to_regclass(%s)::oid", [identifier(name).as_string(connection)]).fetchone()
    if row is None or row[0] is None:
        return None
    columns = {
        each[0]: Column(type=each[1], not_null=each[2], has_default=each[3], generated=each[4])
        for each in connection.execute(_COLUMNS, [row[0]])
    }
    unique = tuple(frozenset(each[0]) for each in connection.execute(_UNIQUE, [row[0]]))
    parents = tuple(each[0] for each in connection.execute(_PARENTS, [row[0]]))
    return Table(name=name, columns=columns, unique=unique, parents=parents)
