"""Rows copied into tables that a stream writes to at the same time: inserted where absent, and nothing brought back.

A chunk's snapshot and the stream's position cannot be told apart by markers in the WAL: a commit can stand before a
marker while a snapshot taken after it does not see it yet. So the applier leaves a tombstone for each key that is gone,
and for each row that it could only have changed in part. A chunk inserts what is absent, locks the tombstones, takes
out of its own rows those that have one, and commits. A row that went is in the tombstones, or the stream deletes it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from strangler.sync import transfer, watermark
from strangler.sync.catalogue import identifier
from strangler.sync.direction import Direction
from strangler.sync.errors import RightMissing, SyncError
from strangler.sync.images import RowKey
from strangler.sync.mapping import Projection, cast
from strangler.sync.pgoutput import lsn_of, lsn_text
from strangler.sync.plan import Chunk
from strangler.sync.watermark import Standing

COPIERS: Final = 4
"""So many sessions may copy at once: each needs an origin of its own, and a server has room for ten by default."""
MORE_ORIGINS: Final = (
    "raise max_active_replication_origins (max_replication_slots before PostgreSQL 18), and restart it"
)
_BUSY_S: Final = 0.1
_PATIENCE_S: Final = 30.0
_ATTEMPTS: Final = 5
_LOCK: Final = "lock table strangler_sync.tombstone in share row exclusive mode"


def origins(stream: str) -> list[str]:
    """Return the origins under which rows of ``stream`` are copied: by them the stream back leaves them out."""
    return [f"{stream}_copy{number}" for number in range(COPIERS)]


def fill_range(
    source: psycopg.Connection, target: psycopg.Connection, projection: Projection, chunk: Chunk, at: Standing
) -> int:
    """Copy one range of keys in one transaction of the target; return how many rows the source gave.

    The stream may wait for a row of the chunk while the chunk waits for its tombstones: PostgreSQL ends one of the
    two after a second, and either begins anew. Raises ``SyncError`` when the copy that ``at`` tells of is over.
    """
    tag(target, at.name)
    relax(target, [projection])
    wanted = projection.rows(chunk.low, chunk.high)
    for _ in range(_ATTEMPTS):
        try:
            return _fill(source, target, projection, wanted, at)
        except psycopg.errors.DeadlockDetected:
            continue
    return _fill(source, target, projection, wanted, at)


def _fill(
    source: psycopg.Connection, target: psycopg.Connection, projection: Projection, wanted: sql.Composed, at: Standing
) -> int:
    try:
        with target.transaction():
            rows = transfer.pipe(source, target, projection, wanted, identifier(projection.target.name))
            _take_back(target, projection, at)
    except psycopg.errors.UniqueViolation:
        with target.transaction():
            rows = transfer.stage(source, target, projection, wanted)
            _insert_absent(target, projection)
            _take_back(target, projection, at)
            _leave_clashes(target, projection, at)
    return rows


def tag(target: psycopg.Connection, stream: str) -> None:
    """Have the session write under an origin of ``stream`` that is free. Raises ``SyncError`` when there is none."""
    names = origins(stream)
    random.shuffle(names)
    until, full = time.monotonic() + _PATIENCE_S, False
    while time.monotonic() < until:
        for name in names:
            try:
                target.execute("select pg_replication_origin_session_setup(%s)", [name])
            except psycopg.errors.ObjectInUse:
                continue
            except psycopg.errors.ConfigurationLimitExceeded:
                full = True
                continue
            return
        time.sleep(_BUSY_S)
    if full:
        raise SyncError(f"the target's server has no room for another replication origin; {MORE_ORIGINS}")
    raise SyncError(f"{COPIERS} sessions copy rows of {stream} already; try again when one is done")


def relax(target: psycopg.Connection, projections: Sequence[Projection]) -> None:
    """Have constraints wait: a row may come before the one that it refers to, whose table is copied later.

    Raises ``RightMissing`` with the statement that lets the role do so.
    """
    if not any(each.target.parents or each.target.deferrable for each in projections):
        return
    try:
        target.execute("set session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege as exc:
        role = sql.Identifier(target.info.user).as_string(target)
        raise RightMissing(
            "rows of the stream come before those that they refer to, which are still to be copied;"
            f" run in the target as a superuser: grant set on parameter session_replication_role to {role}"
        ) from exc


def _insert_absent(target: psycopg.Connection, projection: Projection) -> None:
    # PostgreSQL passes over any clash only where no constraint may be broken for a while.
    key = sql.SQL("({})").format(transfer.names(projection.mapping.key))
    target.execute(
        sql.SQL(
            "insert into {table} ({columns}) overriding system value select {columns} from {staging}"
            " on conflict {arbiter} do nothing"
        ).format(
            table=identifier(projection.target.name),
            columns=transfer.names(projection.columns),
            staging=transfer.STAGING,
            arbiter=key if projection.target.deferrable else sql.SQL(""),
        )
    )


def _leave_clashes(target: psycopg.Connection, projection: Projection, at: Standing) -> None:
    """Have rows fetched later that are not here: an older row still has their unique value, or they went again."""
    target.execute(
        sql.SQL(
            "insert into strangler_sync.tombstone (stream, target, key, gone, xids)"
            " select {stream}, {target}, array[{keys}], false, '{{}}' from {staging} as staged"
            " where not exists (select from {table} as there where {same})"
        ).format(
            stream=sql.Literal(at.name),
            target=sql.Literal(projection.mapping.target),
            keys=sql.SQL(", ").join(
                sql.SQL("{}::text").format(sql.Identifier(name)) for name in projection.mapping.key
            ),
            staging=transfer.STAGING,
            table=identifier(projection.target.name),
            same=_same(projection, "staged"),
        )
    )


def _take_back(target: psycopg.Connection, projection: Projection, at: Standing) -> None:
    """Delete the rows of this transaction that have a tombstone; until it ends no further one is laid."""
    target.execute(_LOCK)
    _refuse_late(target, at)
    target.execute(
        sql.SQL(
            "delete from {table} as there using (select {keys} from strangler_sync.tombstone"
            " where stream = {stream} and target = {target}) as buried"
            " where {same} and there.xmin = pg_current_xact_id()::xid"
        ).format(
            table=identifier(projection.target.name),
            keys=buried_keys(projection),
            stream=sql.Literal(at.name),
            target=sql.Literal(projection.mapping.target),
            same=_same(projection, "buried"),
        )
    )


def _refuse_late(target: psycopg.Connection, at: Standing) -> None:
    """Raise ``SyncError`` for a chunk whose claim was lost while it ran: no tombstones are laid for it any more."""
    query = "select from strangler_sync.stream where name = %s and copying and copied_at is null and publication = %s"
    if target.execute(query, [at.name, Jsonb(at.publication)]).fetchone() is None:
        raise SyncError(f"the copy of {at.name} that this chunk belongs to is over; nothing of it was written")


def settle(target: psycopg.Connection, projection: Projection, stream: str) -> None:
    """Take the tombstones away again of rows that this transaction has changed in part, and that are here."""
    target.execute(
        sql.SQL(
            "delete from strangler_sync.tombstone where ctid = any(array(select at from"
            " (select ctid as at, {keys} from strangler_sync.tombstone where stream = {stream} and target = {target}"
            "  and not gone and xmin = pg_current_xact_id()::xid) as buried"
            " join {table} as there on {same}))"
        ).format(
            table=identifier(projection.target.name),
            keys=buried_keys(projection),
            stream=sql.Literal(stream),
            target=sql.Literal(projection.mapping.target),
            same=_same(projection, "buried"),
        )
    )


def buried_keys(projection: Projection) -> sql.Composed:
    """Return the key of a tombstone, which is text as the source prints it, as columns of the target's types."""
    return sql.SQL(", ").join(
        sql.SQL("{} as {}").format(
            cast(
                cast(sql.SQL("key[{}]").format(sql.Literal(number)), projection.source.columns[column].sent_as),
                projection.target.columns[name].sent_as,
            ),
            sql.Identifier(name),
        )
        for number, (name, column) in enumerate(projection.mapping.key.items(), 1)
    )


