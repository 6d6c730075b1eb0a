"""How far a stream is applied: a row in its target, which every transaction of the applier sets under a condition.

The same statement records which rows the transaction changed: see ``changed``.

An applier that was stopped and wakes later finds another position than the one it left, and may not write. The progress
of a replication origin could not tell it so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from strangler.sync.changed import Line
from strangler.sync.direction import Direction, Way
from strangler.sync.errors import Overtaken, StreamBroken, SyncError
from strangler.sync.pgoutput import lsn_of, lsn_text

_ADVANCING: Final = """
with noted as (
  insert into strangler_sync.changed (stream, target, lsn, number, keys)
  select name, target, %(to)s::pg_lsn, number, keys
  from strangler_sync.stream, unnest(%(tables)s::text[], %(numbers)s::integer[], %(keys)s::text[])
       as listed (target, number, keys)
  where name = %(name)s and lsn = %(at)s and epoch = %(epoch)s and {allowed}
)
update strangler_sync.stream
set lsn = %(to)s,
    recorded_from = case when %(copying)s or recorded_to = lsn then recorded_from else lsn end,
    recorded_to = case when %(copying)s then recorded_to else %(to)s::pg_lsn end,
    transactions = transactions + %(transactions)s, changes = changes + %(changes)s,
    heartbeat_at = coalesce(%(beaten_at)s::timestamptz, heartbeat_at),
    heartbeat_xid = coalesce(%(beaten_by)s::bigint, heartbeat_xid),
    applied_at = clock_timestamp(), stopped = null
where name = %(name)s and lsn = %(at)s and epoch = %(epoch)s and {allowed}
"""
# Asked when all is written, and what is written keeps its tables' locks: to lower the fence waits for these. Where the
# owner was never moved rows go forward, though a release before has raised no fence.
_ALLOWED: Final = (
    "(not %(guarded)s or coalesce((select raised or (%(forward)s and epoch = 0) from strangler_sync.claim"
    " where capability = %(capability)s), %(forward)s))"
)
_ADVANCE: Final = _ADVANCING.format(allowed=_ALLOWED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A stream as its target has it: the watermark, under which epoch, and what it is a stream of."""

    name: str
    lsn: int
    epoch: int
    copying: bool
    system: str
    timeline: int
    publication: Any
    mapping: str
    given_up: str | None
    fetches: int
    outline: Any


def exists(target: psycopg.Connection) -> bool:
    """Return whether a stream was ever begun into this database."""
    row = target.execute("select to_regclass('strangler_sync.stream') is not null").fetchone()
    return bool(row and row[0])


def standing(target: psycopg.Connection, name: str) -> Standing | None:
    """Return where stream ``name`` stands, None where there is none."""
    row = target.execute(
        "select lsn::text, epoch, copying, system, timeline, publication, mapping, given_up, fetches,"
        " to_jsonb(stream) -> 'outline'"  # a stream that was begun before there was one has no such column
        " from strangler_sync.stream where name = %s",
        [name],
    ).fetchone()
    if row is None:
        return None
    return Standing(
        name=name,
        lsn=lsn_of(row[0]),
        epoch=row[1],
        copying=row[2],
        system=row[3],
        timeline=row[4],
        publication=row[5],
        mapping=row[6],
        given_up=row[7],
        fetches=row[8],
        outline=row[9],
    )


