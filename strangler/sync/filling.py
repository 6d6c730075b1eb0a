"""Rows copied into tables that a stream writes to at the same time: inserted where absent, and nothing brought back.

A chunk's snapshot and the stream's position cannot be told apart by markers in the WAL: a commit can stand before a
marker while a snapshot taken after it does not see it yet. So the applier leaves a tombstone for each key that is gone,
and for each row that it could only have changed in part. A chunk inserts what is absent and takes out of its own rows
those that have one, while the applier writes nothing. A row that went is in the tombstones, or the stream deletes it.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from strangler.sync import transfer, watermark
from strangler.sync.catalogue import identifier
from strangler.sync.copyout import CopyOut
from strangler.sync.direction import Direction
from strangler.sync.errors import RightMissing, SyncError
from strangler.sync.intake import HEARTBEAT, PREFIX
from strangler.sync.mapping import Projection, cast
from strangler.sync.pgoutput import lsn_of, lsn_text
from strangler.sync.plan import Chunk
from strangler.sync.watermark import Standing

COPIERS: Final = 4
"""So many sessions may copy at once: each needs an origin of its own, and a server has room for ten by default."""
MORE_ORIGINS: Final = (
    "raise max_active_replication_origins (max_replication_slots before PostgreSQL 18), and restart it"
)
BUSY_S: Final = 0.1
PATIENCE_S: Final = 30.0
_LOOK_S: Final = 0.02
# For so long the stream waits for a piece, where its rows decide. In pieces of 2 MB, of which each waited for the disk,
# changes came 277 ms late (p99), in such ones 131, and the copy took as long.
PIECE_S: Final = 0.03
_PIECE: Final = 512 << 10  # the first ones
LEAST, MOST = 256 << 10, 2 << 20  # bytes
COPIED: Final = "strangler_copied"
"""The message of a transaction that writes nothing else: its commit waits for the disk, and for all that is older."""


def origins(stream: str) -> list[str]:
    """Return the origins under which rows of ``stream`` are copied: by them the stream back leaves them out."""
    return [f"{stream}_copy{number}" for number in range(COPIERS)]


def fill_range(
    source: psycopg.Connection, target: psycopg.Connection, projection: Projection, chunk: Chunk, at: Standing
) -> int:
    """Copy one range of keys; return how many rows the source gave.

    The target's session has begun to. Rows are written some at a time, and between them the stream goes on; all are
    durable at the end. Raises ``SyncError`` when the copy that ``at`` tells of is over.
    """
    absent, size = True, _PIECE
    read = transfer.reading(projection.rows(chunk.low, chunk.high))
    with CopyOut(source, read) as out, closing(_ahead(out.pieces(lambda: size))) as pieces:
        for piece in pieces:
            took = _insert(target, projection, piece, at) if absent else None
            if took is None:
                absent, took = False, _insert_rest(target, projection, piece, at)
            size = fitting(len(piece), took)
    _make_durable(target)
    return out.rows


@dataclass(frozen=True, slots=True)
class Took:
    """For how many seconds a piece kept the stream waiting, and how many of them it would whatever its size."""

    seconds: float
    fixed: float


def fitting(size: int, took: Took) -> int:
    """Return the bytes of a piece that takes ``PIECE_S``, by what one of ``size`` bytes took.

    What a piece takes whatever its size (all tombstones are looked at) is half of it at most: else a copy would become
    ever slower by what it waits for, and lay more of them.
    """
    rows = max(took.seconds - took.fixed, 1e-6)
    return int(max(LEAST, min(MOST, size * max(PIECE_S - took.fixed, took.fixed) / rows)))


def _make_durable(target: psycopg.Connection) -> None:
    """Wait for the disk, once for all pieces: their commits did not."""
    with target.transaction():
        target.execute("select pg_logical_emit_message(true, %s, '')", [COPIED])


def _ahead(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    """Yield ``pieces``, the next of which is read while one is written: a copy takes a quarter less time so.

    Closed, it has ended its reading: the session is free for whoever cancels the rest.
    """
    with ThreadPoolExecutor(1) as hand:
        following = hand.submit(next, pieces, None)
        while (piece := following.result()) is not None:
            following = hand.submit(next, pieces, None)
            yield piece


def _insert(target: psycopg.Connection, projection: Projection, piece: bytes, at: Standing) -> Took | None:
    """Write rows and return what that took.

    None where none were written: some of them are there already, or have a unique value of others.
    """
    try:
        with target.transaction():
            since = _share(target, at)
            transfer.put(target, projection, [piece], identifier(projection.target.name))
            fixed = _take_back(target, projection, at)
    except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
        return None
    return Took(time.monotonic() - since, fixed)


def _insert_rest(target: psycopg.Connection, projection: Projection, piece: bytes, at: Standing) -> Took:
    """Write those of the rows that are not there, and return what that took."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            with target.transaction():
                transfer.make_staging(target, projection)
                transfer.put(target, projection, [piece], transfer.STAGING)
                since = _share(target, at)
                insert_absent(target, projection)
                _leave_clashes(target, projection, at)
                fixed = _take_back(target, projection, at)
            return Took(time.monotonic() - since, fixed)
        except psycopg.errors.DeadlockDetected:  # with another chunk, whose rows have unique values of these
            if time.monotonic() > until:
                raise


