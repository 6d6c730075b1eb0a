"""What is left of two connections after an upgrade: bytes one way and the other, each as fast as its reader.

A side that says it is done (FIN) is told to the other, which may go on sending: protocols inside may need that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from strangler_proxy.switchboard import Switchboard


class _End(asyncio.Protocol):
    """One side."""

    __slots__ = ("_done", "_other", "_tunnel", "transport")

    _other: _End

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._done = False
        self.transport = transport

    def join(self, other: _End) -> None:
        self._other = other

    def data_received(self, data: bytes) -> None:
        self._tunnel.progress()
        if not self._other.transport.is_closing():
            self._other.transport.write(data)

    def eof_received(self) -> bool:
        self._done = True
        whole = not (self.transport.can_write_eof() and self._other.transport.can_write_eof())  # TLS ends both ways
        if whole or self._other._done or self._other.transport.is_closing():
            self.transport.close()
            self._other.transport.close()
            return False
        self._other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._other.transport.close()
        self._tunnel.lost(self)

    def pause_writing(self) -> None:
        if not self._other.transport.is_closing():
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        self._tunnel.progress()
        if not self._other.transport.is_closing():
            self._other.transport.resume_reading()


class Tunnel:
    """Two transports joined; it ends when both have, or nothing moves for ``stream_idle``."""

    __slots__ = ("_board", "_client", "_ended", "_left", "_stack", "deadline")

    def __init__(
        self,
        board: Switchboard,
        client: asyncio.Transport,
        stack: asyncio.Transport,
        ended: Callable[[], None],
        left: Callable[[], None],
    ) -> None:
        self._board = board
        self._client: _End | None = _End(self, client)
        self._stack: _End | None = _End(self, stack)
        self._client.join(self._stack)
        self._stack.join(self._client)
        self._ended = ended
        self._left = left
        self.deadline = 0.0
        self.progress()
        board.watched.add(self)
        board.tally.tunnels += 1
        for end in (self._client, self._stack):
            end.transport.set_protocol(end)
            end.transport.set_write_buffer_limits(high=board.limits.buffer)
            end.transport.resume_reading()

    def __repr__(self) -> str:
        return f"<Tunnel client={self._client is not None} stack={self._stack is not None}>"

    def progress(self) -> None:
        self.deadline = self._board.time() + self._board.timeouts.stream_idle

    def lost(self, end: _End) -> None:
        if end is self._client:
            self._client = None
            self._left()
        else:
            self._stack = None
            self._ended()
        if self._client is None and self._stack is None:
            self._board.watched.discard(self)
            self._board.tally.tunnels -= 1

    def expire(self) -> None:
        self.abort()

    def abort(self) -> None:
        for end in (self._client, self._stack):
            if end is not None:
                end.transport.abort()

    def drain(self) -> None:
        """Nothing: what runs in a tunnel cannot be asked to end; the drain's own limit ends it."""


def open_tunnel(
    board: Switchboard,
    client: asyncio.BaseTransport,
    stack: asyncio.BaseTransport,
    ended: Callable[[], None],
    left: Callable[[], None],
) -> None:
    """Join ``client`` and ``stack``; ``ended`` is called when the stack's side is gone, ``left`` when the client's."""
    Tunnel(board, cast("asyncio.Transport", client), cast("asyncio.Transport", stack), ended, left)
