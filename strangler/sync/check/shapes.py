"""The shapes of mapped tables, as a database's catalogue has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import psycopg

from strangler.sync.check.shape import Constraint, Reference, Shape

# Of a trigger's type, what a stream does: insert, delete, update.
_SHAPE: Final = """
select c.relkind::text, c.relpersistence = 'u', row_security_active(c.oid),
       exists (select from pg_index i
               cross join lateral (select array(select a.attname::text
                   from unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1]) as k(n)
                   join pg_attribute a on a.attrelid = c.oid and a.attnum = k.n)) as has(columns)
               where i.indrelid = c.oid and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null
                 and i.indexprs is null and has.columns @> %(key)s::text[] and has.columns <@ %(key)s::text[]),
       array(select a.attname::text from pg_attribute a
             where a.attrelid = c.oid and a.attidentity = 'a' and not a.attisdropped),
       array(select t.tgname::text from pg_trigger t
             where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D' and t.tgtype & 28 <> 0 order by 1)
from pg_class c where c.oid = to_regclass(%(table)s)
"""
_DEFERRABLE: Final = """
select k.conname, regexp_replace(pg_get_constraintdef(k.oid), ' DEFERRABLE( INITIALLY DEFERRED)?$', ''),
       array(select a.attname::text from pg_attribute a where a.attrelid = k.conrelid and a.attnum = any(k.conkey))
from pg_constraint k
where k.conrelid = to_regclass(%(table)s) and k.contype in ('p', 'u', 'x') and k.condeferrable order by k.conname
"""
# A partition's foreign key stands for that of its root.
_REFERENCES: Final = """
select k.confrelid = t.oid, k.conname, n.nspname, c.relname, k.confdeltype::text
from to_regclass(%(table)s) as t(oid)
join pg_constraint k on k.contype = 'f' and k.conparentid = 0 and t.oid in (k.conrelid, k.confrelid)
join pg_class c on c.oid = case when k.confrelid = t.oid then k.conrelid else k.confrelid end
join pg_namespace n on n.oid = c.relnamespace
where c.oid not in (select to_regclass(name) from unnest(%(mapped)s::text[]) as mapped(name)
                    where to_regclass(name) is not null)
order by n.nspname, c.relname, k.conname
"""


def shape_of(connection: psycopg.Connection, table: str, key: Sequence[str], mapped: Sequence[str]) -> Shape:
    """Return the shape of a table that there is; names are quoted as SQL wants them."""
    asked = {"table": table, "key": list(key), "mapped": list(mapped)}
    kind, unlogged, hidden, matched, always, triggers = connection.execute(_SHAPE, asked).fetchone() or ()
    deferrable = connection.execute(_DEFERRABLE, asked).fetchall()
    references = connection.execute(_REFERENCES, asked).fetchall()
    return Shape(
        kind=kind,
        unlogged=unlogged,
        hidden=hidden,
        matched=matched,
        always=frozenset(always),
        triggers=tuple(triggers),
        deferrable=tuple(
            Constraint(name=name, columns=frozenset(columns), firm=firm) for name, firm, columns in deferrable
        ),
        incoming=tuple(_reference(*each) for comes, *each in references if comes),
        outgoing=tuple(_reference(*each) for comes, *each in references if not comes),
    )


def _reference(name: str, schema: str, table: str, on_delete: str) -> Reference:
    return Reference(name=name, table=(schema, table), on_delete=on_delete)