# Chunks write beside each other, and the applier alone: neither then ever waits for a row of the other's, which ends in
# waiting for each other. Whoever comes is served in turn.


def _share(target: psycopg.Connection, at: Standing) -> float:
    """Keep the applier from writing until the transaction ends, which waits for no disk; return since when.

    Raises ``SyncError`` for a chunk whose claim was lost while it ran: no tombstones are laid for it any more.
    """
    found = target.execute(
        sql.SQL(
            "set local synchronous_commit = off; select pg_advisory_xact_lock_shared({turn});"
            " select from strangler_sync.stream"
            " where name = {name} and copying and copied_at is null and publication = {publication}"
        ).format(
            turn=sql.Literal(_turn(at.name)),
            name=sql.Literal(at.name),
            publication=sql.Literal(Jsonb(at.publication)),
        )
    )
    while found.nextset():
        pass
    if not found.rowcount:
        raise SyncError(f"the copy of {at.name} that this chunk belongs to is over; nothing of it was written")
    return time.monotonic()


def alone(target: psycopg.Connection, stream: str) -> None:
    """Have no chunk of ``stream`` write until the transaction ends. Who locks the stream's row does that first."""
    target.execute("select pg_advisory_xact_lock(%s)", [_turn(stream)])


def _turn(stream: str) -> int:
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], signed=True)


def begin(target: psycopg.Connection, projections: Sequence[Projection], stream: str) -> None:
    """Have the session copy rows beside ``stream``. Raises ``SyncError`` or ``RightMissing`` when it may not."""
    _tag(target, stream)
    relax(target, projections)


def _tag(target: psycopg.Connection, stream: str) -> None:
    """Have the session write under an origin of ``stream`` that is free. Raises ``SyncError`` when there is none."""
    names = origins(stream)
    random.shuffle(names)
    until, full = time.monotonic() + PATIENCE_S, False
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
        time.sleep(BUSY_S)
    if full:
        raise SyncError(f"the target's server has no room for another replication origin; {MORE_ORIGINS}")
    raise SyncError(f"{COPIERS} sessions copy rows of {stream} already; try again when one is done")


