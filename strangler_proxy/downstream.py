"""One client's connection: its requests in order, one at a time on the way.

A client may send requests without awaiting answers (pipelining). What stands behind the one under way is kept as it
came, and reading stops until its turn: what waits is bounded, and so is what a client that does not read its answers
can make the proxy hold.

A connection that ends while bytes still come would be reset, and a reset can take back an answer that the client has
not read yet (RFC 9112 section 9.6). So the proxy says that it is done, throws away what comes until the client is
done, too, or has had everything for a moment, and closes then.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from time import monotonic
from typing import Final, cast

from strangler_proxy.forward import Exchange
from strangler_proxy.forwarded import Peer, Trail
from strangler_proxy.http1.body import Body, Chunked, Framing, Malformed, Sized
from strangler_proxy.http1.head import Refused, RequestHead, read_request
from strangler_proxy.problem import Problem, write_problem
from strangler_proxy.switchboard import Switchboard

_LINGER: Final = 2.0  # Apache's lingering close
_RESET: Final = struct.pack("ii", 1, 0)
# RFC 9112 section 2.2: some clients send an empty line behind a body.
_BLANK: Final = re.compile(rb"(?:\r\n)+")
_NONE: Final = Framing.NONE
_LENGTH: Final = Framing.LENGTH
_CLOSE: Final = Framing.CLOSE


class Downstream(asyncio.Protocol):
    """Reads requests, hands each to an exchange, and ends when told.

    ``peer`` is the client where something before has found out; else it is who the transport says.
    """

    __slots__ = (
        "_board",
        "_body",
        "_ended",
        "_eof",
        "_exchange",
        "_in_head",
        "_paused",
        "_reading",
        "_rest",
        "_stuck_since",
        "_unsent",
        "choked",
        "deadline",
        "full",
        "peer",
        "transport",
    )

    transport: asyncio.Transport
    peer: Peer
    deadline: float

    def __init__(self, board: Switchboard, peer: Peer | None = None) -> None:
        self._board = board
        self._exchange: Exchange | None = None
        self._body: Body | None = None  # of the request that is still coming
        self._rest = b""  # what came and waits, for its end or for its turn
        self._in_head = False
        self._reading = False
        self._paused = False
        self._ended = False
        self._eof = False
        self.choked = False
        self.full = False
        if peer is not None:
            self.peer = peer

    def __repr__(self) -> str:
        return f"<Downstream {self.peer.address} exchange={self._exchange!r}>"

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        board = self._board
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=board.limits.buffer)
        if not hasattr(self, "peer"):
            self.peer = Peer.of(transport, board.trusted)
        board.tally.accepted += 1
        board.watched.add(self)
        self._rested()
        if not self.peer.trusted:
            count = board.clients[self.peer.address] = board.clients.get(self.peer.address, 0) + 1
            if count > board.limits.client_connections:
                board.tally.refusal("connections", "")
                self._refuse(Refused(503, "There are too many connections from your address."))

    def data_received(self, data: bytes) -> None:
        if not self._ended:
            self._read(self._rest + data if self._rest else data)

    def eof_received(self) -> bool:
        """Keep the way back open while an answer is on it: a client may have finished sending, and still listen."""
        self._eof = True
        if self._body is not None and self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            self._ended = True
            exchange.abandon()
        elif self._exchange is not None:
            self._exchange.client_ended()
        waits = self._exchange is not None or bool(self._rest and not self._in_head)
        return waits and not self._ended and self.transport.can_write_eof()  # over TLS both ways end at once

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._board.watched.discard(self)
        self.uncount()
        self._rest = b""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()

    def pause_writing(self) -> None:
        self.full = True
        if self._exchange is not None:
            self._exchange.client_full(True)

    def resume_writing(self) -> None:
        self.full = False
        if self._exchange is not None:
            self._exchange.client_full(False)
        elif not self._reading:
            self._go_on()

    # --- the exchange's calls ---

    def choke(self, choked: bool) -> None:
        """Stop or go on reading, as the stack takes the request's body."""
        self.choked = choked
        self._throttle()

    def exchange_over(self, close: bool) -> None:
        """Go on with the next request, or end."""
        self._exchange = None
        if close or (self._eof and not self._rest):
            self._finish()
            return
        self._rested()
        if not self._reading and (self._rest or self._paused):
            self._go_on()

    def break_off(self, framing: Framing) -> None:
        """End so that the client cannot take what it has for a whole response."""
        self._ended = True
        self._exchange = None
        if framing is _CLOSE:  # an orderly end would look like the body's
            self._reset()
        else:
            self.transport.abort()

    def release(self) -> bytes:
        """Give the transport away to a tunnel, and return what the client has sent ahead. It still counts."""
        self._ended = True
        self._exchange = None
        self._board.watched.discard(self)
        early, self._rest = self._rest, b""
        return early

    # --- time ---

    def expire(self) -> None:
        """End whatever has not moved by ``deadline``."""
        if self._ended:
            self._linger()
        elif self.transport.is_closing():
            self.transport.abort()
        elif self._exchange is not None:
            self._exchange.expire()
        elif self._in_head:
            self._refuse(Refused(408, "The request's head did not come in time."))
        else:
            self._finish()

    def abort(self) -> None:
        self.transport.abort()

    def drain(self) -> None:
        """Give a client that has nothing under way a moment to send, and close."""
        if self._exchange is None and not self._in_head:
            self.deadline = min(self.deadline, monotonic() + self._board.timeouts.drain_idle)

    # --- inside ---

    def _read(self, data: bytes) -> None:
        """Take what may be taken of ``data``; the rest is kept."""
        self._reading = True
        while data and not self._ended:
            if self._body is not None:
                data = self._read_body(self._body, data)
            elif self._exchange is not None or self.full:
                break
            else:
                rest = self._read_head(data)
                if rest is None:
                    break
                data = rest
        self._rest = b"" if self._ended else data
        self._reading = False
        if data or self._paused or self.full:
            self._throttle()

    def _go_on(self) -> None:
        if self._rest:
            self._read(self._rest)
        else:
            self._throttle()

    def _read_head(self, data: bytes) -> bytes | None:
        """Begin the request that ``data`` begins with, and return what stands behind its head; None: not yet."""
        if data[0] == 13:
            data = _BLANK.sub(b"", data, 1)
            if not data:
                return data
        try:
            found = read_request(data, self._board.limits) if data != b"\r" else None
        except Refused as refused:
            self._refuse(refused)
            return b""
        if found is None:
            self._await_head()
            return None
        head, used = found
        self._in_head = False
        exchange = self._exchange = Exchange(self._board, self, head)
        rest = data[used:]
        if head.framing is _NONE:
            exchange.request_done = True
        else:
            rest = self._begin_body(exchange, head, rest)
            if not exchange.wanted:  # something was wrong with it
                return rest
        exchange.start()
        return rest

    def _await_head(self) -> None:
        if not self._in_head:
            self._in_head = True
            self.deadline = monotonic() + self._board.timeouts.request_headers

    def _begin_body(self, exchange: Exchange, head: RequestHead, data: bytes) -> bytes:
        """Take what has come of a request's body, and return what stands behind it."""
        if head.framing is not _LENGTH:
            self._body = Chunked(self._board.limits.request_headers)
        elif head.length:
            self._body = Sized(head.length)
        else:
            exchange.request_done = True
            return data
        return self._read_body(self._body, data) if data else data

    def _read_body(self, body: Body, data: bytes) -> bytes:
        """Pass on what ``data`` has of a request's body, and return what stands behind it."""
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 -- a body is not read any more when its exchange is over
        try:
            piece, rest = body.feed(data)
        except Malformed as exc:
            self._body = None
            exchange.spoiled(exc.status, str(exc))
            return b""
        if body.done:
            self._body = None
        exchange.body_came(piece, body.trailers if body.done else None)
        return rest

    def _throttle(self) -> None:
        wanted = self.choked or bool(self._rest and not self._in_head) or (self.full and self._exchange is None)
        paused = wanted and not self._ended
        if paused is self._paused or self.transport.is_closing():
            return
        self._paused = paused
        if paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _rested(self) -> None:
        timeouts = self._board.timeouts
        self.deadline = monotonic() + (timeouts.drain_idle if self._board.draining else timeouts.idle)

    def uncount(self) -> None:
        """Note that the client has one connection less."""
        if self.peer.trusted:
            return
        clients, address = self._board.clients, self.peer.address
        if clients[address] == 1:
            del clients[address]
        else:
            clients[address] -= 1

    def _refuse(self, refused: Refused) -> None:
        trail = Trail(RequestHead("", b"", 1), False)
        request_id = trail.request_id.decode("ascii")
        problem = Problem(status=refused.status, detail=refused.detail)
        self.transport.write(write_problem(problem, request_id, accept=None, head_only=False, close=True))
        self._board.refused(refused.status, request_id)
        self._finish()

    def _finish(self) -> None:
        """Say that nothing more comes, and close when the client has said so, too."""
        self._ended = True
        self._rest = b""
        self._body = None
        self._unsent = -1
        self.deadline = monotonic() + _LINGER
        if self.transport.is_closing():
            return
        if self._eof or not self.transport.can_write_eof():  # TLS has no such half; it tells its end and waits itself
            self.transport.close()
            return
        self.transport.write_eof()
        self._throttle()

    def _linger(self) -> None:
        """Close what has been idle for a moment with all sent; break off what the client does not take."""
        unsent, now = self.transport.get_write_buffer_size(), monotonic()
        if unsent != self._unsent:
            self._unsent = unsent
            self._stuck_since = now
        elif not unsent:
            self.transport.abort()
            return
        elif now - self._stuck_since > self._board.timeouts.stream_idle:
            self._reset()
            return
        self.deadline = now + _LINGER

    def _reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()
