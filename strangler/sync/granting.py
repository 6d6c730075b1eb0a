"""What the roles that write a capability's tables may see and do of the sync's own objects, and no more.

Whoever may write a table is told by the fence whose it is, so that is no secret from them. Whoever may read it, too,
may take up what changed in it, and leave something to be done later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import psycopg
from psycopg import sql

from strangler.sync.rights import rights

_LOCK: Final = 0x6772_616E_7473
"""Two streams that begin at once would alter the same rights, which PostgreSQL refuses."""
_TOLD: Final = ("capability", "owner", "epoch", "raised")
# Those to whom a right was granted, or all: 0. A table without an ACL is its owner's alone.
_WRITERS: Final = """
select distinct who, grantee = 0
from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) as listed,
     lateral (select case grantee when 0 then 'public' else pg_get_userbyid(grantee) end as who) as named
where c.oid = any(%(tables)s) and privilege_type in ('INSERT', 'UPDATE', 'DELETE')
"""
_LACKING: Final = f"""{_WRITERS}
  and not (has_schema_privilege(who, 'strangler_sync', 'usage')
           and (select bool_and(has_column_privilege(who, 'strangler_sync.claim', name, 'select'))
                from unnest(%(columns)s::text[]) as name))
order by 1
"""  # noqa: S608  # of constants
_NOT_REACTING: Final = f"""{_WRITERS}
  and has_table_privilege(who, c.oid, 'select')
  and not (has_schema_privilege(who, 'strangler_sync', 'usage')
           and has_table_privilege(who, 'strangler_sync.reaction', 'delete')
           and has_table_privilege(who, 'strangler_sync.reaction_trouble', 'delete'))
order by 1
"""  # of constants
_SEEING: Final = (
    "grant usage on schema strangler_sync to {grantee}; grant select ({columns}) on strangler_sync.claim to {grantee}"
)
_REACTING: Final = (
    "grant usage on schema strangler_sync to {grantee};"
    ' grant select, delete, insert (reaction, capability, "table", op, key, old, new)'
    " on strangler_sync.reaction to {grantee};"
    " grant select, insert, update, delete on strangler_sync.reaction_trouble to {grantee}"
)

_CALLING: Final = (
    "grant usage on schema strangler_sync to {grantee}; grant execute on function strangler_sync.react() to {grantee}"
)


def let_see_owner(connection: psycopg.Connection, tables: Sequence[int]) -> None:
    """Let every role that may write one of ``tables`` read who owns them; rights that it has already stay as they are.

    Raises ``RightMissing``.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, _TOLD))
    _grant(
        connection,
        lambda: connection.execute(_LACKING, {"tables": list(tables), "columns": list(_TOLD)}).fetchall(),
        lambda grantee: sql.SQL(_SEEING).format(grantee=grantee, columns=columns),
    )


def let_react(connection: psycopg.Connection, tables: Sequence[int]) -> None:
    """Let every role that may read and write one of ``tables`` take up what was noted for reactions, and add to it.

    Raises ``RightMissing``.
    """
    _grant(
        connection,
        lambda: connection.execute(_NOT_REACTING, {"tables": list(tables)}).fetchall(),
        lambda grantee: sql.SQL(_REACTING).format(grantee=grantee),
    )


def let_call(connection: psycopg.Connection, owner: str) -> None:
    """Let who owns a table make the trigger of a reaction. Raises ``RightMissing``."""
    query = (
        "select %(owner)s::name, false where not (has_schema_privilege(%(owner)s::name, 'strangler_sync', 'usage')"
        " and has_function_privilege(%(owner)s::name, 'strangler_sync.react()', 'execute'))"
    )
    _grant(
        connection,
        lambda: connection.execute(query, {"owner": owner}).fetchall(),
        lambda grantee: sql.SQL(_CALLING).format(grantee=grantee),
    )


def _grant(
    connection: psycopg.Connection,
    lacking: Callable[[], Sequence[tuple[str, bool]]],
    granting: Callable[[sql.Composable], sql.Composed],
) -> None:
    if not lacking():
        return
    with rights(connection), connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        for name, everybody in lacking():
            connection.execute(granting(sql.SQL("public") if everybody else sql.Identifier(name)))
