"""How far each stream is, and what it costs its source, asked of the databases themselves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg

from strangler.project import Project
from strangler.sync import transfer, watermark
from strangler.sync.direction import Direction, Way, directions
from strangler.sync.errors import Unreachable

_STREAM = """
select lsn::text, copying, heartbeat_at, applied_at, transactions, changes, stopped
from strangler_sync.stream where name = %s
"""
_SLOT = """
select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %(lsn)s)::bigint,
       extract(epoch from clock_timestamp() - %(heartbeat)s::timestamptz)::float8,
       (select active from pg_replication_slots where slot_name = %(name)s),
       (select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint
        from pg_replication_slots where slot_name = %(name)s),
       (select wal_status from pg_replication_slots where slot_name = %(name)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One stream. ``lag_bytes`` is how much WAL is still to be read, ``lag_s`` how old the last heartbeat is that came.

    ``kept_bytes`` is how much WAL the source keeps for it, ``running`` whether anybody reads. ``problem`` tells why it
    does not go on, or why that cannot be known.
    """

    capability: str
    way: Way
    begun: bool
    copying: bool = False
    position: str = ""
    lag_bytes: int | None = None
    lag_s: float | None = None
    applied_at: datetime | None = None
    transactions: int = 0
    changes: int = 0
    running: bool = False
    kept_bytes: int | None = None
    wal: str | None = None
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        applied = self.applied_at.isoformat() if self.applied_at else None
        return {**asdict(self), "way": str(self.way), "applied_at": applied}


def status(project: Project) -> list[Status]:
    """Return where every stream of ``project`` stands, those included that nobody has begun."""
    chosen = [each for files in project.capabilities.values() if files.tables for each in directions(files, project)]
    return [_of(each) for each in chosen]


def _of(direction: Direction) -> Status:
    try:
        with direction.open() as (source, target):
            return _between(direction, source, target)
    except (Unreachable, psycopg.Error) as exc:
        return Status(
            capability=direction.capability, way=direction.way, begun=False, problem=str(exc).strip().splitlines()[0]
        )


def _between(direction: Direction, source: psycopg.Connection, target: psycopg.Connection) -> Status:
    row = target.execute(_STREAM, [direction.name]).fetchone() if watermark.exists(target) else None
    if row is None:
        return Status(capability=direction.capability, way=direction.way, begun=False)
    position, copying, heartbeat, applied, transactions, changes, stopped = row
    asked = {"lsn": position, "heartbeat": heartbeat, "name": direction.name}
    lag, seconds, active, kept, wal = source.execute(_SLOT, asked).fetchone() or (None,) * 5
    return Status(
        capability=direction.capability,
        way=direction.way,
        begun=True,
        copying=copying,
        position=position,
        lag_bytes=lag,
        lag_s=seconds,
        applied_at=applied,
        transactions=transactions,
        changes=changes,
        running=bool(active),
        kept_bytes=kept,
        wal=wal,
        problem=stopped or (None if wal is not None else f"slot {direction.name} is gone"),
    )


def is_streamed(direction: Direction) -> bool:
    """Return whether the stream was begun. Raises ``Unreachable``."""
    with transfer.open_database(direction.target_url, direction.target) as target:
        return watermark.exists(target) and watermark.standing(target, direction.name) is not None
