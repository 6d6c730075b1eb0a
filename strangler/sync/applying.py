"""Batches written to a stream's target: staged, projected, and the watermark with them, in one transaction.

Rows that go away go first, children before parents, then come those that are there, parents before children. What this
order breaks, a smaller batch does not: see ``stream``.

Where something is declared of rows outside that refer to these tables, rows go when their transaction is whole, since
until then they may come back, and what is declared is done just before. A change that comes alone cannot wait; should
such a row come back after all, nothing of its transaction is applied.

A commit need not wait for the disk: what a crash takes of the target it takes of the watermark, too, and that comes
again. Whoever is told, and acts on it elsewhere, is told of what is ``durable``; see ADR 0031.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import psycopg
from psycopg import sql

from strangler.sync.changed import Noted, Tidying, Touched, touched
from strangler.sync.direction import Direction
from strangler.sync.errors import CannotApply, StreamBroken
from strangler.sync.filling import alone, settle
from strangler.sync.images import Changes, RowKey
from strangler.sync.intake import Batch
from strangler.sync.landing import GONE, THERE, WHOLE, Landing, lines
from strangler.sync.pgoutput import UNCHANGED, Tuple, Value, is_whole
from strangler.sync.referring import Policy
from strangler.sync.watermark import Standing, advance

_ROWS: Final = 1_000  # of a block of COPY's text
# Rows that are made are inserted: an upsert asks the index first and writes WAL for each that was kept, 13 ms for 4,000
# rows where an INSERT takes 8, the median of twelve each. A savepoint, in case one is there, is worth it from here on.
_MANY: Final = 100
_TRY: Final = sql.SQL("savepoint strangler_try; {}; release strangler_try")
_UNDO: Final = "rollback to strangler_try; release strangler_try"
# What is said at once is answered at once: a batch took 13 answers, which took the target 0.66 s of its processor for
# 100,000 changes, the median of seven; with 8 it takes 0.64.
# Under an origin PostgreSQL gives all transactions of a session the commit time of the first, unless it is set anew.
_BEGIN: Final = sql.SQL(
    "begin; select pg_replication_origin_session_reset(); select pg_replication_origin_session_setup({name});"
    " select copying, coalesce(lsn >= copied_at, false), fetches"
    " from strangler_sync.stream where name = {name} for no key update"
)
_NONE: Final[frozenset[int]] = frozenset()
_THERE: Final = frozenset([-1])

Compose = Callable[[Landing], sql.Composable]
Tombstone = tuple[str, str, list[str], bool, list[int]]
Parts = dict[frozenset[int], tuple[int, int]]
"""By the positions of the columns that did not come: the number of the part, and how many rows are in it.

