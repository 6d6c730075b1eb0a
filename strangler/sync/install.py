"""What a stream needs in both databases: made once, in an order in which nothing is lost, and taken away again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from strangler.project.values import printable
from strangler.sync import changed, fencing, identity, outlining, quiet, reacting, watermark
from strangler.sync.catalogue import identifier
from strangler.sync.direction import Direction
from strangler.sync.errors import MappingInvalid, SyncError, TimedOut
from strangler.sync.fencing import Fence
from strangler.sync.filling import MORE_ORIGINS, origins
from strangler.sync.landing import land
from strangler.sync.mapping import Projection
from strangler.sync.outline import Outline
from strangler.sync.rights import as_owner, rights, sentence
from strangler.sync.telling import brief
from strangler.sync.walsender import WITH_FAILOVER, Walsender

SLOT_PATIENCE_S: Final = 30
"""How long a slot waits for transactions that were writing when it was asked for."""
_PATIENCE_S: Final = 10.0
_LOOK_S: Final = 0.1
_SHOWN: Final = 80
# Those of other databases, too: a slot waits for every one. Somebody else's query may be hidden from this role.
_WRITERS: Final = """
select pid, coalesce(usename::text, 'the server itself'), application_name,
       date_trunc('second', clock_timestamp() - xact_start)::text, query
from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
order by xact_start limit 5
"""
# Readers, too: to alter a table waits for them. Who waits behind an upgrade is none of them.
_USERS: Final = """
select pid, coalesce(usename::text, 'the server itself'), application_name,
       date_trunc('second', clock_timestamp() - xact_start)::text
from pg_locks join pg_stat_activity using (pid)
where relation = 'strangler_sync.stream'::regclass and datname = current_database() and granted
group by pid, usename, application_name, xact_start order by xact_start limit 5
"""
_WITH_GENERATED: Final = 180_000
# A change is told by the part of a table in which its row stands, as that part's own identity has it.
_IDENTITY: Final = """
select c.oid::regclass::text, c.relreplident::text, array(
  select a.attname::text from pg_index i, unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1]) as k(n)
  join pg_attribute a on a.attnum = k.n and a.attrelid = c.oid
  where i.indrelid = c.oid
    and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end),
  exists (select from pg_attribute where attrelid = c.oid and attgenerated = 'v' and not attisdropped),
  exists (select from pg_attribute where attrelid = c.oid and attnum > 0 and attlen = -1 and attstorage <> 'p'
          and attgenerated = '' and not attisdropped)
from pg_class c
where c.oid = %(table)s or c.oid in (select relid from pg_partition_tree(%(table)s) where isleaf) order by c.oid
"""
_SLOT_CURES: Final = {
    "all replication slots are in use": "; raise max_replication_slots in the server's configuration, and restart it",
    "wal_level": "; run there as a superuser: alter system set wal_level = 'logical', and restart the server",
}
# Any fixed number does, as long as nobody else takes this advisory lock in the two databases.
_LOCK: Final = 0x7374_7261_6E67
_OBJECTS: Final = files("strangler.sync") / "objects.sql"
_ADDITIONS: Final = files("strangler.sync") / "additions.sql"
_UPGRADE_PATIENCE_S: Final = 3
"""Whoever is to apply waits behind an upgrade that waits; the next session tries again within seconds."""


def install(direction: Direction, *, copying: bool) -> None:
    """Begin a stream: from its slot's position on, every change will come. Does nothing when it was begun.

    Raises ``RightMissing`` with the statement that mends it, ``MappingInvalid``.
    """
    with direction.open() as (source, target):
        projections = direction.projections(source, target)
        refuse_identities(source, projections, direction.file)
        prepare(source)
        prepare(target)
        if watermark.standing(target, direction.name) is not None:
            return
        outline = make_ready(direction, source, target, projections)
        with rights(target):
            for name in origins(direction.name):
                make_origin(target, name)
        with Walsender(direction.source_url, f"strangler {direction.capability} start") as sender:
            server = sender.server()
            with rights(source):
                position = _make_slot(source, direction.name)
        target.execute(
            "insert into strangler_sync.stream (name, lsn, system, timeline, publication, mapping, copying, outline)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                direction.name,
                position,
                server.system,
                server.timeline,
                Jsonb(identity.publication(source, direction.name)),
                direction.mapping,
                copying,
                outlining.dumped(outline),
            ],
        )


def make_ready(
    direction: Direction, source: psycopg.Connection, target: psycopg.Connection, projections: Sequence[Projection]
) -> Outline:
    """Make what a stream needs before its slot, whose predecessor goes; return what the source's tables are like."""
    fencing.install(target, fencing.fence_of(direction))
    reacting.install(target, direction)
    drop_slot(source, direction.name)
    _publish(source, direction)
    landings = [land(each, number, target) for number, each in enumerate(projections)]
    outline = outlining.outlined(source, landings)  # before the slot: nothing changes unseen between them
    with rights(target):
        make_origin(target, direction.name)
        _reserve(target, direction.name)
    return outline


