"""The two databases, asked at the same time: a connection and a thread each, reading only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from strangler.sync.direction import Direction
from strangler.sync.errors import NotComparable, RightMissing, SyncError, TimedOut, Unreachable
from strangler.sync.transfer import open_database
from strangler.sync.verify.reading import Reading

Rows = list[tuple[Any, ...]]
Question = Callable[[Reading], sql.Composed]
"""The same for both sides: what to ask, given how a side is read."""

# So many statements wait at each side: the faster one goes on while the other is held up, and no further than that,
# since a row that the two see at two times is a row to look at again.
_AHEAD: Final = 4
# A statement with the bounds of all ranges would be compiled for longer than it runs.
_SESSION: Final = "set default_transaction_read_only = on; set jit = off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a statement may run and wait for a lock, in seconds."""

    statement_s: float = 300.0
    lock_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Side:
    """One database: its name for people, its connection, and the thread that waits for it."""

    name: str
    connection: psycopg.Connection
    thread: ThreadPoolExecutor

    def ask(self, query: sql.Composed, reading: Reading) -> Future[Rows]:
        return self.thread.submit(self._ask, query, reading)

    def _ask(self, query: sql.Composed, reading: Reading) -> Rows:
        try:
            return self.connection.execute(query).fetchall()
        except psycopg.Error as exc:
            raise self._translated(exc, reading) from exc

    def _translated(self, exc: psycopg.Error, reading: Reading) -> SyncError:
        said = first_line(exc)
        where = f"{reading.table} in the {self.name}"
        if isinstance(exc, psycopg.errors.InsufficientPrivilege):
            role = sql.Identifier(self.connection.info.user).as_string(self.connection)
            if "row-level security" in said:
                cure = f"run there, as superuser: alter role {role} bypassrls"
            else:
                cure = f"run there: grant select on {reading.table} to {role}"
            return RightMissing(f"{where} could not be read: {said}; {cure}")
        if isinstance(exc, psycopg.errors.LockNotAvailable):
            return TimedOut(
                f"{where} is locked by somebody else, an ALTER TABLE perhaps; run it again when that is over"
            )
        if isinstance(exc, psycopg.errors.QueryCanceled):
            return TimedOut(f"a checksum of {where} was cancelled: {said}; {reading.shorter}")
        if isinstance(exc, psycopg.OperationalError):
            return Unreachable(f"the {self.name} went away: {said}")
        return NotComparable(f"{where} could not be read: {said}")


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides. What is asked of both runs in both databases at once."""

    monolith: Side
    service: Side

    def ask(self, question: Question, here: Reading, there: Reading) -> tuple[Rows, Rows]:
        """Return both answers to one question."""
        return _answers(self._asked(question, here, there))

    def ask_all(self, questions: Iterable[Question], here: Reading, there: Reading) -> Iterator[tuple[Rows, Rows]]:
        """Yield both answers to each of the questions, in order, while the next ones are worked at already."""
        waiting: deque[tuple[Future[Rows], Future[Rows]]] = deque()
        for question in questions:
            waiting.append(self._asked(question, here, there))
            if len(waiting) > _AHEAD:
                yield _answers(waiting.popleft())
        while waiting:
            yield _answers(waiting.popleft())

    def _asked(self, question: Question, here: Reading, there: Reading) -> tuple[Future[Rows], Future[Rows]]:
        return self.monolith.ask(question(here), here), self.service.ask(question(there), there)


def _answers(asked: tuple[Future[Rows], Future[Rows]]) -> tuple[Rows, Rows]:
    return asked[0].result(), asked[1].result()


@contextmanager
def open_pair(direction: Direction, patience: Patience) -> Iterator[Pair]:
    """Connect to both databases, on the way back to the service's as if it were the monolith's: there rows come from.

    What is still being computed when the block is left is cancelled there.
    """
    with (
        open_database(direction.source_url, direction.source, "strangler verify") as source,
        open_database(direction.target_url, direction.target, "strangler verify") as target,
        ThreadPoolExecutor(1) as here,
        ThreadPoolExecutor(1) as there,
    ):
        sides = Side(direction.source, source, here), Side(direction.target, target, there)
        for side in sides:
            _prepare(side.connection, patience)
        try:
            yield Pair(*sides)
        finally:
            for side in sides:
                side.thread.shutdown(wait=False, cancel_futures=True)
                side.connection.cancel_safe()


def _prepare(connection: psycopg.Connection, patience: Patience) -> None:
    connection.execute(_SESSION)
    for setting, seconds in (("statement_timeout", patience.statement_s), ("lock_timeout", patience.lock_s)):
        connection.execute("select set_config(%s, %s, false)", [setting, f"{round(seconds * 1000)}ms"])


def first_line(exc: psycopg.Error) -> str:
    """Return what a database said, without its hints."""
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