Rows of ``THERE`` came whole, too: theirs is the entry of a position that no column has.
"""


@dataclass(frozen=True, slots=True)
class Staged:
    """A table's changes as they go into its staging table: COPY's text, what part of it is what, and which rows."""

    landing: Landing
    changes: Changes
    blocks: list[bytes]
    parts: Parts
    touched: Touched


@dataclass(frozen=True, slots=True)
class Load:
    """A batch that is ready for its target; tables in the order of their landings.

    ``alone`` when it is a change that must not wait for what comes with it.
    """

    batch: Batch
    tables: list[Staged]
    alone: bool = False


class Outdated(Exception):
    """Rows were fetched since the session began, or the copy has ended: another is to begin, with that in mind.

    In a session that began while tables were copied no foreign key looks.
    """


class Applier:
    """Applies to one target, through ``landings`` (parents before children)."""

    def __init__(
        self, target: psycopg.Connection, landings: Sequence[Landing], at: Standing, direction: Direction
    ) -> None:
        self.at = at
        self.durable = 0  # up to where it is known that no crash of the target takes anything
        self._direction = direction
        self._target = target
        self._landings = {each.projection.mapping.target: each for each in landings}
        self._holds = any(each.policies for each in landings)
        self._departed = False  # rows are noted that are to go when the transaction is whole
        self._leaving = False  # rows are noted that go or have gone
        for each in landings if self._holds else ():
            target.execute(each.departures())
        self._open = False  # a transaction of the target
        self._copying, self._settled = at.copying, False
        self._staged = False
        self._transactions = self._changes = 0
        self._noted, self._tidying = Noted(), Tidying(at.name)
        self._guarded: set[str] = set()  # tables that were written, and that only the sync may write
        self._had: set[str] = set()  # tables that had rows already which were to be made
        self._marker: int | None = None
        self._statements: dict[tuple[str, Compose], bytes] = {}

    def prepare(self, batch: Batch, *, alone: bool = False) -> Load:
        """Return ``batch`` as it is sent. Nothing is done with the target, which may be busy with another one."""
        tables = [
            _staged(landing, batch.tables[name], apart=landing.tells_apart and not self.at.copying)
            for name, landing in self._landings.items()
            if name in batch.tables
        ]
        return Load(batch, tables, alone)

    def apply(self, load: Load, *, whole: bool = False) -> None:
        """Apply what a batch has of a transaction that goes on; ``commit`` comes later, and makes it ``whole``."""
        if not self._open:
            self._open = True
            self._copying, self._settled, fetches = self._begin()
            if fetches != self.at.fetches or (self.at.copying and not self._copying):
                raise Outdated
        for each in load.tables:
            self._stage(each)
        if self._copying and load.tables:
            alone(self._target, self.at.name)
            self._bury(load)
        stays: set[str] = set()  # tables of which rows come back that were to go, and are there still
        for each in reversed(load.tables):
            if not self._holds:
                self._remove(each.landing, each.changes)
            elif self._let_go(each.landing, each.changes) and not self._copying:
                stays.add(each.landing.projection.mapping.target)
        if load.batch.over is not None:
            self._part(*load.batch.over)
        if self._departed and (whole or (load.alone and not self.at.copying)):
            self._take_out()
        for each in load.tables:
            if self._copying:
                self._write_beside_copy(each, load)
            else:
                self._write(each, onto=each.landing.projection.mapping.target in stays)
        if not self._copying:
            for each in load.tables:
                self._noted.take(each.landing.projection.mapping.target, each.touched)
        self._guarded.update(_guarded(load))
        self._staged = True
        self._transactions += load.batch.transactions
        self._changes += load.batch.changes
        self._mark(load.batch)

    def commit(self, load: Load, *, durable: bool = True) -> None:
        """Apply a batch and what came before it, with the watermark at its end. Raises ``Overtaken``.

        A marker is ``durable`` at all events: whoever sees that it came moves the owner.
        """
        batch = load.batch
        try:
            if batch.tables or not self._open or self._departed:
                self.apply(load, whole=True)
            self._mark(batch)
            durable = durable or self._marker is not None
            heartbeat = None if batch.heartbeat is None else batch.heartbeat.decode()
            noted = self._noted.lines()
            advance(
                self._target,
                self.at,
                batch.end,
                transactions=self._transactions,
                changes=self._changes,
                heartbeat=heartbeat,
                noted=None if self._copying else noted,
                marker=self._marker,
                direction=self._direction,
                guarded=sorted(self._guarded),
            )
            self._tidying.after(self._target, noted)
            self._target.execute("commit" if durable else "set local synchronous_commit = off; commit")
        except BaseException:
            self.abandon()
            raise
        self._close()
        self.at = replace(self.at, lsn=batch.end)
        if durable:  # what was committed before is older in the WAL, and was flushed with it
            self.durable = batch.end

    def abandon(self) -> None:
        """Roll back what was not committed."""
        if self._open:
            with suppress(psycopg.Error):  # a session that broke off has rolled it back
                self._target.execute("rollback")
        self._close()

    def _close(self) -> None:
        self._open = self._staged = False
        self._departed = self._leaving = False
        self._transactions = self._changes = 0
        self._noted, self._guarded, self._marker = Noted(), set(), None

    def _mark(self, batch: Batch) -> None:
        """Take note of the markers of this capability; others' come, too."""
        for content in batch.markers:
            capability, _, epoch = content.decode().partition(" ")
            if capability == self._direction.capability:
                self._marker = max(self._marker or 0, int(epoch))

    def _begin(self) -> tuple[bool, bool, int]:
        """Return whether the tables are copied, whether the stream has passed all chunks, and how often it fetched.

        The row stays locked, but for the chunks' tombstones, which refer to it.
        """
        cursor = self._target.execute(_BEGIN.format(name=sql.Literal(self.at.name)))
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        return (row[0], row[1], row[2]) if row else (False, False, self.at.fetches)

    def _said(self, landing: Landing, compose: Compose) -> bytes:
        """Return a statement that is the same for each batch, put together once."""
        key = (landing.projection.mapping.target, compose)
        found = self._statements.get(key)
        if found is None:
            found = self._statements[key] = compose(landing).as_bytes(self._target)
        return found

    # --- staging ---

    def _stage(self, table: Staged) -> None:
        with self._target.cursor() as cursor:
            if self._staged:
                cursor.execute(self._said(table.landing, Landing.clearing))
            with cursor.copy(self._said(table.landing, Landing.copy)) as copy:
                for block in table.blocks:
                    copy.write(block)

    # --- what is done with it ---

    def _remove(self, landing: Landing, changes: Changes) -> None:
        if changes.emptied:
            self._target.execute(landing.empty())
        if changes.gone:
            self._target.execute(self._said(landing, Landing.delete))
        if landing.projection.mapping.where and changes.rows:
            self._target.execute(self._said(landing, Landing.leave))

    # --- rows that others refer to ---

    def _let_go(self, landing: Landing, changes: Changes) -> bool:
        """Note the rows that go, and forget those that were noted and come back; return whether any do."""
        noted = 0
        if changes.emptied:
            noted += self._target.execute(landing.depart_all()).rowcount
        if changes.gone:
            noted += self._target.execute(landing.depart(absent=self.at.copying)).rowcount
        if landing.projection.mapping.where and changes.rows:
            noted += self._target.execute(landing.depart_left_out(absent=self.at.copying)).rowcount
        self._departed, self._leaving = self._departed or noted > 0, self._leaving or noted > 0
        returned = self._leaving and bool(changes.rows) and self._come_back(landing)
        if self.at.copying and noted:  # no foreign key looks at that, and what comes may have their unique values
            self._target.execute(landing.take_out())
        return returned

    def _come_back(self, landing: Landing) -> bool:
        back = self._target.execute(landing.come_back()).fetchall()
        for key, done in back:
            if done:
                raise CannotApply(
                    f"{_named(landing, key)} goes and comes back in one transaction that can only be applied a change"
                    f" at a time, and {_listed(landing)} would not refer to it any more; drop the constraint that the"
                    " transaction breaks as a whole, or have those rows refer elsewhere, until this has passed"
                )
        return bool(back)

    def _take_out(self) -> None:
        """Do what is declared for the rows that go, children before parents, and take them out."""
        for landing in reversed(self._landings.values()):
            self._carry_out(landing, landing.gone())
            self._target.execute(landing.take_out())
            self._target.execute(landing.took_out())
        self._departed = False

    def _part(self, table: str, key: RowKey) -> None:
        """Take out one row, if it is noted, whose transaction is whole while another has begun."""
        landing = self._landings[table]
        self._carry_out(landing, landing.gone(key))
        self._target.execute(landing.take_out(key))
        self._target.execute(landing.took_out(key))

    def _carry_out(self, landing: Landing, gone: sql.Composable) -> None:
        if not landing.policies:
            return
        # While tables are copied no foreign key looks; those of the tables that are written here must.
        if self.at.copying:
            self._target.execute("set local session_replication_role = origin")
        for policy in landing.policies:
            if policy.on_delete.writes:
                self._target.execute(landing.carry_out(policy, gone))
            else:
                self._refuse(landing, policy, gone)
        if self.at.copying:
            self._target.execute("set local session_replication_role = replica")

    def _refuse(self, landing: Landing, policy: Policy, gone: sql.Composable) -> None:
        row = self._target.execute(policy.refused(gone, tuple(landing.projection.mapping.key))).fetchone()
        if row is not None:
            why = policy.refusal(_named(landing, row[0]))
            raise CannotApply(f"{why}, and start what applies again; it is tried again every few seconds")

    def _write(self, table: Staged, *, onto: bool) -> None:
        if table.changes.moved is not None:
            self._move(table.landing, *table.changes.moved, onto=onto)
        self._write_rows(table.landing, table.parts)

    def _write_rows(self, landing: Landing, parts: Parts) -> None:
        # Where they are told apart rows are made first: those that are amended may refer to them.
        ordered = sorted(parts.items(), key=lambda each: each[1]) if landing.tells_apart else parts.items()
        for missing, (part, rows) in ordered:
            if part == WHOLE:
                self._make(landing, rows)
            elif part == THERE:
                self._overwrite(landing, rows)
            else:
                self._amend(landing, part, frozenset(landing.columns[at] for at in missing), rows)

    def _make(self, landing: Landing, rows: int) -> None:
        """Write whole rows: those of a table that tells apart were made, and should not be in the target yet."""
        table = landing.projection.mapping.target
        if self._copying or not landing.tells_apart or rows < _MANY or table in self._had:
            self._target.execute(self._said(landing, Landing.upsert))
            return
        try:
            self._target.execute(self._said(landing, _trying))
        except psycopg.errors.UniqueViolation:
            self._target.execute(_UNDO)
            self._had.add(table)  # a row went and came back in one batch, or somebody else made it
            self._target.execute(self._said(landing, Landing.upsert))

    def _overwrite(self, landing: Landing, rows: int) -> None:
        # Planned each time: what was planned for a small table reads all of it when it has grown.
        statement = self._said(landing, _overwriting)
        if not statement or self._target.execute(statement, prepare=False).rowcount < rows:
            self._target.execute(landing.make_anew())  # somebody took some out

    def _move(self, landing: Landing, before: RowKey, after: RowKey, *, onto: bool = False) -> None:
        """Give a row another key; ``onto`` that of one which was to go, and whose place it takes."""
        # While tables are copied the row may be another that was brought under that key from a later time: what it
        # would take along is not its own. It is fetched instead.
        if self._copying:
            self._target.execute(landing.forget(before, beside=after if self._settled else None))
        self._leaving = self._leaving or bool(landing.policies)
        if self.at.copying and landing.policies:
            self._target.execute(landing.note(before))
            self._departed = True
        else:
            self._carry_out(landing, landing.going(before))
        self._target.execute(landing.replace(before, after) if onto else landing.move(before, after))

    def _amend(self, landing: Landing, part: int, missing: frozenset[str], rows: int) -> None:
        statement = landing.amend(part, missing)
        if statement is None:
            return
        amended = self._target.execute(statement).rowcount
        if amended < rows and not (self._copying or landing.projection.mapping.where):
            raise StreamBroken(
                f"{rows - amended} rows that changed in {landing.projection.source.name} are not in"
                f" {landing.projection.target.name}: somebody else wrote there, or rows were lost; verify"
            )

    # --- while the tables are copied ---

    def _bury(self, load: Load) -> None:
        """Note the keys that a chunk must not bring back."""
        rows = [
            (self.at.name, each.landing.projection.mapping.target, list(_texts(key)), is_gone, load.batch.xids)
            for each in load.tables
            for key, is_gone in _buried(each.changes)
        ]
        if any(each.changes.emptied for each in load.tables):
            raise StreamBroken("a table was truncated while it was copied; begin the copy anew")
        self._lay(rows)

    def _write_beside_copy(self, table: Staged, load: Load) -> None:
        """Write rows although some that a chunk brought are of a later time, and may have their unique values by then.

        Either of the two rows may go until it is fetched: those that are found at once make room; where an index tells
        more than its columns do, a change that comes alone gives way.
        """
        landing, changes, parts, xids = table.landing, table.changes, table.parts, load.batch.xids
        if changes.moved is not None:  # first: by its key as it was, it would have to make room for itself
            self._move(landing, *changes.moved)
        evicted = self._make_room(landing, parts, xids)
        try:
            with self._target.transaction():
                self._write_rows(landing, parts)
        except psycopg.errors.UniqueViolation:
            if not load.alone:
                raise
            for key in changes.rows:
                self._target.execute(landing.forget(key, beside=None))
                self._lay([self._tombstone(landing, list(_texts(key)), xids)])
        if evicted or parts.keys() - {_NONE}:
            settle(self._target, landing.projection, self.at.name, landing.keys_left_out())

    def _make_room(self, landing: Landing, parts: Parts, xids: list[int]) -> int:
        evicted = 0
        for missing, (part, _) in parts.items():
            for statement in landing.make_room(part, frozenset(landing.columns[at] for at in missing)):
                rows = [self._tombstone(landing, key, xids) for (key,) in self._target.execute(statement)]
                evicted += len(rows)
                self._lay(rows)
        return evicted

    def _tombstone(self, landing: Landing, key: list[str], xids: list[int]) -> Tombstone:
        return self.at.name, landing.projection.mapping.target, key, False, xids

    def _lay(self, rows: Sequence[Tombstone]) -> None:
        with self._target.cursor() as cursor:
            cursor.executemany(
                "insert into strangler_sync.tombstone (stream, target, key, gone, xids) values (%s, %s, %s, %s, %s)",
                rows,
            )


