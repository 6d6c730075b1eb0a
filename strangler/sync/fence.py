"""The fence of a capability in one database: raised, nobody but the sync writes to its tables; lowered, everybody may.

Raising waits for who writes already and keeps who comes meanwhile waiting, for as long as its budget is at most; it
never waits for a reader, nor does a reader for it. Since the triggers are enabled under a lock that no writer shares,
and the marker is written within the same transaction, all that was ever written under the fence commits before the
marker does: who has applied the marker's transaction has applied all of it.

Who acts does so at an epoch, and only while the claim of this database stands at it: a process that was stopped and
wakes later, when somebody else has claimed another one, is refused here and not by a clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from strangler.capability import Stack
from strangler.sync import fenced
from strangler.sync.blocking import blockers, named
from strangler.sync.errors import StaleEpoch, SyncError, TimedOut, Unfenced
from strangler.sync.fenced import Catalogue, Fires
from strangler.sync.fencing import Fence, as_role, exists, make_missing, may_act, observing, read, refusing, replacing
from strangler.sync.intake import MARKER
from strangler.sync.pgoutput import lsn_of
from strangler.sync.rights import rights

CLAIM_S: Final = 5.0
"""So long whoever claims waits for who holds the claim: an applier for an instant, who raises a fence for its pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who may touch a fence: whoever acts on ``epoch``. ``owner`` is the stack that may write, or is to.

    ``raised_on`` is the epoch on which it was raised, None while it is not.
    """

    capability: str
    epoch: int
    owner: Stack
    raised_on: int | None
    observing: bool

    @property
    def raised(self) -> bool:
        return self.raised_on is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What raising or lowering a fence came to.

    ``marker`` is where its message begins, None where it was lowered. ``position`` is in the WAL after its commit, and
    so after all that was written before. ``locked_ms`` is how long it waited for locks, ``ms`` how long all of it took.
    """

    epoch: int
    marker: int | None
    position: int
    locked_ms: float
    ms: float


def standing(connection: psycopg.Connection, capability: str) -> Claim | None:
    """Return the claim on a capability's fence, None where it has none."""
    return _claim(connection, capability) if exists(connection) else None


def claim(connection: psycopg.Connection, capability: str, epoch: int, budget_s: float = CLAIM_S) -> None:
    """Make ``epoch`` the one at which this fence may be touched: who acts on an older one is refused from here on.

    Raises ``StaleEpoch`` where a newer one was claimed already, ``TimedOut`` where somebody holds the claim for longer
    than ``budget_s``.
    """
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(max(1, int(1000 * budget_s)))))
            claimed = connection.execute(
                "update strangler_sync.claim set epoch = %(epoch)s where capability = %(of)s and epoch <= %(epoch)s",
                {"epoch": epoch, "of": capability},
            )
    except psycopg.errors.LockNotAvailable as exc:
        raise TimedOut(f"somebody holds the claim of {capability} for {budget_s:.1f} s already") from exc
    if claimed.rowcount == 0:
        raise _stale(_claim(connection, capability), capability, epoch)


def hold(connection: psycopg.Connection, fence: Fence, epoch: int) -> None:
    """Keep a raised fence as it is until the transaction ends.

    Raises ``StaleEpoch`` where its claim is not at ``epoch``, ``Unfenced`` where it is not raised.
    """
    patience = sql.SQL("set local lock_timeout = {0}; set local idle_in_transaction_session_timeout = {0}")
    connection.execute(patience.format(sql.Literal(int(1000 * CLAIM_S))))
    if not _hold(connection, fence, epoch).raised:
        raise Unfenced(f"the fence of {fence.capability} in the database of the {fence.stack} is not raised")


def marker_seen(connection: psycopg.Connection, capability: str) -> int | None:
    """Return the epoch of the last marker that was applied here, with all that was written before it."""
    row = connection.execute("select marker from strangler_sync.claim where capability = %s", [capability]).fetchone()
    return row[0] if row else None


def raise_fence(connection: psycopg.Connection, fence: Fence, *, epoch: int, owner: Stack, budget_s: float) -> Moved:
    """Lock every writer but the sync out, and write the marker; what is raised is raised again as it is.

    On the same epoch that is refused where what it stands on has changed since: lower it first. ``owner`` is told to
    whoever is refused: the stack that may write, or is to. Raises ``StaleEpoch``, ``TimedOut`` naming whom it waited
    for beyond ``budget_s``, ``Unfenced`` with all that would let writes pass, ``RightMissing``; then nothing is raised
    that was not.
    """
    began = time.monotonic()
    with _moving(connection, fence, began + budget_s) as locks:
        found = _hold(connection, fence, epoch)
        locks.take(connection, fence)
        if found.raised_on == epoch:
            _refuse(fence, "has not held", drift(connection, fence))
        body = refusing(connection, fence, epoch, owner)
        connection.execute(replacing(fence, body))
        make_missing(connection, fence, locks.seen)
        _fire(connection, locks.seen, Fires.ALWAYS)
        seen = read(connection, fence)
        _refuse(fence, "would not hold", fenced.faults(seen, body, Fires.ALWAYS))
        marker = _emit(connection, fence.capability, epoch)
        connection.execute(
            "update strangler_sync.claim set raised = true, observing = false, owner = %s, catalogue = %s,"
            " raised_on = epoch, raised_at = case when raised then raised_at else clock_timestamp() end"
            " where capability = %s",
            [owner, Jsonb(seen.to_json()), fence.capability],
        )
    return _moved(connection, epoch, marker, began, locks)