def _same(projection: Projection, other: str) -> sql.Composed:
    return sql.SQL(" and ").join(
        sql.SQL("there.{} = {}.{}").format(sql.Identifier(name), sql.Identifier(other), sql.Identifier(name))
        for name in projection.mapping.key
    )


# --- the end of the copy ---


def is_copying(direction: Direction) -> bool:
    """Return whether rows are still to be copied. Raises ``Unreachable``."""
    with transfer.open_database(direction.target_url, direction.target) as target:
        at = watermark.standing(target, direction.name)
        return at is not None and at.copying


def complete(direction: Direction) -> None:
    """End the copy, once the stream has passed it. Raises ``SyncError`` when the stream does not move for a while."""
    while True:
        if finish(direction, catch_up(direction)):
            return


def catch_up(direction: Direction) -> int:
    """Return the source's position as it is now, once the stream has passed it.

    Raises ``SyncError`` when the stream does not move for a while.
    """
    with direction.open() as (source, target):
        since = lsn_of(_written(source))
        _await_stream(target, direction.name, since)
    return since


def _await_stream(target: psycopg.Connection, name: str, since: int) -> None:
    moved_at, seen = time.monotonic(), -1
    while True:
        at = watermark.standing(target, name)
        if at is None or at.lsn >= since:
            return
        if at.lsn > seen:
            moved_at, seen = time.monotonic(), at.lsn
        if time.monotonic() - moved_at > _PATIENCE_S:
            raise SyncError(
                f"the stream stands at {lsn_text(at.lsn)}, {since - at.lsn:,} bytes behind; start strangler sync run,"
                " or see in strangler sync status what stops it; then run this again"
            )
        time.sleep(_BUSY_S)