def _trying(landing: Landing) -> sql.Composable:
    return _TRY.format(landing.make())


def _overwriting(landing: Landing) -> sql.Composable:
    return landing.amend(THERE, frozenset()) or sql.SQL("")


def _guarded(load: Load) -> Iterable[str]:
    """Yield the tables that a batch writes and the sync alone may write while somebody else owns them."""
    for each in load.tables:
        if not each.landing.projection.mapping.reference:
            yield each.landing.projection.source.qualified


def _named(landing: Landing, key: Sequence[str]) -> str:
    return f"{landing.projection.target.name} ({', '.join(key)})"


def _listed(landing: Landing) -> str:
    return ", ".join(str(each) for each in landing.policies if each.on_delete.writes)


def _buried(changes: Changes) -> Iterable[tuple[RowKey, bool]]:
    """Yield the keys of rows that are gone (True), and of those that changed in part (False)."""
    for key in changes.gone:
        yield key, True
    if changes.moved is not None:
        yield changes.moved[0], True
        yield changes.moved[1], False
    for key, row in changes.rows.items():
        if not is_whole(row):
            yield key, False


def _texts(key: RowKey) -> Iterable[str]:
    for value in key:
        if isinstance(value, bytes):
            yield value.decode()


def _staged(landing: Landing, changes: Changes, *, apart: bool) -> Staged:
    came = _came(changes, changes.there if apart else set())
    parts: Parts = {}
    blocks = list(_blocks(GONE, _keys(landing, changes)))
    for missing, rows in came.items():
        part = _part(missing, parts)
        parts[missing] = (part, len(rows))
        blocks += _blocks(part, rows)
    return Staged(landing, changes, blocks, parts, touched(changes))