def lower_fence(connection: psycopg.Connection, fence: Fence, *, epoch: int, budget_s: float) -> Moved:
    """Let everybody write again, at the epoch that is claimed. Raises as ``raise_fence`` does, but not ``Unfenced``.

    One that is not raised is left alone, without a lock: whoever kept it from being raised may write still, and all
    others would wait behind who lowers it.
    """
    began = time.monotonic()
    with _moving(connection, fence, began + budget_s) as locks:
        if _hold(connection, fence, epoch).raised:
            locks.take(connection, fence, _kept(connection, fence))
            _fire(connection, locks.seen, Fires.NEVER)
            connection.execute(
                "update strangler_sync.claim set raised = false, observing = false, raised_at = null, raised_on = null,"
                " catalogue = null where capability = %s",
                [fence.capability],
            )
    return _moved(connection, epoch, None, began, locks)


def observe(connection: psycopg.Connection, fence: Fence, *, on: bool, budget_s: float) -> None:
    """Have every statement told that writes to the tables and is not the sync's, or no more of them; all pass.

    Each is a message in the WAL, not transactional, with the prefix ``OBSERVED`` and what ``observe.sql`` says as JSON.
    Raises ``SyncError`` while the fence is raised, ``TimedOut``, ``RightMissing``.
    """
    with _moving(connection, fence, time.monotonic() + budget_s) as locks:
        found = _claim(connection, fence.capability, " for update")
        if found is None or found.raised:
            raise SyncError(
                f"the fence of {fence.capability} is {'raised' if found else 'not there'}: nobody passes it"
            )
        if on:
            _refuse_silence(connection)
        locks.take(connection, fence)
        body = observing(connection, fence) if on else refusing(connection, fence, found.epoch, found.owner)
        connection.execute(replacing(fence, body))
        make_missing(connection, fence, locks.seen)
        _fire(connection, locks.seen, Fires.ALWAYS if on else Fires.NEVER)
        connection.execute(
            "update strangler_sync.claim set observing = %s where capability = %s", [on, fence.capability]
        )


def drift(connection: psycopg.Connection, fence: Fence) -> list[str]:
    """Return what has changed since the fence was raised, and may have let a write pass; none while it is not."""
    kept = _kept(connection, fence)
    return [] if kept is None else list(fenced.drift(kept, read(connection, fence, kept.tables)))


def _kept(connection: psycopg.Connection, fence: Fence) -> Catalogue | None:
    """Return what the catalogue was like when the fence was raised, None while it is not."""
    query = "select catalogue from strangler_sync.claim where capability = %s and raised"
    row = connection.execute(query, [fence.capability]).fetchone()
    return None if row is None else Catalogue.of_json(row[0])


# --- under lock ---


class _Locks:
    """All of a fence's tables, locked against writers one after another, and what they are like from then on."""

    def __init__(self, until: float) -> None:
        self._until = until
        self.seconds = 0.0
        self.seen = Catalogue(names={}, tables={}, function=None)

    def take(self, connection: psycopg.Connection, fence: Fence, kept: Catalogue | None = None) -> None:
        """Lock in the order of the tables' numbers, with all parts that each has: in the same one, whoever does.

        What was ``kept`` is looked at, too: a part that was detached bears the fence still.
        """
        began = time.monotonic()
        before = read(connection, fence)
        roots = {oid: each for oid, each in fenced.fenced(before).items() if each.root == oid}
        may_act(connection, {each.owner: each.name for each in roots.values()})
        for owner, tables in groupby(roots.values(), lambda each: each.owner):
            names = sql.SQL(", ").join([sql.SQL(each.name) for each in tables])
            lock = sql.SQL("lock table {} in share row exclusive mode").format(names)
            as_role(connection, owner, [*self.patience(), lock])
        self.seen = read(connection, fence, kept.tables if kept else ())
        self.seconds = time.monotonic() - began
        if self.seen.names != before.names:
            raise Unfenced(f"a table of {fence.capability} was replaced by another just now; try again")

    def patience(self) -> Sequence[sql.Composed]:
        left = sql.Literal(max(1, int(1000 * (self._until - time.monotonic()))))
        # A statement that locks several tables and parts waits for each of them, so it is bounded, too.
        return [
            sql.SQL("set local lock_timeout = {}").format(left),
            sql.SQL("set local statement_timeout = {}").format(left),
            # Whoever is stopped meanwhile holds all these locks: its session is ended, and they with it.
            sql.SQL("set local idle_in_transaction_session_timeout = {}").format(left),
        ]


