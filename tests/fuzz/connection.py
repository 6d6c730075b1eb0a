"""A client's connection and its stack's in one process, without sockets: bytes in, bytes out, nothing left behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, cast

import h11

from strangler.routing.table import MONOLITH, RoutingTable
from strangler_proxy.downstream import Downstream
from strangler_proxy.endpoint import Endpoint, Taker
from strangler_proxy.forwarded import Peer
from strangler_proxy.settings import Settings
from strangler_proxy.switchboard import Switchboard
from strangler_proxy.upstream import Upstream
from tests.conformance.case import masked

_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# Each piece that is read may be written as more than it was: a head with what the proxy adds, chunks with their sizes,
# problems. What 10,000 bytes come to is bounded by this all the same.
_MOST_WRITTEN: Final = 1 << 20


class Line(asyncio.Transport):
    """A transport in memory; what is sent towards ``protocol`` waits while it does not read."""

    def __init__(self, wire: socket.socket) -> None:
        super().__init__()
        self.out = bytearray()
        self.ended = False
        self._wire = wire
        self._paused = False
        self._closing = False
        self._waiting: list[bytes] = []

    def attach(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        protocol.connection_made(self)

    def come(self, data: bytes) -> None:
        """Have ``data`` arrive, now or as soon as it is read."""
        self._waiting.append(data)
        self._deliver()

    def _deliver(self) -> None:
        while self._waiting and not self._paused and not self._closing:
            self.protocol.data_received(self._waiting.pop(0))

    def lose(self) -> None:
        """Have the connection end."""
        if not self.ended:
            self.ended = self._closing = True
            self.protocol.connection_lost(None)

    # --- what the protocol calls ---

    def write(self, data: Any) -> None:
        assert not self.ended, "something is written to a connection that is gone"
        self.out += data
        assert len(self.out) < _MOST_WRITTEN, "more is written than can have been meant"

    def write_eof(self) -> None:
        """Nobody looks at it."""

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self._closing = True

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever kept."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast("asyncio.Protocol", protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._wire if name == "socket" else default


class _Stack(Endpoint):
    """An endpoint whose connections are there at once."""

    def __init__(self, endpoint: Endpoint, connect: Callable[[Endpoint], Upstream]) -> None:
        super().__init__(endpoint.place, endpoint.bounds, endpoint._limits, endpoint._secure)
        self._made = connect

    def take(self, repeatable: bool) -> Upstream | None:
        return None

    def ask(self, taker: Taker) -> bool:
        self.open += 1
        taker.connected(self._made(self))
        return True

    def release(self, upstream: Upstream) -> None:
        upstream.transport.close()


class Stage:
    """A worker's switchboard, on which one connection is played after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._wire, self._far = socket.socketpair()
        table = RoutingTable(version=1, upstreams={MONOLITH: ("http://127.0.0.1:1",)}, capabilities=())
        self._board = self._loop.run_until_complete(self._made(table))
        self._later: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self._board.call_later = self._call_later  # type: ignore[assignment]

    async def _made(self, table: RoutingTable) -> Switchboard:
        board = Switchboard(Settings(worker="fuzz", table=""), table, None)
        cluster = board.pool.clusters[MONOLITH]
        self._stack = cluster.only = _Stack(cluster.endpoints[0], self._connected)
        cluster.endpoints = (self._stack,)
        return board

    def close(self) -> None:
        self._board.close()
        self._loop.close()
        self._wire.close()
        self._far.close()

    def play(self, client: list[bytes], answer: list[bytes], early: bool = False) -> tuple[bytes, list[bytes]]:
        """Play a connection, and return what came back and what each connection to the stack received.

        The stack gives ``answer`` to the first request, when it is whole, or ``early``, when its head is.
        Raises whatever is raised inside, and ``AssertionError`` where something is left behind.
        """
        self._lines: list[Line] = []
        self._answered: list[int] = []
        self._answer = answer
        self._early = early
        line = Line(self._wire)
        downstream = Downstream(self._board, Peer("192.0.2.7", ()))
        line.attach(downstream)
        for piece in client:
            line.come(piece)
            self._turn(line)
        if not line.protocol.eof_received():
            line.close()
        self._turn(line)
        line.lose()
        for each in self._lines:
            each.lose()
        self._later.clear()
        self._check()
        return masked(bytes(line.out)), [masked(bytes(each.out)) for each in self._lines]

    def _call_later(self, seconds: float, function: Callable[..., object], *args: object) -> None:
        self._later.append((function, args))

    def _connected(self, endpoint: Endpoint) -> Upstream:
        upstream, line = Upstream(endpoint, self._board.limits), Line(self._wire)
        line.attach(upstream)
        self._lines.append(line)
        self._answered.append(0)
        return upstream

    def _turn(self, client: Line) -> None:
        """Let everybody do what is theirs to do, until nobody has anything to do."""
        before = -1
        while before != (before := self._moved(client)):
            for function, args in self._later[:]:
                function(*args)
            self._later.clear()
            for at, line in enumerate(self._lines):
                self._reply(at, line)
            client._deliver()
            if client.is_closing():
                client.lose()
            for line in self._lines:
                if line.is_closing():
                    line.lose()

    def _moved(self, client: Line) -> int:
        return len(client.out) + sum(len(line.out) + line.ended for line in self._lines) + client.ended

    def _reply(self, at: int, line: Line) -> None:
        """Answer what has come of requests over one connection: the first as told, others plainly."""
        asked = b"\r\n\r\n" in line.out if self._early else is_whole(bytes(line.out))
        if asked and not self._answered[at] and not line.ended:
            self._answered[at] = 1
            for piece in self._answer if at == 0 else [_ANSWER]:
                line.come(piece)

    def _check(self) -> None:
        board, stack = self._board, self._stack
        cluster = board.pool.clusters[MONOLITH]
        left = {
            "requests": board.tally.in_flight,
            "tunnels": board.tally.tunnels,
            "watched": len(board.watched),
            "clients": len(board.clients),
            "of the stack": cluster.requests.in_flight,
            "pending": stack.pending,
            "open": stack.open,
        }
        assert not any(left.values()), f"left behind: {left}"


def is_whole(data: bytes) -> bool:
    """Return whether ``data`` is a whole request. Raises ``h11.RemoteProtocolError`` when it can become none."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 24)
    reader.receive_data(data)
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            return False
        if isinstance(event, h11.EndOfMessage):
            return True
