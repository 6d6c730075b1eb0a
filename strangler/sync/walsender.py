"""A replication session: commands to a walsender, and the bytes that it copies out, through libpq as psycopg has it."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from strangler.sync.errors import RightMissing, StreamBroken, SyncError, TimedOut, Unreachable
from strangler.sync.pgoutput import lsn_of, lsn_text

_CONNECT_TIMEOUT_S: Final = 5
# A walsender sends each change by itself, and whoever waits is woken for each, at the cost of both: 104,000 messages
# took 0.81 s, and 0.38 s of the reader's processor, medians of three. Left to gather for so long they took 0.34 and
# 0.06; for a millisecond, 0.65, since they fill the socket and the walsender waits. A piece is 16 KB at first.
GATHER_S: Final = 0.0003
_PIECES: Final = 16
_IN_USE: Final = b"55006"
_CANCELLED: Final = b"57014"
WITH_FAILOVER: Final = 170_000
"""From here on a standby can keep slots that are marked for it, and a stream goes on with whichever is promoted."""
_SHUT_DOWN: Final = b"57P"  # by an administrator, a crash, or while it starts
_REFUSED: Final = ("permission denied to start WAL sender", "superuser or replication role")
# Values come as text, printed by this session's settings and read by another database's.
_SESSION: Final = (
    "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex -c timezone=UTC"
    " -c lc_monetary=C -c client_encoding=UTF8"
    " -c statement_timeout=0 -c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Which server answers: its identifier, made once for all, its timeline, and how far its WAL is written."""

    system: str
    timeline: int
    position: int


