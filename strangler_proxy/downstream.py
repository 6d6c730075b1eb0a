"""One client's connection: its requests in order, one at a time on the way.

A client may send requests without awaiting answers (pipelining). Those behind the one under way are parsed as far as
one slice of bytes has carried them, and reading stops until their turn: what waits is bounded.

A connection that ends while bytes still come would be reset, and a reset can take back an answer that the client has
not read yet (RFC 9112 section 9.6). So after an early answer the proxy says that it is done, throws away what comes
for a moment, and closes then.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Final, cast

from strangler_proxy.forward import Exchange
from strangler_proxy.forwarded import Peer, Trail
from strangler_proxy.http1.body import Framing
from strangler_proxy.http1.head import Refused, RequestHead
from strangler_proxy.http1.hygiene import Pair
from strangler_proxy.http1.stream import RequestStream
from strangler_proxy.problem import Problem, write_problem
from strangler_proxy.switchboard import Switchboard

_LINGER: Final = 2.0  # Apache's lingering close
_RESET: Final = struct.pack("ii", 1, 0)


class Downstream(RequestStream, asyncio.Protocol):
    """Reads requests, hands each to an exchange, and ends when told."""

    __slots__ = (
        "_advancing",
        "_backlog",
        "_board",
        "_current",
        "_ended",
        "_eof",
        "_final",
        "_in_head",
        "_paused",
        "_pending",
        "_receiving",
        "_refused",
        "choked",
        "deadline",
        "full",
        "peer",
        "transport",
    )

    transport: asyncio.Transport
    deadline: float

    def __init__(self, board: Switchboard) -> None:
        super().__init__(board.limits)
        self._board = board
        self._current: Exchange | None = None
        self._receiving: Exchange | None = None
        self._pending: deque[Exchange] = deque()
        self._backlog = b""
        self._refused: Refused | None = None
        self._final = False  # the last request to be answered here has come
        self._in_head = False
        self._ended = False
        self._eof = False
        self.choked = False
        self._paused = False
        self._advancing = False
        self.full = False

    def __repr__(self) -> str:
        return f"<Downstream {self.peer.address} current={self._current!r}>"

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        board = self._board
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=board.limits.buffer)
        name = transport.get_extra_info("peername")
        self.peer = Peer(name[0] if name else "unix", board.trusted)
        board.tally.accepted += 1
        board.watched.add(self)
        self._rest()

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        if self._current is not None and (self._backlog or self.holds()):
            self._backlog += data
        else:
            self._take(data)
        self._advance()

    def eof_received(self) -> bool:
        """Keep the way back open while an answer is on it: a client may have finished sending, and still listen."""
        self._eof = True
        return self._current is not None and self._receiving is None and not self._ended

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._board.watched.discard(self)
        self._pending.clear()
        current, self._current = self._current, None
        if current is not None:
            current.abandon()

    def pause_writing(self) -> None:
        self.full = True
        if self._current is not None:
            self._current.client_full(True)

    def resume_writing(self) -> None:
        self.full = False
        if self._current is not None:
            self._current.client_full(False)

    # --- the stream's calls ---

    def holds(self) -> bool:
        if self._receiving is not None:
            return self._receiving is not self._current
        return bool(self._pending) or self._final

    def request_came(self, head: RequestHead) -> None:
        self._in_head = False
        self._final = not head.keep_alive or bool(head.upgrade)
        exchange = Exchange(self._board, self, head)
        self._receiving = exchange
        if self._current is None and not self._pending:
            self._current = exchange
        else:
            self._pending.append(exchange)

    def body_came(self, data: bytes) -> None:
        if self._receiving is not None:
            self._receiving.body_came(data)

    def request_ended(self, trailers: list[Pair]) -> None:
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            receiving.request_ended(trailers)

    # --- the exchange's calls ---

    def choke(self, choked: bool) -> None:
        """Stop or go on reading, as the stack takes the request's body."""
        self.choked = choked
        self._throttle()

    def exchange_over(self, close: bool) -> None:
        """Go on with the next request, or end."""
        upgrade = self._current is not None and self._current.head.upgrade
        self._current = None
        if close or (self._eof and not self._pending and not self._backlog):
            self._finish()
            return
        if upgrade:  # refused: what waited for it is plain HTTP
            self._final = False
        self._rest()
        self._advance()

    def break_off(self, framing: Framing) -> None:
        """End so that the client cannot take what it has for a whole response."""
        self._ended = True
        self._current = None
        if framing is Framing.CLOSE:  # an orderly end would look like the body's
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def release(self) -> bytes:
        """Give the transport away to a tunnel, and return what the client has sent ahead."""
        self._ended = True
        self._current = None
        self._board.watched.discard(self)
        early, self._backlog = self._backlog, b""
        return early

    # --- time ---

    def expire(self) -> None:
        """End whatever has not moved by ``deadline``."""
        if self._ended:
            self.transport.abort()
        elif self._current is not None:
            self._current.expire()
        elif self._in_head:
            self._refuse(Refused(408, "The request's head did not come in time."))
        else:
            self._finish()

    def abort(self) -> None:
        self.transport.abort()

    def drain(self) -> None:
        """Give a client that has nothing under way a moment to send, and close."""
        if self._current is None and not self._in_head:
            self.deadline = min(self.deadline, self._board.time() + self._board.timeouts.drain_idle)

    # --- inside ---

    def _take(self, data: bytes) -> None:
        try:
            self._backlog = self.feed(data)
        except Refused as refused:
            if not self._final or self._receiving is not None:  # what follows the last request is nobody's
                self._spoil(refused)

    def _spoil(self, refused: Refused) -> None:
        self._final = True
        receiving = self._receiving
        if receiving is not None and receiving is self._current and receiving.started:
            receiving.spoiled(refused)
            return
        self._receiving = None
        if receiving is not None:  # not begun: its place is last
            if receiving is self._current:
                self._current = None
            else:
                self._pending.pop()
        self._refused = refused

    def _advance(self) -> None:
        """Start or feed the request whose turn it is; those that end at once make room for the next."""
        if self._advancing:
            return
        self._advancing = True
        while not self._ended:
            current = self._current
            if current is None:
                if not self._next():
                    break
                continue
            if current.started:
                current.flush()
            else:
                current.start()
            if self._current is current and not self._feed_backlog():
                break
        self._advancing = False
        self._throttle()

    def _next(self) -> bool:
        """Make the next request the current one, and return whether there may be one."""
        if self._pending:
            self._current = self._pending.popleft()
            return True
        if self._refused is not None:
            self._refuse(self._refused)
            return False
        if self._feed_backlog():
            return True
        if self._fed and not self._in_head:
            self._in_head = True
            self.deadline = self._board.time() + self._board.timeouts.request_headers
        return False

    def _feed_backlog(self) -> bool:
        """Parse what had to wait, if it need not any more, and return whether that was done."""
        if not self._backlog or self.holds() or self._ended:
            return False
        data, self._backlog = self._backlog, b""
        self._take(data)
        return True

    def _throttle(self) -> None:
        paused = (self.choked or bool(self._backlog) or bool(self._pending)) and not self._ended
        if paused is self._paused or self.transport.is_closing():
            return
        self._paused = paused
        if paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _rest(self) -> None:
        timeouts = self._board.timeouts
        self.deadline = self._board.time() + (timeouts.drain_idle if self._board.draining else timeouts.idle)

    def _refuse(self, refused: Refused) -> None:
        trail = Trail(RequestHead("", b"", 1), False)
        problem = Problem(status=refused.status, detail=refused.detail)
        self.transport.write(
            write_problem(problem, trail.request_id.decode("ascii"), accept=None, head_only=False, close=True)
        )
        self._board.tally.request("", "none", "refused", "other", refused.status, 0.0)
        self._refused = None
        self._final = True
        self._finish(linger=True)

    def _finish(self, linger: bool = False) -> None:
        linger = linger or self._receiving is not None or bool(self._backlog or self._pending)
        self._ended = True
        self._receiving = None
        self._pending.clear()
        self._backlog = b""
        if not linger or self._eof or self.transport.is_closing():
            self.deadline = self._board.time() + self._board.timeouts.stream_idle
            self.transport.close()
            return
        self.deadline = self._board.time() + _LINGER
        self.transport.write_eof()
        self._throttle()