def remove(direction: Direction) -> None:
    """Take away everything that belongs to a stream; what is gone already is no error."""
    with direction.open() as (source, target):
        remove_from_target(target, direction)
        remove_from_source(source, direction)
        drop_objects(target)


def remove_from_target(target: psycopg.Connection, direction: Direction) -> None:
    """Take the watermark away, which ends whoever applies, then the origins."""
    if watermark.exists(target):
        target.execute("delete from strangler_sync.stream where name = %s", [direction.name])
        reacting.remove(target, direction)
    for name in (direction.name, *origins(direction.name)):
        if _has_origin(target, name):
            _drop_origin(target, name)


def remove_from_source(source: psycopg.Connection, direction: Direction) -> None:
    """Take slot, publication and fence away, and what is kept beside them once no stream needs it."""
    close_source(source, direction)
    fencing.remove(source, direction.capability)
    drop_objects(source)


def close_source(source: psycopg.Connection, direction: Direction) -> None:
    """Take slot and publication away, so that nothing is kept for the stream any more; the fence stays as it is."""
    drop_slot(source, direction.name)
    _unpublish(source, direction.name)
    if fencing.exists(source):  # a move that was killed may have left it off
        quiet.restore_autovacuum(source, Fence(capability=direction.capability, stack=direction.stack.other, tables=()))


def prepare(connection: psycopg.Connection) -> None:
    """Make the schema of the sync's own objects in a database, and all that this release keeps there."""
    with rights(connection), connection.transaction():
        # Streams of several capabilities may begin at once, and "if not exists" is no lock.
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute(sql.SQL(_OBJECTS.read_text(encoding="utf-8")))
    bring_up(connection)


def bring_up(target: psycopg.Connection) -> None:
    """Make what this release keeps in a stream's target, and the release that began the stream did not.

    Raises ``TimedOut`` naming the transactions that use the stream's table for some seconds, and ``RightMissing``.
    """
    if changed.exists(target) and fencing.exists(target) and reacting.exists(target):
        return
    try:
        with rights(target), target.transaction():
            target.execute("select set_config('lock_timeout', %s, true)", [f"{_UPGRADE_PATIENCE_S}s"])
            target.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
            target.execute(sql.SQL(_ADDITIONS.read_text(encoding="utf-8")))
    except psycopg.errors.LockNotAvailable as exc:
        raise TimedOut(
            f"strangler_sync.stream is to have what this release keeps there, and waited {_UPGRADE_PATIENCE_S} s for"
            f" {_users(target)}; let them end, or run this again at a quieter hour"
        ) from exc


def _publish(source: psycopg.Connection, direction: Direction) -> None:
    name = sql.Identifier(direction.name)
    tables = [identifier(each.source) for each in direction.tables]
    _unpublish(source, direction.name)
    first = tables[0].as_string(source)
    with as_owner(source, "select relowner from pg_class where oid = to_regclass(%s)", first):
        # A table whose identity is the whole row cannot be updated while a column of it is not published.
        generated = ", publish_generated_columns = stored" if source.info.server_version >= _WITH_GENERATED else ""
        source.execute(
            sql.SQL("create publication {} for table {} with (publish_via_partition_root = true{})").format(
                name, sql.SQL(", ").join(tables), sql.SQL(generated)
            )
        )


def refuse_identities(source: psycopg.Connection, projections: Sequence[Projection], file: str) -> None:
    """Raise ``MappingInvalid`` for tables whose changes would not tell the mapping's key.

    Without any identity a published table refuses its own application's updates and deletes.
    """
    problems = [(each, problem) for each in projections for problem in _identity_problems(source, each)]
    if problems:
        raise MappingInvalid(
            [f"{file}: {each.mapping.source} → {each.mapping.target}: {problem}" for each, problem in problems]
        )


def _identity_problems(source: psycopg.Connection, projection: Projection) -> Iterator[str]:
    key, where = set(projection.mapping.key.values()), projection.mapping.where
    rows = source.execute(_IDENTITY, {"table": projection.source.oid}).fetchall()
    for table, kind, columns, virtual, long in rows:
        if kind != "f" and not key <= set(columns):
            told = f"tells {', '.join(columns)} of a changed row" if columns else "tells nothing of a changed row"
            yield f"the source {told}, and not the key; {_cure_identity(table, key)}"
        elif kind == "f" and virtual:
            yield (
                "published, it would refuse every change, since its identity is the whole row, and a generated column"
                f" is not stored; run there: alter table {table} replica identity default"
            )
        elif kind != "f" and long and where is not None:
            yield (
                "a row may come to fulfil its condition while the source leaves a long value out that did not change;"
                f" run there: alter table {table} replica identity full"
            )


def _cure_identity(table: str, key: set[str]) -> str:
    return (
        f"run there: alter table {table} replica identity default, if {', '.join(sorted(key))} is its primary key, or:"
        f" alter table {table} replica identity full"
    )


def _unpublish(source: psycopg.Connection, name: str) -> None:
    with as_owner(source, "select pubowner from pg_publication where pubname = %s", name):
        source.execute(sql.SQL("drop publication if exists {}").format(sql.Identifier(name)))