class Walsender:
    """One session that replicates. Close it, or use it as a context."""

    def __init__(self, url: str, name: str) -> None:
        """Connect; ``name`` is what the server calls the session. Raises ``Unreachable``, never with the URL."""
        conninfo = make_conninfo(
            url,
            replication="database",
            connect_timeout=_CONNECT_TIMEOUT_S,
            application_name=name,
            options=_SESSION,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        self._session = pq.PGconn.connect(conninfo.encode())
        if self._session.status != pq.ConnStatus.OK:
            reason = self._said()
            self._session.finish()
            if any(each in reason for each in _REFUSED):
                role = str(conninfo_to_dict(url).get("user", "ROLE")).replace('"', '""')
                raise RightMissing(f'{reason}; run there: alter role "{role}" replication')
            raise Unreachable(f"a replication session cannot be begun: {reason}")
        self._readable = select.poll()
        self._readable.register(self._session.socket, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._session.finish()

    def server(self) -> Server:
        """Return which server this is."""
        system, timeline, position, _ = self._row("IDENTIFY_SYSTEM")
        return Server(system=system, timeline=int(timeline), position=lsn_of(position))

    def left_at(self, earlier: int, now: int) -> int | None:
        """Return where the history of timeline ``now`` left an ``earlier`` one; None where it was never on it.

        Raises ``StreamBroken`` where the server cannot tell: the history's file is gone.
        """
        _, history = self._row(f"TIMELINE_HISTORY {now}")
        return left_at(history, earlier)

    def make_slot(self, slot: str, patience_s: float) -> tuple[str, str]:
        """Make a slot; return its position, and the name of a snapshot that sees what was committed up to there.

        The snapshot is to be had until this session does anything else, or ends. The server waits for transactions that
        write: raises ``TimedOut`` when they do so for longer than ``patience_s``, and ``SyncError`` with its words when
        it refuses.
        """
        along = ", FAILOVER" if self._session.server_version >= WITH_FAILOVER else ""
        command = f"CREATE_REPLICATION_SLOT {quoted(slot)} LOGICAL pgoutput (SNAPSHOT 'export'{along})"
        self._session.send_query(command.encode())
        # No timeout of the server's ends a walsender's command, so it is cancelled from here.
        if not self._answers(time.monotonic() + patience_s):
            self._session.get_cancel().cancel()
        answer = self._session.get_result()
        while self._session.get_result() is not None:
            pass
        if answer is None or answer.status != pq.ExecStatus.TUPLES_OK:
            state = None if answer is None else answer.error_field(pq.DiagnosticField.SQLSTATE)
            words = self._said() if answer is None else _first_line(answer.error_message)
            if state == _CANCELLED:
                raise TimedOut(words)
            if state is None or state.startswith(_SHUT_DOWN):
                raise Unreachable(f"the replication session broke off: {words}")
            raise SyncError(words)
        _, position, snapshot, _ = [(answer.get_value(0, column) or b"").decode() for column in range(answer.nfields)]
        return position, snapshot

    def _answers(self, until: float) -> bool:
        """Wait for the answer to what was sent, and return whether it is there by ``until``."""
        while self._session.is_busy():
            if not self.wait(until - time.monotonic()):
                return False
        return True

    def start(self, slot: str, position: int, options: Mapping[str, str]) -> None:
        """Have the changes after ``position`` sent. Raises ``StreamBroken`` with the server's words when it refuses."""
        given = ", ".join(f"{name} {_literal(value)}" for name, value in options.items())
        command = f"START_REPLICATION SLOT {quoted(slot)} LOGICAL {lsn_text(position)} ({given})"
        answer = self._session.exec_(command.encode())
        if answer.status != pq.ExecStatus.COPY_BOTH:
            # Without a code it is the connection that broke; the other is that its last reader has not been missed yet.
            if answer.error_field(pq.DiagnosticField.SQLSTATE) in (None, _IN_USE):
                raise Unreachable(_first_line(answer.error_message))
            raise StreamBroken(f"the stream cannot be started: {_first_line(answer.error_message)}")

    def arrived(self) -> Iterator[bytes]:
        """Yield the messages that are here. Raises ``Unreachable`` or ``StreamBroken`` when the session is over."""
        while True:
            size, data = self._session.get_copy_data(1)
            if size == 0:
                return
            if size < 0:
                raise self._over()
            yield bytes(data)

    def wait(self, patience: float, gather: float = GATHER_S) -> bool:
        """Return whether something has come within ``patience`` seconds.

        What follows within ``gather`` seconds is taken along, as long as there is patience.
        """
        until = time.monotonic() + patience
        if not self._readable.poll(max(0.0, patience * 1000)):
            return False
        time.sleep(max(GATHER_S, min(gather, until - time.monotonic())))
        self._session.consume_input()
        with suppress(psycopg.OperationalError):  # what came before the end is told first
            for _ in range(_PIECES):
                if not self._readable.poll(0):
                    break
                self._session.consume_input()
        return True

    def _over(self) -> Unreachable | StreamBroken:
        answer = self._session.get_result() if self._session.status == pq.ConnStatus.OK else None
        words = _first_line(answer.error_message) if answer is not None and answer.error_message else self._said()
        state = answer.error_field(pq.DiagnosticField.SQLSTATE) if answer is not None else None
        if self._session.status == pq.ConnStatus.OK and not (state or b"").startswith(_SHUT_DOWN):
            return StreamBroken(f"the server ended the stream: {words}")
        return Unreachable(f"the replication session broke off: {words}")

    def send(self, message: bytes) -> None:
        """Send a message. Raises ``Unreachable`` when the session is over."""
        try:
            sent = self._session.put_copy_data(message) == 1 and self._session.flush() >= 0
        except psycopg.OperationalError as exc:  # also where the server has ended the stream
            raise Unreachable(f"the replication session broke off: {_first_line(str(exc))}") from exc
        if not sent:
            raise Unreachable(f"the replication session broke off: {self._said()}")

    def _row(self, command: str) -> list[str]:
        answer = self._session.exec_(command.encode())
        if answer.status != pq.ExecStatus.TUPLES_OK:
            state = answer.error_field(pq.DiagnosticField.SQLSTATE)
            if state is None or state.startswith(_SHUT_DOWN):
                raise Unreachable(f"the replication session broke off: {_first_line(answer.error_message)}")
            raise StreamBroken(_first_line(answer.error_message))
        return [(answer.get_value(0, column) or b"").decode(errors="replace") for column in range(answer.nfields)]

    def _said(self) -> str:
        return _first_line(self._session.error_message)


def left_at(history: str, timeline: int) -> int | None:
    """Return where ``timeline`` was left by a history, as PostgreSQL writes it; None where it is not part of it."""
    lines = [line.split() for line in history.splitlines()]
    return next((lsn_of(line[1]) for line in lines if len(line) > 1 and line[0] == str(timeline)), None)


def quoted(name: str) -> str:
    """Return a name as the replication grammar has it."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first_line(message: bytes | str) -> str:
    text = message.decode(errors="replace") if isinstance(message, bytes) else message
    lines = text.strip().splitlines()
    return lines[0].removeprefix("ERROR:  ") if lines else "no reason given"