@contextmanager
def _moving(connection: psycopg.Connection, fence: Fence, until: float) -> Iterator[_Locks]:
    """Yield what locks, in a transaction that has until then."""
    locks = _Locks(until)
    try:
        with rights(connection), connection.transaction():
            connection.execute(sql.SQL("; ").join(locks.patience()))
            yield locks
    except (
        psycopg.errors.LockNotAvailable,
        psycopg.errors.QueryCanceled,
        psycopg.errors.DeadlockDetected,
    ) as exc:
        who = named(blockers(connection, list(fenced.fenced(read(connection, fence)))))
        raise TimedOut(
            f"the fence of {fence.capability} in the database of the {fence.stack} waited for {who}; nothing is changed"
        ) from exc


def _hold(connection: psycopg.Connection, fence: Fence, epoch: int) -> Claim:
    """Lock the claim, and return it. Raises ``StaleEpoch`` where it is not at ``epoch``."""
    found = _claim(connection, fence.capability, " for update")
    if found is None or found.epoch != epoch:
        raise _stale(found, fence.capability, epoch)
    return found


def _fire(connection: psycopg.Connection, seen: Catalogue, fires: Fires) -> None:
    """Have all triggers fire so; those that a part has taken over go with the table's that it is a part of."""
    verb = sql.SQL("enable always" if fires is Fires.ALWAYS else "disable")
    bearing = fenced.fenced(seen) if fires is Fires.ALWAYS else seen.tables
    alter = sql.SQL("alter table {} {} trigger {}")
    for owner, tables in groupby(bearing.values(), lambda each: each.owner):
        changes = [
            alter.format(sql.SQL(table.name), verb, sql.Identifier(name))
            for table in tables
            for name in fenced.own(table)
            if fires is Fires.ALWAYS or name in table.triggers
        ]
        as_role(connection, owner, changes)


def _refuse(fence: Fence, why: str, found: Iterable[str]) -> None:
    told = "; ".join(found)
    if told:
        raise Unfenced(f"the fence of {fence.capability} {why}: {told}")


def _refuse_silence(connection: psycopg.Connection) -> None:
    """Raise ``SyncError`` where writers may not call what the trigger calls: they would be refused, all of them."""
    row = connection.execute(
        "select bool_and(has_function_privilege('public', oid, 'execute')) from pg_proc"
        " where proname = 'pg_logical_emit_message' and pronamespace = 'pg_catalog'::regnamespace"
    ).fetchone()
    if row is None or not row[0]:
        raise SyncError(
            "statements cannot be observed: their roles may not write messages; run there as a superuser: grant execute"
            " on all functions named pg_logical_emit_message to public"
        )


def _emit(connection: psycopg.Connection, capability: str, epoch: int) -> int:
    row = connection.execute(
        "select pg_logical_emit_message(true, %s, %s)::text", [MARKER, f"{capability} {epoch}"]
    ).fetchone()
    return lsn_of(row[0]) if row else 0


def _moved(connection: psycopg.Connection, epoch: int, marker: int | None, began: float, locks: _Locks) -> Moved:
    ms = 1000 * (time.monotonic() - began)
    row = connection.execute("select pg_current_wal_insert_lsn()::text").fetchone()
    position = lsn_of(row[0]) if row else 0
    return Moved(epoch=epoch, marker=marker, position=position, locked_ms=1000 * locks.seconds, ms=ms)


def _claim(connection: psycopg.Connection, capability: str, locking: str = "") -> Claim | None:
    query = sql.SQL("select epoch, owner, raised_on, observing from strangler_sync.claim where capability = %s{}")
    row = connection.execute(query.format(sql.SQL(locking)), [capability]).fetchone()
    if row is None:
        return None
    return Claim(capability=capability, epoch=row[0], owner=Stack(row[1]), raised_on=row[2], observing=row[3])


def _stale(found: Claim | None, capability: str, epoch: int) -> StaleEpoch:
    if found is None:
        return StaleEpoch(f"{capability} has no fence in this database: its streams were never begun, or were removed")
    return StaleEpoch(
        f"the fence of {capability} stands at epoch {found.epoch}, and may not be touched on epoch {epoch}:"
        " somebody else has moved on"
    )
