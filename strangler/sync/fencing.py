"""The triggers of a capability's fence in one database: made disabled, looked at, and taken away again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import psycopg
from psycopg import sql

from strangler.capability import Stack
from strangler.sync.blocking import Kind, blockers, named
from strangler.sync.catalogue import identifier
from strangler.sync.direction import Direction
from strangler.sync.errors import RightMissing, TimedOut
from strangler.sync.fenced import EVENTS, ROWS, Catalogue, Table, fenced, missing
from strangler.sync.granting import let_see_owner
from strangler.sync.rights import rights

_LOG: Final = logging.getLogger("strangler.sync")
STATE: Final = "SF001"
"""The SQLSTATE of a write that a fence refuses. PostgreSQL's own classes begin with 0 to 5, 7, F, H, P and X."""
OBSERVED: Final = "strangler_observed"
"""The prefix of messages that tell of a statement that was observed."""
STATEMENT_MOST: Final = 2_000
"""So many characters of a statement are told: enough for what an ORM writes, and a bound for the WAL."""
SCHEMA: Final = "strangler_sync"
# To make a trigger keeps writers waiting behind it, and to drop one readers, too: so neither waits for long, but comes
# again. An autovacuum gives way to who waits for a second (deadlock_timeout), and never before.
_BRIEF_MS: Final = 100
_AUTOVACUUM_MS: Final = 2_000
_PATIENCE_S: Final = 10.0
_PAUSE_S: Final = 0.2
_BRING_UP_S: Final = 2.0  # a stream waits for it
_FENCE: Final = files("strangler.sync") / "fence.sql"
_OBSERVE: Final = files("strangler.sync") / "observe.sql"
_READ: Final = """
with recursive named (name, oid) as (
  select name, to_regclass(quoted)::oid from unnest(%(names)s::text[], %(quoted)s::text[]) as listed (name, quoted)
), tree (oid, root) as (
  select oid, oid from named where oid is not null
  union
  select i.inhrelid, t.root from tree t join pg_inherits i on i.inhparent = t.oid
)
select (select jsonb_object_agg(name, oid::bigint) from named),
  (select jsonb_object_agg(c.oid, jsonb_build_object(
     'name', format('%%I.%%I', n.nspname, c.relname), 'owner', pg_get_userbyid(c.relowner),
     'partitioned', c.relkind = 'p', 'partition', c.relispartition, 'storage', c.relfilenode::bigint,
     'parent', (select min(inhparent::bigint) from pg_inherits where inhrelid = c.oid),
     'root', (select min(root::bigint) from tree where tree.oid = c.oid),
     'columns', coalesce((select jsonb_object_agg(attname, format_type(atttypid, atttypmod)) from pg_attribute
                          where attrelid = c.oid and attnum > 0 and not attisdropped), '{}'),
     'triggers', coalesce((select jsonb_object_agg(tgname, jsonb_build_object(
                             'oid', t.oid::bigint, 'xid', t.xmin::text::bigint, 'type', tgtype, 'fires', tgenabled,
                             'conditional', tgqual is not null or tgattr <> ''))
                           from pg_trigger t where tgrelid = c.oid and tgfoid = to_regproc(%(function)s)), '{}')))
   from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where (c.oid in (select oid from tree) or c.oid = any(%(also)s::oid[])) and c.relkind in ('r', 'p')),
  (select jsonb_build_object('oid', p.oid::bigint, 'xid', p.xmin::text::bigint, 'owner', pg_get_userbyid(proowner),
     'source', prosrc, 'plain', not prosecdef and proconfig is null and lanname = 'plpgsql')
   from pg_proc p join pg_language l on l.oid = prolang where p.oid = to_regproc(%(function)s))
"""
_BEARERS: Final = """
select c.oid::bigint, format('%%I.%%I', n.nspname, c.relname), pg_get_userbyid(c.relowner),
       array_agg(t.tgname::text order by t.tgname)
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where t.tgfoid = to_regproc(%s) and t.tgparentid = 0 group by c.oid, n.nspname, c.relname order by c.oid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The fence of a capability in the database of one stack: around its tables there, by the mapping's names."""

    capability: str
    stack: Stack
    tables: tuple[str, ...]

    @property
    def function(self) -> sql.Identifier:
        return _function(self.capability)


def _function(capability: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, f"fence_{capability.replace('-', '_')}")


def fence_of(direction: Direction) -> Fence:
    """Return the fence in the target of a direction; the one in its source is that of the way back.

    A table that is copied for reading only belongs to somebody else, and has none.
    """
    names = dict.fromkeys(each.target for each in direction.tables if not each.reference)
    return Fence(capability=direction.capability, stack=direction.stack, tables=tuple(names))


def exists(connection: psycopg.Connection) -> bool:
    """Return whether claims can be kept there; a release before did not do so."""
    row = connection.execute("select to_regclass('strangler_sync.claim') is not null").fetchone()
    return bool(row and row[0])


