"""What a stream hears of writers, on its way through the owner's WAL, counted in the control database.

Messages are no transaction's, so the watermark says nothing of them. Each is counted once all the same: what is counted
is kept with the position of the last message, and until it is kept the owner's server is not told that anything has
arrived. It sends that again after a crash, and what was kept already is left out by its position.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Final

import psycopg
from psycopg import sql

from strangler.sync import observations
from strangler.sync.direction import Direction
from strangler.sync.errors import SyncError, Unreachable
from strangler.sync.fencing import OBSERVED
from strangler.sync.observed import Folding, parse
from strangler.sync.pgoutput import Message
from strangler.sync.transfer import open_database

_LOG: Final = logging.getLogger("strangler.sync")
_ANSWER_S: Final = 2.0
"""So long the control database may take: the stream stands still meanwhile."""
_HOLD_S: Final = 60.0
"""So long WAL is kept for counts that cannot be: they are worth less than room on the owner's disk."""


class Listener:
    """Hears the messages of one session of a stream. Who uses it calls ``keep`` now and then."""

    def __init__(self, direction: Direction, control_url: str) -> None:
        self._capability, self._stack = direction.capability, direction.stack.other
        self._control_url = control_url
        self._folding = Folding(direction.capability)
        self._read_to = self._last = 0
        self._failing_since: float | None = None
        self._open = ExitStack()
        self._control: psycopg.Connection | None = None

    def begin(self) -> bool:
        """Return whether anything is to be heard: then the stream begins where the server was told of last.

        Raises ``Unreachable``.
        """
        try:
            self._read_to = observations.read_to(self._connected(), self._capability, self._stack)
            found = observations.last(self._connected(), self._capability)
        except SyncError as exc:
            if isinstance(exc, Unreachable):
                raise
            found = None  # a ledger of a release before
        is_on = found is not None and found.ended_at is None and found.stack is self._stack
        if not is_on:
            self._disconnect()
        return is_on

    def take(self, message: Message) -> None:
        """Count a message, if it tells of a statement and is not counted yet."""
        if message.prefix != OBSERVED or message.lsn <= self._read_to:
            return
        told = parse(message.content)
        if told is None:
            return
        self._folding.take(told, datetime.now(UTC))
        self._last = message.lsn

    @property
    def holds(self) -> bool:
        """Whether something that was heard is to come again after a crash."""
        failing = self._failing_since
        return bool(self._folding) and (failing is None or time.monotonic() < failing + _HOLD_S)

    def keep(self) -> None:
        """Keep what was heard. What cannot be is kept the next time, with what is heard until then."""
        tally = self._folding.taken()
        if not tally:
            return
        try:
            observations.keep(self._connected(), self._capability, self._stack, tally, self._last)
        except (SyncError, psycopg.Error) as exc:
            self._folding.put_back(tally)
            self._disconnect()
            if self._failing_since is None:
                self._failing_since = time.monotonic()
                why = str(exc).strip().splitlines()[0]
                _LOG.warning("who writes %s was seen, and cannot be kept: %s", self._capability, why)
            return
        self._read_to, self._failing_since = self._last, None

    def close(self) -> None:
        """Keep what there is, and let go of the control database."""
        self.keep()
        self._disconnect()

    def _connected(self) -> psycopg.Connection:
        if self._control is None:
            self._control = self._open.enter_context(
                open_database(self._control_url, "control database", "strangler observing")
            )
            milliseconds = sql.Literal(int(1_000 * _ANSWER_S))
            bounds = sql.SQL("set statement_timeout = {0}; set lock_timeout = {0}").format(milliseconds)
            self._control.execute(bounds)
        return self._control

    def _disconnect(self) -> None:
        self._control = None
        with suppress(psycopg.Error):
            self._open.close()