def _make_slot(source: psycopg.Connection, name: str) -> str:
    """Make a slot, and return its position. Raises ``TimedOut`` naming the transactions that it waited for.

    By the function, since no timeout ends the walsender's own command.
    """
    query = "select lsn::text from pg_create_logical_replication_slot(%s, 'pgoutput'{})"
    along = ", failover => true" if source.info.server_version >= WITH_FAILOVER else ""
    source.execute(sql.SQL("set statement_timeout = {}").format(sql.Literal(1000 * SLOT_PATIENCE_S)))
    try:
        row = source.execute(query.format(along).encode(), [name]).fetchone()
    except psycopg.errors.QueryCanceled as exc:
        raise TimedOut(waiting(source, name)) from exc
    except (psycopg.errors.ConfigurationLimitExceeded, psycopg.errors.ObjectNotInPrerequisiteState) as exc:
        raise SyncError(unmade(name, sentence(exc))) from exc
    finally:
        source.execute("set statement_timeout = 0")
    return str(row[0]) if row else ""


def unmade(name: str, why: str) -> str:
    """Return why a slot could not be made, with what mends it where that is known."""
    return f"slot {name} cannot be made: {why}{_SLOT_CURES.get(_cause(why), '')}"


def waiting(source: psycopg.Connection, name: str) -> str:
    """Return whom a slot waits for, for a person."""
    return (
        f"slot {name} waits for transactions that write, {SLOT_PATIENCE_S} s already: {writers(source)};"
        " end them, or run this again at a quieter hour"
    )


def writers(source: psycopg.Connection) -> str:
    """Return the oldest transactions that write on this server, for a person."""
    return _joined(f"{_session(*who)}: {brief(query, _SHOWN)}" for *who, query in source.execute(_WRITERS))


def _users(target: psycopg.Connection) -> str:
    return _joined(_session(*row) for row in target.execute(_USERS))


def _session(pid: int, user: str, application: str, age: str) -> str:
    return f"process {pid} ({printable(user)}, {printable(application) or 'unnamed'}) for {age}"


def _joined(named: Iterable[str]) -> str:
    return "; ".join(named) or "none is left now"


def _cause(message: str) -> str:
    return next((each for each in _SLOT_CURES if each in message), "")


def make_origin(target: psycopg.Connection, name: str) -> None:
    if not _has_origin(target, name):
        target.execute("select pg_replication_origin_create(%s)", [name])


def _reserve(target: psycopg.Connection, name: str) -> None:
    """Take one of the server's few places for an origin now, and not when the stream is to run."""
    try:
        target.execute("select pg_replication_origin_session_setup(%s)", [name])
        target.execute("select pg_replication_origin_session_reset()")
    except psycopg.errors.ObjectInUse:
        pass  # whoever applied until now has one still
    except psycopg.errors.ConfigurationLimitExceeded as exc:
        raise SyncError(f"the target's server has no room for another replication origin; {MORE_ORIGINS}") from exc


def _has_origin(connection: psycopg.Connection, name: str) -> bool:
    return connection.execute("select from pg_replication_origin where roname = %s", [name]).fetchone() is not None


def _drop_origin(target: psycopg.Connection, name: str) -> None:
    """Drop an origin once its session has ended, which finds its watermark gone within a heartbeat."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            target.execute("select pg_replication_origin_drop(%s)", [name])
        except psycopg.errors.ObjectInUse as exc:
            if time.monotonic() > until:
                raise SyncError(f"origin {name} is in use: {sentence(exc)}; stop what applies, run this again") from exc
            time.sleep(_LOOK_S)
        except psycopg.errors.UndefinedObject:
            return  # whoever wrote under it has dropped it just now
        else:
            return


def drop_slot(source: psycopg.Connection, name: str, grace_s: float = _PATIENCE_S / 2) -> None:
    """Drop a slot, if there is one, once nobody reads it; who still does after ``grace_s`` seconds is ended."""
    if free_slot(source, name, grace_s):
        source.execute("select pg_drop_replication_slot(%s)", [name])


def free_slot(source: psycopg.Connection, name: str, grace_s: float) -> bool:
    """Wait until nobody reads a slot, who is ended after ``grace_s`` seconds; return whether there is one."""
    began = time.monotonic()
    while True:
        row = source.execute("select active_pid from pg_replication_slots where slot_name = %s", [name]).fetchone()
        if row is None or row[0] is None:
            return row is not None
        waited = time.monotonic() - began
        if waited > _PATIENCE_S:
            raise SyncError(f"slot {name} is in use by process {row[0]} of the server; end it, and run this again")
        if waited >= grace_s:
            source.execute("select pg_terminate_backend(%s)", [row[0]])
        time.sleep(_LOOK_S)


def drop_objects(connection: psycopg.Connection) -> None:
    """Drop the schema when no stream has a row in it, none begins or ends in this database, and nothing is fenced."""
    if not watermark.exists(connection) or fencing.any_left(connection):
        return
    left = connection.execute(
        "select (select count(*) from strangler_sync.stream)"
        " + (select count(*) from pg_publication where pubname like 'strangler\\_%')"
    ).fetchone()
    if left is not None and left[0] == 0:
        connection.execute("drop schema strangler_sync cascade")
