"""How far each stream is, and what it costs its source, asked of the databases themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

import psycopg

from strangler.capability import Stack
from strangler.ledger.lasting import Lasting, lasting
from strangler.project import CapabilityFiles, Project
from strangler.sync import fence, reacting, record, transfer, verdicts, watermark
from strangler.sync.catalogue import identifier
from strangler.sync.direction import Direction, Way, directions
from strangler.sync.errors import Unreachable
from strangler.sync.fence import Claim
from strangler.sync.holding import Held, held
from strangler.sync.plan import Progress
from strangler.sync.reacting import Reacting
from strangler.sync.sessions import Sessions
from strangler.sync.verdicts import NOTHING_KNOWN, Last

FRESH_S: Final = 10.0
"""A heartbeat is written every second: when the last one that came is older than this, the stream does not follow."""
_PATIENCE_S: Final = 3.0
_LOOK_S: Final = 0.1
_ABREAST: Final = 32
_ANEW: Final = "strangler sync refill fills the tables from the owner's; or remove this sync and start it anew"
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
    whether anybody reads, ``reactions`` what waits in the target to be reacted to. ``problem`` tells why it does not go
    on, or why that cannot be known.
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
    reactions: tuple[Reacting, ...] = ()
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

    ``verified`` is what the last comparisons found, ``fences`` are those of the stacks' databases, where these answer.
    ``lasting`` is how long a move of the owner has not ended, None where the control database does not answer.
    """

    capability: str
    forward: Status
    back: Status
    copy: Progress | None
    tables: Mapping[str, tuple[int | None, int | None]]
    verified: Last = NOTHING_KNOWN
    fences: Mapping[Stack, Claim] = field(default_factory=dict)
    lasting: Lasting | None = None

    def to_json(self) -> dict[str, Any]:
        copy = self.copy and {"rows": self.copy.rows, "rows_done": self.copy.rows_done}
        return {
            "capability": self.capability,
            "forward": self.forward.to_json(),
            "reverse": self.back.to_json(),
            "copy": copy,
            "verified": self.verified.whole and self.verified.whole.to_json(),
            "verified_in_part": self.verified.part and self.verified.part.to_json(),
            "moving_s": self.lasting and self.lasting.moving_s,
            "unfenced_s": self.lasting and self.lasting.unfenced_s,
            "fences": {
                str(stack): {"raised": claim.raised, "observing": claim.observing}
                for stack, claim in self.fences.items()
            },
            "tables": {
                name: {"source_rows": source, "target_rows": target, "estimated": True}
                for name, (source, target) in self.tables.items()
            },
        }


def status(project: Project, names: Sequence[str] = ()) -> list[Sync]:
    """Return where the capabilities ``names`` stand, all that have tables without any."""
    chosen = [each for each in project.capabilities.values() if each.tables and (not names or each.name in names)]
    # At once: one that is away is waited for for 5 s, and Prometheus gives all of them 10.
    with ThreadPoolExecutor(_ABREAST) as hands:
        return [told() for told in [_asked(files, project, hands) for files in chosen]]


def _asked(files: CapabilityFiles, project: Project, hands: Executor) -> Callable[[], Sync]:
    """Have all looked at that tells where a capability stands; return what waits for that, and tells it."""
    ahead, back = directions(files, project)
    recorded, there = hands.submit(_recorded, files, project), hands.submit(_there, files, ahead)
    streams = [hands.submit(of, each) for each in (ahead, back)]

    def told() -> Sync:
        (copy, verified, move), (tables, fences) = recorded.result(), there.result()
        return Sync(
            capability=files.name,
            forward=streams[0].result(),
            back=streams[1].result(),
            copy=copy,
            tables=tables,
            verified=verified,
            fences=fences,
            lasting=move,
        )

    return told


def of(direction: Direction, sessions: Sessions | None = None) -> Status:
    """Return where one stream stands, whatever state its ends are in; asked in ``sessions`` where there are some."""
    try:
        if sessions is not None:
            source = sessions.at(direction.source_url, direction.source)
            return _between(direction, source, sessions.at(direction.target_url, direction.target))
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
    gone = None if wal is not None else f"slot {direction.name} is gone: {_ANEW}"
    lost = f"the server has given up the slot: {_ANEW}" if wal == "lost" else None
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
        reactions=reacting.standing(target, direction),
        problem=given_up or gone or lost or stopped,
    )


def _recorded(files: CapabilityFiles, project: Project) -> tuple[Progress | None, Last, Lasting | None]:
    """Return what the control database has on a capability; nothing where it does not answer."""
    try:
        with transfer.open_database(project.control.database.reveal(), "control database") as control:
            name = files.name
            return record.under_way(control, name), verdicts.last(control, name), lasting(control, name)
    except (Unreachable, psycopg.Error):
        return None, NOTHING_KNOWN, None


def _there(
    files: CapabilityFiles, forward: Direction
) -> tuple[dict[str, tuple[int | None, int | None]], dict[Stack, Claim]]:
    """Return about how many rows each table has on either side, and both fences."""
    try:
        with forward.open() as ends:
            tables = {
                each.target: (_estimate(ends[0], each.source), _estimate(ends[1], each.target)) for each in files.tables
            }
            claims = {stack: fence.standing(end, files.name) for stack, end in zip(Stack, ends, strict=True)}
    except (Unreachable, psycopg.Error):
        return {}, {}
    return tables, {stack: claim for stack, claim in claims.items() if claim is not None}


def _estimate(connection: psycopg.Connection, table: str) -> int | None:
    row = connection.execute(_ESTIMATE, {"table": identifier(table).as_string(connection)}).fetchone()
    return row[0] if row else None


def is_streamed(direction: Direction) -> bool:
    """Return whether the stream was begun. Raises ``Unreachable``."""
    with transfer.open_database(direction.target_url, direction.target) as target:
        return watermark.exists(target) and watermark.standing(target, direction.name) is not None