def position(direction: Direction) -> int:
    """Return how far the source's WAL goes: a chunk that was copied before has seen nothing later."""
    with direction.open() as (source, _):
        return lsn_of(_written(source))


def finish(direction: Direction, since: int) -> bool:
    """End the copy if nothing is missing any more, and return whether it has ended.

    ``since`` is the position when the last chunk was copied, or something was fetched. Until the stream has passed it
    a row may be newer here than the changes to it that are still to come. What only changed in part before it was here
    is fetched; then it is to be asked again, with another position. Raises ``SyncError`` naming a foreign key under
    which rows refer to nothing.
    """
    with direction.open() as (source, target):
        at = watermark.standing(target, direction.name)
        if at is None or not at.copying:
            return True
        with target.transaction():
            # In the order of the applier: the stream's row first. After the lock no chunk commits: see _refuse_late.
            target.execute("select from strangler_sync.stream where name = %s for update", [direction.name])
            target.execute(_LOCK)
            target.execute(
                "update strangler_sync.stream set copied_at = coalesce(copied_at, %s::pg_lsn) where name = %s",
                [lsn_text(since), direction.name],
            )
        if at.lsn < since:
            return False
        projections = direction.projections(source, target)
        tag(target, direction.name)
        relax(target, projections)
        fetched = [_fetch_amended(source, target, each, direction.name) for each in projections]
        if any(fetched):
            return False
        for each in projections:
            _refuse_orphans(target, each)
            _refuse_doubles(target, each)
        with target.transaction():
            # The applier takes this row before anything else: its next batch knows that the copy has ended.
            target.execute("update strangler_sync.stream set copying = false where name = %s", [direction.name])
            ended = not _amended(target, direction.name)
            if not ended:
                raise psycopg.Rollback
            target.execute("delete from strangler_sync.tombstone where stream = %s", [direction.name])
        if ended:
            _free_origins(target, direction.name)
        return ended


def _free_origins(target: psycopg.Connection, stream: str) -> None:
    """Drop the origins of the copy: each keeps a place among the server's few. One in use goes with its stream."""
    target.execute("select pg_replication_origin_session_reset()")
    for name in origins(stream):
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
            target.execute("select pg_replication_origin_drop(%s)", [name])


def _amended(target: psycopg.Connection, stream: str) -> bool:
    query = (
        "select from strangler_sync.tombstone as laid join strangler_sync.stream on name = stream"
        " where stream = %s and not gone and (fetched_at is null or fetched_at > lsn) limit 1"
    )
    return target.execute(query, [stream]).fetchone() is not None


def _fetch_amended(source: psycopg.Connection, target: psycopg.Connection, projection: Projection, stream: str) -> bool:
    """Fetch the rows that the stream could only have changed in part; return whether there were any."""
    asked = [stream, projection.mapping.target]
    with target.transaction():
        target.execute(_LOCK)
        rows = target.execute(
            "select key, array_agg(xid) from strangler_sync.tombstone left join unnest(xids) as xid on true"
            " where stream = %s and target = %s group by key having bool_or(not gone and fetched_at is null)",
            asked,
        ).fetchall()
        _await_visible(source, {xid for _, xids in rows for xid in xids if xid is not None})
        for key, _ in rows:  # read after all that its tombstones tell of: no older row comes back
            if _fetch(source, target, projection, tuple(key)):
                target.execute(
                    "update strangler_sync.tombstone set fetched_at = %s::pg_lsn"
                    " where stream = %s and target = %s and key = %s and not gone and fetched_at is null",
                    [_written(source), *asked, key],
                )
    return bool(rows)


