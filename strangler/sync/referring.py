"""Foreign keys from outside a capability into its tables: who refers, as the live catalogue has it, and what becomes
of rows that refer to one that goes.

What the mapping declares is carried out by whoever deletes, in the same transaction, with a statement for each foreign
key, whatever the number of rows. It is right only where the foreign key is to the columns by which the mapping tells
rows apart: of another column's value nobody knows whether it goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from strangler.project import OnDelete, Referred

# A foreign key that a part of a partitioned table has is a copy. That one may be not enforced exists since 18.
_INCOMING: Final = """
select k.conname, n.nspname, c.relname, pg_table_is_visible(c.oid), c.oid::bigint, k.confdeltype::text,
       coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true), k.convalidated,
       array(select a.attname::text from unnest(k.conkey) with ordinality as u(n, i)
             join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.n order by u.i),
       array(select a.attname::text from unnest(k.confkey) with ordinality as u(n, i)
             join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.n order by u.i),
       array(select a.attname::text from pg_attribute a
             where a.attrelid = k.conrelid and a.attnum = any(k.conkey) and a.attnotnull order by a.attnum),
       array(select held.name from (values
                 ('usage', has_schema_privilege(n.oid, 'usage')),
                 ('select', (select bool_and(has_column_privilege(c.oid, at, 'select')) from unnest(k.conkey) as at)),
                 ('update', (select bool_and(has_column_privilege(c.oid, at, 'update')) from unnest(k.conkey) as at)),
                 ('delete', has_table_privilege(c.oid, 'delete'))) as held(name, is_held) where not is_held)
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and k.conparentid = 0 and k.confrelid = %(table)s and k.conrelid <> all(%(mapped)s::bigint[])
order by n.nspname, c.relname, k.conname
"""
# What goes along with a table's rows, and what is emptied then, by the rules of foreign keys themselves.
_BEYOND: Final = """
with recursive gone (relation) as (
    select %s::bigint
    union
    select k.conrelid::bigint from gone join pg_constraint k on k.confrelid = gone.relation
    where k.contype = 'f' and k.confdeltype = 'c'
)
select distinct n.nspname, c.relname, pg_table_is_visible(c.oid)
from gone join pg_constraint k on k.confrelid = gone.relation and k.contype = 'f' and k.confdeltype in ('c', 'n', 'd')
join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace order by 1, 2
"""
# Not to_regclass(): of a table in a schema that the role may not use, it is an error.
_DECLARED: Final = """
select n.nspname, c.relname, pg_table_is_visible(c.oid),
       array(select name from unnest(%(columns)s::text[]) as wanted(name)
             where not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = name
                               and a.attnum > 0 and not a.attisdropped))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and c.relname = %(name)s
  and case when %(schema)s::text is null then pg_table_is_visible(c.oid) else n.nspname = %(schema)s end
