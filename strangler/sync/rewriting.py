"""Rows read anew and written beside a stream that goes on, without setting back what it has brought.

What verify finds is a row of which nothing more is to come. It is written in a transaction that holds the stream's row,
so that the applier stands still, under an origin that the stream back leaves out. The row must be of the stream's own
time: an older one would undo what was applied, and a newer one would meet changes that it has already, whose key may
have moved on by then. Both are shut out by looking twice:

- the versions of the rows on both sides are noted, the source's in a snapshot after whatever wrote there has ended;
- the stream passes the position after that snapshot: all that it has seen is applied;
- the stream's row is taken, and once more whatever wrote at the source has ended: all that was applied is visible in a
  second snapshot, in which rows are read.

Where the versions are the same, nobody has changed the row between: as it was in either snapshot, so it is at the
stream's position. Others are looked at again, and most of them the stream has mended by then.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

import psycopg
from psycopg import sql

from strangler.sync import changed, install, reacting, transfer, watermark
from strangler.sync.catalogue import Table, identifier
from strangler.sync.check import policies_of
from strangler.sync.direction import Direction
from strangler.sync.ending import as_streamed, snapshot
from strangler.sync.errors import RightMissing, SyncError, TimedOut
from strangler.sync.filling import BUSY_S, MORE_ORIGINS, PATIENCE_S, catch_up, origins
from strangler.sync.install import make_origin, writers
from strangler.sync.mapping import Key, Projection, cast
from strangler.sync.referring import Policy
from strangler.sync.refusal import Refused

Wanted = Mapping[str, Sequence[Key]]
"""Keys of rows by target table."""

# The stream stands still so long at most; a transaction that writes for longer is waited for outside.
_HELD_S: Final = 2.0
_AT_ONCE: Final = 500
_RUNNING: Final = """
select from pg_snapshot_xip(pg_current_snapshot()) as running (xid)
where xid <= %s::xid8 and not exists (
  select from pg_stat_activity
  where application_name = %s and backend_xid::text::bigint = xid::text::bigint %% (1::bigint << 32))