def any_left(connection: psycopg.Connection) -> bool:
    """Return whether any capability has a fence in this database."""
    row = (
        connection.execute("select exists (select from strangler_sync.claim)").fetchone()
        if exists(connection)
        else None
    )
    return bool(row and row[0])


# --- made, and taken away ---


def install(connection: psycopg.Connection, fence: Fence, patience_s: float | None = None) -> None:
    """Make what a fence needs, disabled; what is there already stays. Writers go on, but for moments.

    Where the fence is raised or observes, what is made for new parts does so, too. Raises ``RightMissing`` with the
    statement that mends it, ``TimedOut`` naming whom a table waited for.
    """
    with rights(connection):
        connection.execute(
            "insert into strangler_sync.claim (capability) values (%s) on conflict do nothing", [fence.capability]
        )
        seen = read(connection, fence)
        if seen.function is None:
            body = refusing(connection, fence, 0, Stack.MONOLITH)
            connection.execute(replacing(fence, body))
    let_see_owner(connection, list(fenced(seen)))
    for root in sorted({seen.tables[oid].root or oid for oid in missing(seen)}):
        _make_under(connection, fence, seen, root, _PATIENCE_S if patience_s is None else patience_s)


def _make_under(connection: psycopg.Connection, fence: Fence, seen: Catalogue, root: int, patience_s: float) -> None:
    tables = [oid for oid, each in fenced(seen).items() if each.root == root]

    def make() -> None:
        query = "select raised or observing from strangler_sync.claim where capability = %s for share"
        row = connection.execute(query, [fence.capability]).fetchone()
        make_missing(connection, fence, read(connection, fence), root=root, fires=bool(row and row[0]))

    patiently(connection, tables, seen.tables[root].name, make, patience_s)


def bring_up(connection: psycopg.Connection, fence: Fence) -> None:
    """Make the fence of a stream that a release before has begun; where it cannot be, the stream goes on without."""
    try:
        install(connection, fence, _BRING_UP_S)
    except (RightMissing, TimedOut) as exc:
        _LOG.warning("%s has no whole fence in the database of the %s yet: %s", fence.capability, fence.stack, exc)


def make_missing(
    connection: psycopg.Connection, fence: Fence, seen: Catalogue, *, root: int | None = None, fires: bool = False
) -> None:
    """Make triggers that are not there, within a transaction: of all tables, or of one and its parts."""
    lacking = {oid: names for oid, names in missing(seen).items() if root is None or seen.tables[oid].root == root}
    owners = {seen.tables[oid].owner for oid in lacking}
    may_act(connection, {seen.tables[oid].owner: seen.tables[oid].name for oid in lacking})
    for owner in owners:
        _let_call(connection, fence, owner)
    for oid, names in lacking.items():
        as_owner(connection, seen.tables[oid], [_making(fence, seen.tables[oid], name, fires) for name in names])


def _let_call(connection: psycopg.Connection, fence: Fence, owner: str) -> None:
    """Let who makes a trigger call its function, where it may not: a grant alters the function, which is watched."""
    row = connection.execute(
        "select has_schema_privilege(%(owner)s, %(schema)s, 'usage'),"
        " has_function_privilege(%(owner)s, to_regproc(%(function)s), 'execute')",
        {"owner": owner, "schema": SCHEMA, "function": fence.function.as_string(connection)},
    ).fetchone()
    may_look, may_call = row or (False, False)
    grantee = sql.Identifier(owner)
    if not may_look:
        connection.execute(sql.SQL("grant usage on schema {} to {}").format(sql.Identifier(SCHEMA), grantee))
    if not may_call:
        connection.execute(sql.SQL("grant execute on function {}() to {}").format(fence.function, grantee))


def _making(fence: Fence, table: Table, name: str, fires: bool) -> sql.Composed:
    return sql.SQL(
        "create trigger {name} before {events} on {table} for each {level} execute function {function}();"
        " alter table {table} {firing} trigger {name}"
    ).format(
        name=sql.Identifier(name),
        events=sql.SQL(EVENTS[name]),
        table=sql.SQL(table.name),
        level=sql.SQL("row" if name == ROWS else "statement"),
        function=fence.function,
        firing=sql.SQL("enable always" if fires else "disable"),
    )


def remove(connection: psycopg.Connection, capability: str) -> None:
    """Take a fence away, from whatever tables bear it, and the claim with it.

    Raises ``TimedOut`` naming whom a table waited for, ``RightMissing``.
    """
    if not exists(connection):
        return
    for oid, name, owner, triggers in connection.execute(
        _BEARERS, [_function(capability).as_string(connection)]
    ).fetchall():
        _drop(connection, oid, name, owner, triggers)
    connection.execute(sql.SQL("drop function if exists {}()").format(_function(capability)))
    connection.execute("delete from strangler_sync.claim where capability = %s", [capability])