"""
NEEDS: Final[Mapping[OnDelete, tuple[str, ...]]] = {
    OnDelete.RESTRICT: ("select",),
    OnDelete.SET_NULL: ("select", "update"),
    OnDelete.CASCADE: ("select", "delete"),
    OnDelete.KEEP: (),
}
"""What the role must be allowed on a referring table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table as the catalogue names it; ``visible`` when its name alone finds it."""

    schema: str
    name: str
    visible: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def is_called(self, text: str) -> bool:
        """Return whether ``text``, as a mapping has it, names this table."""
        *schema, name = (part.strip('"') for part in text.split("."))
        return name == self.name and (schema == [self.schema] or (not schema and self.visible))


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A foreign key of another table's ``columns`` to the columns ``to`` of a mapped one, in their order.

    ``rule`` is its own ON DELETE as the catalogue has it, and ``lacking`` are the rights on that table which the role
    does not have. By one that is not ``validated`` rows may refer to nothing. ``claimed`` is the capability that maps
    the table, ``beyond`` are mapped tables that follow it when rows of it go, each with its capability.
    """

    name: str
    table: Relation
    columns: tuple[str, ...]
    to: tuple[str, ...]
    rule: str = "a"
    enforced: bool = True
    validated: bool = True
    not_null: tuple[str, ...] = ()
    lacking: frozenset[str] = frozenset()
    claimed: str | None = None
    beyond: tuple[tuple[str, str], ...] = ()

    def is_meant(self, referred: Referred) -> bool:
        return self.table.is_called(referred.by) and set(referred.columns) == set(self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the mapping declares, with the table that it names, if there is one, and the columns ``lacking`` there."""

    referred: Referred
    table: Relation | None
    lacking: tuple[str, ...] = ()


def incoming(
    connection: psycopg.Connection, table: int, mapped: Sequence[int], claims: Mapping[str, str]
) -> Iterator[Incoming]:
    """Yield the foreign keys into a table, those of ``mapped`` ones left out.

    ``claims`` tells of tables in this database which capability maps them.
    """
    rows = connection.execute(_INCOMING, {"table": table, "mapped": list(mapped)}).fetchall()
    for name, schema, relation, visible, oid, rule, enforced, validated, columns, to, not_null, lacking in rows:
        there = Relation(schema=schema, name=relation, visible=visible)
        yield Incoming(
            name=name,
            table=there,
            columns=tuple(columns),
            to=tuple(to),
            rule=rule,
            enforced=enforced,
            validated=validated,
            not_null=tuple(not_null),
            lacking=frozenset(lacking),
            claimed=_claim(there, claims),
            beyond=tuple(_beyond(connection, oid, claims)),
        )


def _beyond(connection: psycopg.Connection, table: int, claims: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for schema, name, visible in connection.execute(_BEYOND, [table]).fetchall():
        relation = Relation(schema=schema, name=name, visible=visible)
        capability = _claim(relation, claims)
        if capability is not None:
            yield str(relation), capability


def _claim(relation: Relation, claims: Mapping[str, str]) -> str | None:
    return next((capability for text, capability in claims.items() if relation.is_called(text)), None)


def declared(connection: psycopg.Connection, referred: Referred) -> Declared:
    """Return what there is of the table that ``referred`` names."""
    *schema, name = (part.strip('"') for part in referred.by.split("."))
    asked = {"name": name, "schema": schema[0] if schema else None, "columns": list(referred.columns)}
    row = connection.execute(_DECLARED, asked).fetchone()
    if row is None:
        return Declared(referred=referred, table=None)
    table = Relation(schema=row[0], name=row[1], visible=row[2])
    return Declared(referred=referred, table=table, lacking=tuple(row[3]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What becomes of rows that refer by a foreign key to rows which go.

    Statements take ``gone``, a SELECT of the keys of these, in columns called as those of their table.
    """

    key: Incoming
    on_delete: OnDelete

    def refused(self, gone: sql.Composable, key: Sequence[str]) -> sql.Composed:
        """Return the SELECT of the keys, as arrays of text, of rows that may not go; one at most."""
        return sql.SQL(
            "select array[{key}] from ({gone}) as here where exists (select from {table} as other where {same}) limit 1"
        ).format(key=_texts(key), gone=gone, table=self.key.table.identifier, same=self._same())

    def refusal(self, named: str) -> str:
        """Return why a row may not go, for a person."""
        return (
            f'{named} is to go, and {self} refers to it, which is declared "restrict": delete those rows or have them'
            " refer to another; or declare what else shall become of them"
        )

    def written(self, gone: sql.Composable, key: Sequence[str]) -> sql.Composed:
        """Return the UPDATE or DELETE of the rows that refer; it returns the keys to which they did."""
        names = sql.SQL(", ").join(sql.Identifier("here", each) for each in key)
        if self.on_delete is OnDelete.SET_NULL:
            sets = sql.SQL(", ").join(sql.SQL("{} = null").format(sql.Identifier(each)) for each in self.key.columns)
            statement = sql.SQL(
                "update {table} as other set {sets} from ({gone}) as here where {same} returning {names}"
            )
            return statement.format(
                table=self.key.table.identifier, sets=sets, gone=gone, same=self._same(), names=names
            )
        return sql.SQL("delete from {table} as other using ({gone}) as here where {same} returning {names}").format(
            table=self.key.table.identifier, gone=gone, same=self._same(), names=names
        )

    def __str__(self) -> str:
        return f"{self.key.table} ({', '.join(self.key.columns)})"

    def _same(self) -> sql.Composed:
        return sql.SQL(" and ").join(
            sql.SQL("other.{} = here.{}").format(sql.Identifier(own), sql.Identifier(to))
            for own, to in zip(self.key.columns, self.key.to, strict=True)
        )


def _texts(key: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("here.{}::text").format(sql.Identifier(name)) for name in key)


def policies(declarations: Sequence[Referred], keys: Sequence[Incoming]) -> tuple[Policy, ...]:
    """Return what is to be done: what may stop a delete comes before what is written."""
    found = [
        Policy(key=key, on_delete=each.on_delete)
        for each in declarations
        for key in keys
        if key.is_meant(each) and each.on_delete is not OnDelete.KEEP
    ]
    return tuple(sorted(found, key=lambda each: each.on_delete.writes))