def _keys(landing: Landing, changes: Changes) -> list[Tuple]:
    """Return the keys of rows that are gone, as rows of which nothing else came."""
    found = list[Tuple]()
    for key in changes.gone:
        row: list[Value] = [None] * len(landing.columns)
        for at, value in zip(changes.key, key, strict=True):
            row[at] = value
        found.append(tuple(row))
    return found


def _came(changes: Changes, there: set[RowKey]) -> dict[frozenset[int], list[Tuple]]:
    """Return the rows by the positions of the columns that did not come, as ``Parts`` have them."""
    found: dict[frozenset[int], list[Tuple]] = {}
    for key, row in changes.rows.items():
        missing = _NONE
        if not is_whole(row):
            missing = frozenset(at for at, value in enumerate(row) if value is UNCHANGED)
        elif key in there:
            missing = _THERE
        found.setdefault(missing, []).append(row)
    return found


def _part(missing: frozenset[int], parts: Parts) -> int:
    if not missing:
        return WHOLE
    return THERE if missing == _THERE else THERE + 1 + len(parts)


def _blocks(part: int, rows: Sequence[Tuple]) -> Iterable[bytes]:
    for at in range(0, len(rows), _ROWS):
        # Compiled, this keeps the interpreter for all of a batch, while the one that applies wants it.
        time.sleep(0)
        yield lines(part, rows[at : at + _ROWS])