def _drop(connection: psycopg.Connection, oid: int, table: str, owner: str, triggers: Sequence[str]) -> None:
    drops = [sql.SQL("drop trigger {} on {}").format(sql.Identifier(each), sql.SQL(table)) for each in triggers]
    may_act(connection, {owner: table})
    patiently(connection, [oid], table, lambda: as_role(connection, owner, drops), readers=True)


# --- looked at ---


def read(connection: psycopg.Connection, fence: Fence, also: Iterable[int] = ()) -> Catalogue:
    """Return what the catalogue says of a fence's tables, and ``also`` of others by their oid."""
    row = connection.execute(
        _READ,
        {
            "names": list(fence.tables),
            "quoted": [identifier(each).as_string(connection) for each in fence.tables],
            "also": f"{{{','.join(map(str, also))}}}",
            "function": fence.function.as_string(connection),
        },
        prepare=True,  # planned once, where generic plans are asked for: that takes longer than to run it
    ).fetchone()
    names, tables, function = row or ({}, None, None)
    return Catalogue.of_json({"names": names or {}, "tables": tables or {}, "function": function})


# --- said ---


def refusing(connection: psycopg.Connection, fence: Fence, epoch: int, owner: Stack) -> str:
    """Return the body of a fence's function that refuses, and tells who owns since which epoch."""
    name = fence.capability
    return _body(
        connection,
        _FENCE.read_text(encoding="utf-8"),
        state=STATE,
        message=f'capability "{name}" is fenced here: its owner is the {owner}, epoch {epoch}',
        detail=f"capability={name} owner={owner} epoch={epoch} operation=%s table=%I.%I role=%I",
        hint=f"Nothing was written. Write through the {owner}; while ownership moves, try again within seconds.",
    )


def observing(connection: psycopg.Connection, fence: Fence) -> str:
    """Return the body of a fence's function that lets everybody pass, and tells who it was."""
    text = _OBSERVE.read_text(encoding="utf-8")
    return _body(connection, text, prefix=OBSERVED, capability=fence.capability, most=STATEMENT_MOST)


def _body(connection: psycopg.Connection, text: str, **values: str | int) -> str:
    literals = {name: sql.Literal(value) for name, value in values.items()}
    return sql.SQL(text).format(role=sql.Literal(connection.info.user), **literals).as_string(connection)


def replacing(fence: Fence, body: str) -> sql.Composed:
    """Return the statement that gives a fence's function this body."""
    return sql.SQL("create or replace function {}() returns trigger language plpgsql as {}").format(
        fence.function, sql.Literal(body)
    )


# --- as the tables' owner ---


def may_act(connection: psycopg.Connection, tables: Mapping[str, str]) -> None:
    """Raise ``RightMissing`` for the first owner, of a table, in whose place this role may not act."""
    for owner, table in tables.items():
        row = connection.execute("select pg_has_role(%s, 'member')", [owner]).fetchone()
        if row is None or not row[0]:
            names = [sql.Identifier(each).as_string(connection) for each in (owner, connection.info.user)]
            raise RightMissing(f"{table} belongs to {owner}; run there: grant {names[0]} to {names[1]}")


def as_owner(connection: psycopg.Connection, table: Table, statements: Sequence[sql.Composed]) -> None:
    """Run statements in the place of a table's owner, in one round trip, within a transaction."""
    as_role(connection, table.owner, statements)


def as_role(connection: psycopg.Connection, role: str, statements: Sequence[sql.Composed]) -> None:
    acting = sql.SQL("set local role {}").format(sql.Identifier(role))
    connection.execute(sql.SQL("; ").join([acting, *statements, sql.SQL("set local role none")]))


def patiently(
    connection: psycopg.Connection,
    tables: Sequence[int],
    name: str,
    act: Callable[[], object],
    patience_s: float | None = None,
    *,
    readers: bool = False,
) -> None:
    """Do something in a transaction that waits for locks on ``tables`` only briefly, and again until it is done.

    With ``readers`` it is something that waits for them, too. Raises ``TimedOut`` naming whom it waited for.
    """
    patience_s = _PATIENCE_S if patience_s is None else patience_s
    until = time.monotonic() + patience_s
    while True:
        there = blockers(connection, tables, readers=readers)
        gives_way = bool(there) and all(each.kind is Kind.AUTOVACUUM for each in there)
        try:
            with connection.transaction():
                patience = _AUTOVACUUM_MS if gives_way else _BRIEF_MS
                connection.execute("select set_config('lock_timeout', %s, true)", [str(patience)])
                act()
            return
        except psycopg.errors.LockNotAvailable as exc:
            if time.monotonic() > until:
                who = named(blockers(connection, tables, readers=readers))
                raise TimedOut(
                    f"{name} waited {patience_s:g} s for {who}; let them end, or run this again at a quieter hour"
                ) from exc
            time.sleep(_PAUSE_S)
