"""How far each stream is, and what it costs its source, asked of the databases themselves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from strangler.project import CapabilityFiles, Project
from strangler.sync import record, transfer, verdicts, watermark
from strangler.sync.catalogue import identifier
from strangler.sync.direction import Direction, Way, directions
from strangler.sync.errors import Unreachable
from strangler.sync.holding import Held, held
from strangler.sync.plan import Progress
from strangler.sync.verdicts import NOTHING_KNOWN, Last

FRESH_S: Final = 10.0
"""A heartbeat is written every second: when the last one that came is older than this, the stream does not follow."""
_PATIENCE_S: Final = 3.0
_LOOK_S: Final = 0.1
_STREAM: Final = """
select lsn::text, copying, heartbeat_at, heartbeat_xid, applied_at, transactions, changes, stopped, given_up
from strangler_sync.stream where name = %s
"""
_SLOT: Final = """
select greatest(0, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %(lsn)s))::bigint,
       extract(epoch from clock_timestamp() - %(heartbeat)s::timestamptz)::float8,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint - %(xid)s::bigint,
       s.active, pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint, s.wal_status
from (values (1)) as one left join pg_replication_slots s on s.slot_name = %(name)s
"""
# Counting is for verify: an estimate costs nothing, and shows a table that stays empty. A partitioned table's rows are
# its parts', whose numbers are kept up to date without being asked to.
_ESTIMATE: Final = """
select sum(greatest(c.reltuples, coalesce(s.n_live_tup, 0)))::bigint
from pg_class c left join pg_stat_user_tables s on s.relid = c.oid
where c.relkind <> 'p' and (c.oid = to_regclass(%(table)s)
                            or c.oid in (select relid from pg_partition_tree(to_regclass(%(table)s)) where isleaf))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One stream. ``lag_bytes`` is how much WAL is still to be read, ``lag_s`` how old the last heartbeat is that came,
    ``lag_transactions`` how many the whole server has begun since.

    ``kept_bytes`` is how much WAL the source keeps for it, ``held`` which transactions have it keep more, ``running``
    whether anybody reads. ``problem`` tells why it does not go on, or why that cannot be known.
    """

    way: Way
    begun: bool = False
    copying: bool = False
    position: str = ""
    lag_bytes: int | None = None
    lag_s: float | None = None
    lag_transactions: int | None = None
    applied_at: datetime | None = None
    transactions: int = 0
    changes: int = 0
    running: bool = False
    kept_bytes: int | None = None
    held: Held | None = None
    problem: str | None = None

    @property
    def follows(self) -> bool:
        """Whether what the source has reaches the target within moments."""
        fresh = self.lag_s is not None and self.lag_s <= FRESH_S
        return self.begun and self.running and fresh and self.problem is None

    def to_json(self) -> dict[str, Any]:
        applied = self.applied_at.isoformat() if self.applied_at else None
        kept_by = self.held and self.held.to_json()
        return {
            **asdict(self),
            "way": str(self.way),
            "applied_at": applied,
            "held": kept_by,
            "follows": self.follows,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """A capability's two streams, the copy that is under way, and about how many rows each table has on either side.

    ``verified`` is what the last comparisons found.
    """

    capability: str
    forward: Status
    back: Status
    copy: Progress | None
    tables: Mapping[str, tuple[int | None, int | None]]
    verified: Last = NOTHING_KNOWN

    def to_json(self) -> dict[str, Any]:
        copy = self.copy and {"rows": self.copy.rows, "rows_done": self.copy.rows_done}
        return {
            "capability": self.capability,
            "forward": self.forward.to_json(),
            "reverse": self.back.to_json(),
            "copy": copy,
            "verified": self.verified.whole and self.verified.whole.to_json(),
            "verified_in_part": self.verified.part and self.verified.part.to_json(),
            "tables": {
                name: {"source_rows": source, "target_rows": target, "estimated": True}
                for name, (source, target) in self.tables.items()
            },
        }


def status(project: Project, names: Sequence[str] = ()) -> list[Sync]:
    """Return where the capabilities ``names`` stand, all that have tables without any."""
    chosen = [each for each in project.capabilities.values() if each.tables and (not names or each.name in names)]
    return [_sync(files, project) for files in chosen]


def _sync(files: CapabilityFiles, project: Project) -> Sync:
    forward, back = directions(files, project)
    copy, verified = _recorded(files, project)
    return Sync(
        capability=files.name,
        forward=of(forward),
        back=of(back),
        copy=copy,
        tables=_tables(files, forward),
        verified=verified,
    )


def of(direction: Direction) -> Status:
    """Return where one stream stands, whatever state its ends are in."""
    try:
        with direction.open() as (source, target):
            return _between(direction, source, target)
    except (Unreachable, psycopg.Error) as exc:
        return Status(way=direction.way, problem=str(exc).strip().splitlines()[0])


def once_running(direction: Direction) -> Status:
    """Return where one stream stands; one that begins its session anew, as at the end of a copy, is waited for."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        found = of(direction)
        if found.running or not found.begun or time.monotonic() > until:
            return found
        time.sleep(_LOOK_S)


def _between(direction: Direction, source: psycopg.Connection, target: psycopg.Connection) -> Status:
    row = target.execute(_STREAM, [direction.name]).fetchone() if watermark.exists(target) else None
    if row is None:
        return Status(way=direction.way)
    position, copying, heartbeat, xid, applied, transactions, changes, stopped, given_up = row
    asked = {"lsn": position, "heartbeat": heartbeat, "xid": xid, "name": direction.name}
    lag, seconds, begun_since, active, kept, wal = source.execute(_SLOT, asked).fetchone() or (None,) * 6
    gone = None if wal is not None else f"slot {direction.name} is gone: remove this sync and start it anew"
    lost = "the server has given up the slot: remove this sync and start it anew" if wal == "lost" else None
    return Status(
        way=direction.way,
        begun=True,
        copying=copying,
        position=position,
        lag_bytes=lag,
        lag_s=seconds,
        lag_transactions=begun_since,
        applied_at=applied,
        transactions=transactions,
        changes=changes,
        running=bool(active),
        kept_bytes=kept,
        held=held(source, xid),
        problem=given_up or gone or lost or stopped,
    )


def _recorded(files: CapabilityFiles, project: Project) -> tuple[Progress | None, Last]:
    """Return what the control database has on a capability; nothing where it does not answer."""
    try:
        with transfer.open_database(project.control.database.reveal(), "control database") as control:
            return record.under_way(control, files.name), verdicts.last(control, files.name)
    except (Unreachable, psycopg.Error):
        return None, NOTHING_KNOWN


def _tables(files: CapabilityFiles, forward: Direction) -> dict[str, tuple[int | None, int | None]]:
    try:
        with forward.open() as ends:
            return {
                each.target: (_estimate(ends[0], each.source), _estimate(ends[1], each.target)) for each in files.tables
            }
    except (Unreachable, psycopg.Error):
        return {}


def _estimate(connection: psycopg.Connection, table: str) -> int | None:
    row = connection.execute(_ESTIMATE, {"table": identifier(table).as_string(connection)}).fetchone()
    return row[0] if row else None


def is_streamed(direction: Direction) -> bool:
    """Return whether the stream was begun. Raises ``Unreachable``."""
    with transfer.open_database(direction.target_url, direction.target) as target:
        return watermark.exists(target) and watermark.standing(target, direction.name) is not None
