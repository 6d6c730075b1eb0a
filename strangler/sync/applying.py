"""Batches written to a stream's target: staged, projected, and the watermark with them, in one transaction.

Rows that go away go first, children before parents, then come those that are there, parents before children. What this
order breaks, a smaller batch does not: see ``stream``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import psycopg

from strangler.sync.errors import StreamBroken
from strangler.sync.images import Changes
from strangler.sync.intake import Batch
from strangler.sync.landing import GONE, WHOLE, Landing, line
from strangler.sync.pgoutput import UNCHANGED
from strangler.sync.watermark import Standing, advance

_BLOCK: Final = 1 << 17
_NONE: Final[frozenset[int]] = frozenset()

Parts = dict[frozenset[int], tuple[int, int]]
"""By the positions of the columns that did not come: the number of the part, and how many rows are in it."""


class Applier:
    """Applies to one target, through ``landings`` (parents before children)."""

    def __init__(self, target: psycopg.Connection, landings: Sequence[Landing], at: Standing) -> None:
        self.at = at
        self._target = target
        self._landings = {each.projection.source.qualified: each for each in landings}
        self._open: ExitStack | None = None
        self._staged = False
        self._transactions = self._changes = 0

    @property
    def is_open(self) -> bool:
        """Whether something was applied that is not committed."""
        return self._open is not None

    def apply(self, batch: Batch) -> None:
        """Apply what ``batch`` has of a transaction that goes on; ``commit`` comes later."""
        if self._open is None:
            self._open = ExitStack()
            self._open.enter_context(self._target.transaction())
        tables = [(each, batch.tables[name]) for name, each in self._landings.items() if name in batch.tables]
        parts = {id(changes): self._stage(landing, changes) for landing, changes in tables}
        for landing, changes in reversed(tables):
            self._remove(landing, changes)
        for landing, changes in tables:
            self._write(landing, changes, parts[id(changes)])
        self._staged = True
        self._transactions += batch.transactions
        self._changes += batch.changes

    def commit(self, batch: Batch) -> None:
        """Apply ``batch`` and what came before it, with the watermark at its end. Raises ``Overtaken``."""
        try:
            if batch.tables or self._open is None:
                self.apply(batch)
            heartbeat = None if batch.heartbeat is None else batch.heartbeat.decode()
            advance(
                self._target,
                self.at,
                batch.end,
                transactions=self._transactions,
                changes=self._changes,
                heartbeat=heartbeat,
            )
        except BaseException:
            self.abandon()
            raise
        opened = self._close()
        if opened is not None:
            opened.close()
        self.at = replace(self.at, lsn=batch.end)

    def abandon(self) -> None:
        """Roll back what was not committed."""
        opened = self._close()
        if opened is not None:
            opened.__exit__(psycopg.Rollback, psycopg.Rollback(), None)

    def _close(self) -> ExitStack | None:
        opened, self._open, self._staged = self._open, None, False
        self._transactions = self._changes = 0
        return opened

    # --- staging ---

    def _stage(self, landing: Landing, changes: Changes) -> Parts:
        """Copy the rows in, and return the part of each set of columns that did not come, and its rows."""
        parts: Parts = {}
        lines = _lines(landing, changes, parts)
        with self._target.cursor() as cursor:
            if self._staged:
                cursor.execute(landing.clearing())
            with cursor.copy(landing.copy()) as copy:
                for block in _blocks(lines):
                    copy.write(block)
        return parts

    # --- what is done with it ---

    def _remove(self, landing: Landing, changes: Changes) -> None:
        if changes.emptied:
            self._target.execute(landing.empty())
        if changes.gone:
            self._target.execute(landing.delete())
        if landing.projection.mapping.where and changes.rows:
            self._target.execute(landing.leave())

    def _write(self, landing: Landing, changes: Changes, parts: Parts) -> None:
        if changes.moved is not None:
            self._target.execute(landing.move(*changes.moved))
        for missing, (part, rows) in parts.items():
            if part == WHOLE:
                self._target.execute(landing.upsert())
            else:
                self._amend(landing, part, frozenset(landing.columns[at] for at in missing), rows)

    def _amend(self, landing: Landing, part: int, missing: frozenset[str], rows: int) -> None:
        statement = landing.amend(part, missing)
        if statement is None:
            return
        amended = self._target.execute(statement).rowcount
        if amended < rows and not landing.projection.mapping.where:
            raise StreamBroken(
                f"{rows - amended} rows that changed in {landing.projection.source.name} are not in"
                f" {landing.projection.target.name}: somebody else wrote there, or rows were lost; verify"
            )


def _lines(landing: Landing, changes: Changes, parts: Parts) -> Iterable[bytes]:
    for key in changes.gone:
        values = dict(zip(changes.key, key, strict=True))
        yield line(GONE, tuple([values.get(at) for at in range(len(landing.columns))]))
    for row in changes.rows.values():
        missing = _NONE
        if UNCHANGED in row:
            missing = frozenset(at for at, value in enumerate(row) if value is UNCHANGED)
        part, rows = parts.get(missing) or (len(parts) + 1 if missing else WHOLE, 0)
        parts[missing] = (part, rows + 1)
        yield line(part, row)


def _blocks(lines: Iterable[bytes]) -> Iterable[bytes]:
    held: list[bytes] = []
    size = 0
    for each in lines:
        held.append(each)
        size += len(each)
        if size >= _BLOCK:
            yield b"".join(held)
            held.clear()
            size = 0
    if held:
        yield b"".join(held)