def relax(target: psycopg.Connection, projections: Sequence[Projection]) -> None:
    """Have constraints wait: a row may come before the one that it refers to, whose table is copied later.

    And a row that goes only until it comes again must take nothing along that refers to it. Raises ``RightMissing``
    with the statement that lets the role do so.
    """
    if not any(each.target.parents or each.target.deferrable or each.target.referred for each in projections):
        return
    try:
        target.execute("set session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege as exc:
        role = sql.Identifier(target.info.user).as_string(target)
        raise RightMissing(
            "rows of the stream come before those that they refer to, which are still to be copied;"
            f" run in the target as a superuser: grant set on parameter session_replication_role to {role}"
        ) from exc


def insert_absent(target: psycopg.Connection, projection: Projection) -> None:
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
    """Have rows fetched later that are not here, since an older row still has their unique value."""
    target.execute(
        sql.SQL(
            "insert into strangler_sync.tombstone (stream, target, key, gone, xids)"
            " select {stream}, {target}, array[{keys}], false, '{{}}' from {staging} as staged"
            # A plain NOT EXISTS has the whole table read for each piece: 500,000 rows took 57 s under writes, not 10 s.
            " left join lateral (select true as is_here from {table} as there where {same} limit 1) as found on true"
            " where is_here is null"
        ).format(
            stream=sql.Literal(at.name),
            target=sql.Literal(projection.mapping.target),
            keys=sql.SQL(", ").join(
                sql.SQL("staged.{}::text").format(sql.Identifier(name)) for name in projection.mapping.key
            ),
            staging=transfer.STAGING,
            table=identifier(projection.target.name),
            same=same_key(projection, "staged"),
        )
    )


def _take_back(target: psycopg.Connection, projection: Projection, at: Standing) -> float:
    """Delete the rows of this transaction that have a tombstone; return for how many seconds."""
    began = time.monotonic()
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
            same=same_key(projection, "buried"),
        )
    )
    return time.monotonic() - began


def settle(target: psycopg.Connection, projection: Projection, stream: str, left_out: sql.Composed) -> None:
    """Take the tombstones away again of rows that this transaction has changed in part, and that want nothing.

    These are those that are here, and those that the mapping leaves out, whose keys ``left_out`` selects.
    """
    target.execute(
        sql.SQL(
            "delete from strangler_sync.tombstone where ctid = any(array(select at from"
            " (select ctid as at, {keys} from strangler_sync.tombstone where stream = {stream} and target = {target}"
            "  and not gone and xmin = pg_current_xact_id()::xid) as buried"
            " where exists (select from {table} as there where {same})"
            "  or exists (select from ({left_out}) as there where {same})))"
        ).format(
            left_out=left_out,
            table=identifier(projection.target.name),
            keys=buried_keys(projection),
            stream=sql.Literal(stream),
            target=sql.Literal(projection.mapping.target),
            same=same_key(projection, "buried"),
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


def same_key(projection: Projection, other: str) -> sql.Composed:
    return sql.SQL(" and ").join(
        sql.SQL("there.{} = {}.{}").format(sql.Identifier(name), sql.Identifier(other), sql.Identifier(name))
        for name in projection.mapping.key
    )


# --- how far the stream is ---


def catch_up(direction: Direction) -> int:
    """Return the source's position as it is now, once the stream has passed it.

    Raises ``SyncError`` when the stream does not move for a while.
    """
    with direction.open() as (source, target):
        since = lsn_of(written(source))
        source.execute(HEARTBEAT, [PREFIX])  # by itself an idle stream says only once a second where it is
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
        if time.monotonic() - moved_at > PATIENCE_S:
            raise SyncError(
                f"the stream stands at {lsn_text(at.lsn)}, {since - at.lsn:,} bytes behind; start strangler sync run,"
                " or see in strangler sync status what stops it; then run this again"
            )
        time.sleep(_LOOK_S)


def position(direction: Direction) -> int:
    """Return how far the source's WAL goes: a chunk that was copied before has seen nothing later."""
    with direction.open() as (source, _):
        return lsn_of(written(source))


def written(source: psycopg.Connection) -> str:
    row = source.execute("select pg_current_wal_insert_lsn()::text").fetchone()
    return row[0] if row else "0/0"