def _fetch(
    source: psycopg.Connection, target: psycopg.Connection, projection: Projection, key: tuple[str, ...]
) -> bool:
    """Fetch one row, and return whether it could be: another may have its unique value until the stream has passed."""
    rows = transfer.stage(source, target, projection, projection.row(key))
    _insert_absent(target, projection)
    if rows == 0:
        return True
    there = sql.SQL("select from {} as there join {} as staged on {}").format(
        identifier(projection.target.name), transfer.STAGING, _same(projection, "staged")
    )
    return target.execute(there).fetchone() is not None


def is_fetched(target: psycopg.Connection, projection: Projection, stream: str, key: RowKey) -> bool:
    """Return whether the row of ``key`` may be newer than the stream, since it was fetched."""
    texts = [value.decode() for value in key if isinstance(value, bytes)]
    query = (
        "select from strangler_sync.tombstone join strangler_sync.stream on name = stream where stream = %s"
        " and target = %s and key = %s and not gone and (fetched_at is null or fetched_at > lsn)"
    )
    return target.execute(query, [stream, projection.mapping.target, texts]).fetchone() is not None


def _written(source: psycopg.Connection) -> str:
    row = source.execute("select pg_current_wal_insert_lsn()::text").fetchone()
    return row[0] if row else "0/0"


def _await_visible(source: psycopg.Connection, xids: set[int]) -> None:
    """Return when a snapshot of the source sees what ``xids`` did: it is in the WAL, and may not be visible yet."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        row = source.execute("select pg_current_snapshot()::text").fetchone()
        if row is not None and all(sees(row[0], xid) for xid in xids):
            return
        time.sleep(_BUSY_S)
    raise SyncError(f"transactions that were committed do not become visible in {_PATIENCE_S:g} s; is a standby away?")


def sees(snapshot: str, xid: int) -> bool:
    """Return whether a snapshot (``xmin:xmax:running,...`` of 64 bits) sees a transaction that has committed.

    ``xid`` has the 32 bits that the WAL has; it is not older than two thousand million transactions.
    """
    _, highest, running = snapshot.split(":")
    ended = (int(highest) - xid - 1) % (1 << 32) < 1 << 31
    return ended and all(int(each) % (1 << 32) != xid for each in running.split(",") if each)


def _refuse_orphans(target: psycopg.Connection, projection: Projection) -> None:
    query = (
        "select conname, pg_get_constraintdef(oid), confrelid::regclass::text,"
        " (select array_agg(attname::text order by n) from unnest(conkey) with ordinality as k(num, n)"
        "  join pg_attribute on attrelid = conrelid and attnum = num),"
        " (select array_agg(attname::text order by n) from unnest(confkey) with ordinality as k(num, n)"
        "  join pg_attribute on attrelid = confrelid and attnum = num)"
        " from pg_constraint where conrelid = %s and contype = 'f'"
    )
    for name, _, parent, here, there in target.execute(query, [projection.target.oid]).fetchall():
        orphan = sql.SQL(
            "select {key} from {child} as child where {given}"
            " and not exists (select from {parent} as parent where {same}) limit 1"
        ).format(
            key=transfer.names(projection.mapping.key),
            child=identifier(projection.target.name),
            given=sql.SQL(" and ").join(sql.SQL("child.{} is not null").format(sql.Identifier(each)) for each in here),
            parent=sql.SQL(parent),
            same=sql.SQL(" and ").join(
                sql.SQL("parent.{} = child.{}").format(sql.Identifier(other), sql.Identifier(own))
                for own, other in zip(here, there, strict=True)
            ),
        )
        row = target.execute(orphan).fetchone()
        if row is not None:
            raise SyncError(
                f"{projection.target.name} {row} refers under {name} to a row of {parent} that is not there; map that"
                " table too, or drop the foreign key in the service's database"
            )


def _refuse_doubles(target: psycopg.Connection, projection: Projection) -> None:
    """Raise ``SyncError`` for two rows that a deferrable constraint forbids: like foreign keys, it did not look."""
    for columns in projection.target.deferrable:
        double = sql.SQL("select {columns} from {table} where {given} group by {columns} having count(*) > 1 limit 1")
        row = target.execute(
            double.format(
                columns=transfer.names(columns),
                table=identifier(projection.target.name),
                given=sql.SQL(" and ").join(sql.SQL("{} is not null").format(sql.Identifier(each)) for each in columns),
            )
        ).fetchone()
        if row is not None:
            raise SyncError(
                f"{projection.target.name} has two rows of {', '.join(sorted(columns))} {row}, which the source"
                " allows; mend them there, or drop the unique constraint in the service's database"
            )