def advance(
    target: psycopg.Connection,
    at: Standing,
    to: int,
    *,
    transactions: int,
    changes: int,
    heartbeat: str | None,
    noted: Sequence[Line] | None,
    direction: Direction,
    guarded: Sequence[str],
    marker: int | None,
) -> None:
    """Set the watermark to ``to``. ``heartbeat`` is the number of the transaction that wrote it, and the time.

    ``noted`` is what is recorded of the rows that changed; None while tables are copied, when nothing is. ``guarded``
    are the source's tables whose rows were written, and may be only while the target is fenced. ``marker`` is the epoch
    of the last one that came.

    Raises ``Overtaken`` when it is not where ``at`` says, or belongs to another epoch, ``StreamBroken`` when the target
    is not fenced.
    """
    beaten_by, _, beaten_at = (None, "", None) if heartbeat is None else heartbeat.partition(" ")
    advanced = target.execute(
        _ADVANCE.encode(),
        {
            "name": at.name,
            "at": lsn_text(at.lsn),
            "epoch": at.epoch,
            "to": lsn_text(to),
            "transactions": transactions,
            "changes": changes,
            "beaten_at": beaten_at,
            "beaten_by": beaten_by,
            "copying": noted is None,
            "tables": [table for table, _, _ in noted or ()],
            "numbers": [number for _, number, _ in noted or ()],
            "keys": [keys for _, _, keys in noted or ()],
            "guarded": bool(guarded),
            "capability": direction.capability,
            "forward": direction.way is Way.FORWARD,
        },
    )
    if advanced.rowcount == 0:
        now = standing(target, at.name)
        if now is None or (now.lsn, now.epoch) != (at.lsn, at.epoch):
            raise Overtaken(
                f"stream {at.name} is not at {lsn_text(at.lsn)} any more: another process has applied to it"
            )
        raise StreamBroken(
            f"{', '.join(guarded)} was written in the {direction.source}, which does not own it; nothing"
            f" of that is applied: see who did, undo it there, and {_way_on(direction)}"
        )
    if marker is not None:
        target.execute(
            "update strangler_sync.claim set marker = greatest(coalesce(marker, 0), %s) where capability = %s",
            [marker, direction.capability],
        )


def _way_on(direction: Direction) -> str:
    """Return what has a stream go on that met rows of who does not own; what a service owns cannot be begun anew."""
    name = direction.capability
    if direction.way is Way.REVERSE:
        return (
            "begin the sync anew; but where the service does own it (strangler status), the monolith's database was"
            f" restored from before that: undo nothing, and run strangler fence raise {name}, then strangler sync"
            f" refill {name}"
        )
    return (
        f"run strangler fence raise {name}; where the service owns it, strangler sync refill {name} undoes it and"
        " begins the streams anew"
    )


def refuse_unfenced(target: psycopg.Connection, direction: Direction) -> None:
    """Raise ``SyncError`` for a transaction that has written rows of ``direction`` where others may write them, too."""
    asked = {"guarded": True, "capability": direction.capability, "forward": direction.way is Way.FORWARD}
    row = target.execute(f"select {_ALLOWED}".encode(), asked).fetchone()
    if row is None or not row[0]:
        raise SyncError(
            f"the {direction.stack} owns {direction.capability} now, and no rows are written there from the other side;"
            " nothing of that stays"
        )


def stop(target: psycopg.Connection, name: str, why: str) -> None:
    """Note why a stream does not go on, for whoever asks."""
    target.execute("update strangler_sync.stream set stopped = %s where name = %s", [why, name])


def keep_outline(target: psycopg.Connection, name: str, outline: Jsonb) -> None:
    """Keep what the source's tables are like, for whoever follows the stream next."""
    target.execute("update strangler_sync.stream set outline = %s where name = %s", [outline, name])


def keep_timeline(target: psycopg.Connection, name: str, timeline: int) -> None:
    """Keep that a stream goes on from a server that was promoted."""
    target.execute("update strangler_sync.stream set timeline = %s where name = %s", [timeline, name])


def end(target: psycopg.Connection, name: str, epoch: int, why: str) -> None:
    """Have nothing of a stream applied any more, not even by who does so now; its position stays, for who asks."""
    target.execute(
        "update strangler_sync.stream set epoch = %s, given_up = %s, stopped = %s where name = %s",
        [epoch, why, why, name],
    )


def give_up(target: psycopg.Connection, name: str, why: str) -> None:
    """Note that a stream never goes on, and why."""
    target.execute("update strangler_sync.stream set given_up = %s, stopped = %s where name = %s", [why, why, name])
