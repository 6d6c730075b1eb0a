"""The shapes of mapped tables, as a database's catalogue has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import psycopg

from strangler.sync.check.shape import Constraint, Reference, Shape
from strangler.sync.referring import incoming

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
             where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D' and t.tgtype & 28 <> 0
             and t.tgfoid not in (select oid from pg_proc where pronamespace = to_regnamespace('strangler_sync'))
             order by 1)
from pg_class c where c.oid = to_regclass(%(table)s)
"""
_DEFERRABLE: Final = """
select k.conname, regexp_replace(pg_get_constraintdef(k.oid), ' DEFERRABLE( INITIALLY DEFERRED)?$', ''),
       array(select a.attname::text from pg_attribute a where a.attrelid = k.conrelid and a.attnum = any(k.conkey))
from pg_constraint k
where k.conrelid = to_regclass(%(table)s) and k.contype in ('p', 'u', 'x') and k.condeferrable order by k.conname
"""
# A partition's foreign key stands for that of its root.
_OUTGOING: Final = """
select k.conname, n.nspname, c.relname
from pg_constraint k join pg_class c on c.oid = k.confrelid join pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and k.conparentid = 0 and k.conrelid = %(table)s and k.confrelid <> all(%(mapped)s::bigint[])
order by n.nspname, c.relname, k.conname
"""
_OIDS: Final = """
select coalesce(to_regclass(name)::oid::bigint, 0) from unnest(%s::text[]) with ordinality as t(name, n) order by n
"""


def shape_of(
    connection: psycopg.Connection, table: str, key: Sequence[str], mapped: Sequence[str], claims: Mapping[str, str]
) -> Shape:
    """Return the shape of a table that there is; names are quoted as SQL wants them, but for those in ``claims``."""
    asked = {"table": table, "key": list(key)}
    kind, unlogged, hidden, matched, always, triggers = connection.execute(_SHAPE, asked).fetchone() or ()
    deferrable = connection.execute(_DEFERRABLE, asked).fetchall()
    oid, *others = (each for (each,) in connection.execute(_OIDS, [[table, *mapped]]))
    outgoing = connection.execute(_OUTGOING, {"table": oid, "mapped": [oid, *others]}).fetchall()
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
        incoming=tuple(incoming(connection, oid, [oid, *others], claims)),
        outgoing=tuple(Reference(name=name, table=(schema, other)) for name, schema, other in outgoing),
    )