limit 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """How many rows of the target were inserted, updated and deleted."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def __add__(self, other: Rewritten) -> Rewritten:
        return Rewritten(
            inserted=self.inserted + other.inserted,
            updated=self.updated + other.updated,
            deleted=self.deleted + other.deleted,
        )

    @property
    def rows(self) -> int:
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Rows of one table that may be written: those that the source has, and those that it has not.

    ``policies`` are what becomes of rows from outside that refer to the latter.
    """

    projection: Projection
    present: list[Key]
    gone: list[Key]
    policies: tuple[Policy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """The versions of one table's rows on both sides, of those that there are."""

    source: Mapping[Key, str]
    target: Mapping[Key, str]


def rewrite(direction: Direction, wanted: Wanted) -> Iterator[Rewritten]:
    """Make the ``wanted`` rows of the target what the mapping makes of the source's; yield what was done each time.

    Rows that change all the time are left in the end: the stream brings them. Raises ``TimedOut`` naming transactions
    that write for too long, ``SyncError`` when the stream does not move, when somebody else rewrites too, or when the
    target refuses a row.
    """
    until = time.monotonic() + PATIENCE_S
    with direction.open() as (source, target), tagged(target, direction.name):
        install.bring_up(target)
        reacting.note(target)
        target.execute("select set_config('application_name', %s, false)", [_unheard_of()])
        while any(wanted.values()) and time.monotonic() < until:
            done, wanted = _once(direction, source, target, wanted)
            yield done


def _unheard_of() -> str:
    """Return a name for a session that no other has, by which it is known where both ends are one server."""
    return f"strangler repair {uuid4().hex}"


@contextmanager
def tagged(target: psycopg.Connection, stream: str) -> Iterator[None]:
    """Write under an origin that is made for it, and dropped again: each keeps a place among the server's few."""
    name = origins(stream)[0]
    row = target.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", [name]).fetchone()
    if row is None or not row[0]:
        raise SyncError(f"rows of {stream} are rewritten by somebody else; see what is left when that is done")
    make_origin(target, name)
    try:
        target.execute("select pg_replication_origin_session_setup(%s)", [name])
        yield
    except psycopg.errors.ConfigurationLimitExceeded as exc:
        raise SyncError(f"the target's server has no room for another replication origin; {MORE_ORIGINS}") from exc
    finally:
        with suppress(psycopg.Error):
            target.execute("select pg_replication_origin_session_reset()")
        with suppress(psycopg.Error):
            target.execute("select pg_replication_origin_drop(%s)", [name])


def _once(
    direction: Direction, source: psycopg.Connection, target: psycopg.Connection, wanted: Wanted
) -> tuple[Rewritten, Wanted]:
    """Write the rows that stand still, and return how many, and which are left."""
    everything = direction.projections(source, target)
    policies = policies_of(direction, everything, target)
    projections = [each for each in everything if wanted.get(each.mapping.target)]
    before = _look(source, target, projections, wanted)
    catch_up(direction)
    with target.transaction():
        _hold(target, direction.name)
        # What the stream has applied may not be visible yet, while its transaction waits for a standby.
        if not _writers_end(source, target, _HELD_S):
            return Rewritten(), wanted
        with snapshot(source):
            now = {each.mapping.target: _looked(source, target, each, wanted) for each in projections}
            still = [_still(each, wanted, before, now) for each in projections]
            done = sum((_counted(each, now) for each in still), Rewritten())
            _write(source, target, [replace(each, policies=policies[each.projection.mapping.target]) for each in still])
            _note(source, target, direction.name, still)
            watermark.refuse_unfenced(target, direction)  # at last: what is written keeps its tables' locks
    written = {each.projection.mapping.target: {*each.present, *each.gone} for each in still}
    return done, {name: [key for key in keys if key not in written.get(name, ())] for name, keys in wanted.items()}


def _note(source: psycopg.Connection, target: psycopg.Connection, stream: str, still: Sequence[_Rows]) -> None:
    """Record what was written as the stream records what it changes: it is among what is compared next."""
    lines: list[changed.Line] = []
    for each in still:
        with _taking(each.projection):
            keys = as_streamed(source, each.projection, [*each.present, *each.gone])
        if keys:
            text = changed.written([tuple(value.encode() for value in key) for key in keys])
            lines.append((each.projection.mapping.target, len(keys), text.decode()))
    changed.note(target, stream, lines)


def _look(
    source: psycopg.Connection, target: psycopg.Connection, projections: Sequence[Projection], wanted: Wanted
) -> dict[str, _Looked]:
    """Look at both sides, at the target's first: what it has by then is visible in the source's snapshot."""
    there = {each.mapping.target: _there(target, each, wanted[each.mapping.target]) for each in projections}
    if not _writers_end(source, target, PATIENCE_S):
        raise TimedOut(
            f"transactions write in the source, {PATIENCE_S:g} s already, and what they changed cannot be known:"
            f" {writers(source)}; end them, or run this again at a quieter hour"
        )
    with snapshot(source):
        here = {each.mapping.target: _here(source, each, wanted[each.mapping.target]) for each in projections}
    return {name: _Looked(source=here[name], target=there[name]) for name in there}


def _looked(source: psycopg.Connection, target: psycopg.Connection, projection: Projection, wanted: Wanted) -> _Looked:
    keys = wanted[projection.mapping.target]
    return _Looked(source=_here(source, projection, keys), target=_there(target, projection, keys))


def _still(projection: Projection, wanted: Wanted, before: Mapping[str, _Looked], now: Mapping[str, _Looked]) -> _Rows:
    name = projection.mapping.target
    was, is_ = before[name], now[name]
    same = [
        key
        for key in wanted[name]
        if was.source.get(key) == is_.source.get(key) and was.target.get(key) == is_.target.get(key)
    ]
    return _Rows(
        projection=projection,
        present=[key for key in same if key in is_.source],
        gone=[key for key in same if key not in is_.source],
    )


def _counted(rows: _Rows, now: Mapping[str, _Looked]) -> Rewritten:
    there = now[rows.projection.mapping.target].target
    updated = sum(key in there for key in rows.present)
    return Rewritten(
        inserted=len(rows.present) - updated, updated=updated, deleted=sum(key in there for key in rows.gone)
    )


# --- standing still ---


def _hold(target: psycopg.Connection, stream: str) -> None:
    """Take the stream's row: the applier does so before anything else, and waits until this transaction ends."""
    query = "select copying, given_up from strangler_sync.stream where name = %s for no key update"
    row = target.execute(query, [stream]).fetchone()
    if row is None or row[0] or row[1]:
        raise SyncError(f"{stream} is not followed any more; nothing was written")


def _writers_end(source: psycopg.Connection, target: psycopg.Connection, patience_s: float) -> bool:
    """Wait until all transactions that write now have ended, but for the target's own; return whether they have."""
    row = source.execute("select pg_current_xact_id()::text").fetchone()
    asked = [row[0] if row else None, target.info.parameter_status("application_name")]
    until = time.monotonic() + patience_s
    while True:
        if source.execute(_RUNNING, asked).fetchone() is None:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(BUSY_S / 10)


# --- versions ---


def _here(source: psycopg.Connection, projection: Projection, keys: Sequence[Key]) -> dict[Key, str]:
    columns = tuple(projection.mapping.key.values())
    with _taking(projection):
        return _versions(source, projection.source, columns, keys, projection.condition)


@contextmanager
def _taking(projection: Projection) -> Iterator[None]:
    """Raise ``SyncError`` for a key that is of no value of the source's columns, wherever that is looked at."""
    try:
        yield
    except psycopg.DataError as exc:
        raise SyncError(
            f"{projection.target.name} has a key that {projection.source.name} cannot have: {Refused.of(exc)}; delete"
            " that row in the service's database"
        ) from exc


def _there(target: psycopg.Connection, projection: Projection, keys: Sequence[Key]) -> dict[Key, str]:
    return _versions(target, projection.target, tuple(projection.mapping.key), keys, sql.SQL("true"))


def _versions(
    connection: psycopg.Connection,
    table: Table,
    columns: Sequence[str],
    keys: Sequence[Key],
    condition: sql.Composable,
) -> dict[Key, str]:
    query = sql.SQL(
        "select listed.key, there.strangler_version from {listed} join (select {columns},"
        " concat_ws(' ', tableoid, ctid, xmin) as strangler_version from {table} where {condition}) as there on {same}"
    ).format(
        listed=_listed(table, columns, keys),
        columns=transfer.names(columns),
        table=identifier(table.name),
        condition=condition,
        same=_same(columns),
    )
    return {tuple(key): version for key, version in connection.execute(query)}


def _listed(table: Table, columns: Sequence[str], keys: Sequence[Key]) -> sql.Composed:
    """Return keys as rows: ``key`` as it was given, and its parts in the types of the table's ``columns``."""
    parts = [
        sql.SQL("{} as {}").format(
            cast(sql.SQL("key[{}]").format(sql.Literal(number)), table.columns[name].type),
            sql.Identifier(f"k{number}"),
        )
        for number, name in enumerate(columns, 1)
    ]
    return sql.SQL(
        "(select key, {parts} from (select array(select jsonb_array_elements_text(each)) as key"
        " from jsonb_array_elements({keys}::text::jsonb) as each) as texts) as listed"
    ).format(parts=sql.SQL(", ").join(parts), keys=sql.Literal(json.dumps(keys)))


def _same(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(" and ").join(
        sql.SQL("there.{} = listed.{}").format(sql.Identifier(name), sql.Identifier(f"k{number}"))
        for number, name in enumerate(columns, 1)
    )


# --- writing ---


def _write(source: psycopg.Connection, target: psycopg.Connection, tables: Sequence[_Rows]) -> None:
    """Write parents before children, then delete children before parents, as foreign keys have it."""
    try:
        try:
            with target.transaction():
                for each in tables:
                    _overwrite(source, target, each)
                for each in reversed(tables):
                    _let_go(target, each)
        except psycopg.errors.UniqueViolation:
            _exchange(source, target, tables)
    except (psycopg.IntegrityError, psycopg.errors.RaiseException) as exc:
        raise SyncError(f"the target refuses a row: {Refused.of(exc)}; nothing of it was written") from exc


def _exchange(source: psycopg.Connection, target: psycopg.Connection, tables: Sequence[_Rows]) -> None:
    """Write rows that have each other's unique values: all of them go first, and no foreign key looks at that."""
    act_as(target, "replica")
    for each in tables:
        _delete(target, each.projection, each.present)
    act_as(target, "origin")
    for each in reversed(tables):
        _let_go(target, each)
    for each in tables:
        _overwrite(source, target, each)


def act_as(target: psycopg.Connection, role: str) -> None:
    """Have the rest of the transaction be in a replication role. Raises ``RightMissing`` with the statement."""
    try:
        target.execute(sql.SQL("set local session_replication_role = {}").format(sql.SQL(role)))
    except psycopg.errors.InsufficientPrivilege as exc:
        name = sql.Identifier(target.info.user).as_string(target)
        raise RightMissing(
            "rows have each other's unique values, and are to go for a moment while others refer to them; run in the"
            f" target as a superuser: grant set on parameter session_replication_role to {name}"
        ) from exc


def _overwrite(source: psycopg.Connection, target: psycopg.Connection, rows: _Rows) -> None:
    if not rows.present:
        return
    projection = rows.projection
    first, *others = [rows.present[at : at + _AT_ONCE] for at in range(0, len(rows.present), _AT_ONCE)]
    transfer.stage(source, target, projection, projection.rows_of(first))
    for keys in others:
        transfer.pipe(source, target, projection, projection.rows_of(keys), transfer.STAGING)
    sets = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in projection.mapping.forward]
    target.execute(
        sql.SQL(
            "insert into {table} ({columns}) overriding system value select {columns} from {staging}"
            " on conflict ({key}) do {update}"
        ).format(
            table=identifier(projection.target.name),
            columns=transfer.names(projection.columns),
            staging=transfer.STAGING,
            key=transfer.names(projection.mapping.key),
            update=sql.SQL("update set {}").format(sql.SQL(", ").join(sets)) if sets else sql.SQL("nothing"),
        )
    )


def _let_go(target: psycopg.Connection, rows: _Rows) -> None:
    """Delete the rows that the source has not, after what is declared of those who refer to them."""
    key = tuple(rows.projection.mapping.key)
    parts = [
        sql.SQL("listed.{} as {}").format(sql.Identifier(f"k{number}"), sql.Identifier(name))
        for number, name in enumerate(key, 1)
    ]
    listed = _listed(rows.projection.target, key, rows.gone)
    gone = sql.SQL("select {} from {}").format(sql.SQL(", ").join(parts), listed)
    if rows.gone:
        carry_out(target, rows.projection, rows.policies, gone)
    _delete(target, rows.projection, rows.gone)


def carry_out(
    target: psycopg.Connection, projection: Projection, policies: Sequence[Policy], gone: sql.Composable
) -> None:
    """Do what is declared of rows outside that refer to those whose keys ``gone`` selects. Raises ``SyncError``."""
    key = tuple(projection.mapping.key)
    for policy in policies:
        if policy.on_delete.writes:
            target.execute(policy.written(gone, key))
            continue
        refused = target.execute(policy.refused(gone, key)).fetchone()
        if refused is not None:
            named = f"{projection.target.name} ({', '.join(refused[0])})"
            raise SyncError(f"{policy.refusal(named)}; nothing of it was written")


def _delete(target: psycopg.Connection, projection: Projection, keys: Sequence[Key]) -> None:
    if not keys:
        return
    columns = tuple(projection.mapping.key)
    target.execute(
        sql.SQL("delete from {table} as there using {listed} where {same}").format(
            table=identifier(projection.target.name),
            listed=_listed(projection.target, columns, keys),
            same=_same(columns),
        )
    )
