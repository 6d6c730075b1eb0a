"""Before the data plane: finds out who is at the other end of a connection, and hands it over.

A balancer's connection begins with a header of the PROXY protocol, in the clear even where TLS follows. So where
headers may come, TLS begins behind them, and the server itself knows nothing of it; elsewhere the server does it.
Who is in no network that may send headers passes at once, whatever the first bytes are.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, cast

from strangler.routing.address import Listen, parse_listen, plain_address
from strangler_proxy.doors import Doors
from strangler_proxy.downstream import Downstream
from strangler_proxy.forwarded import Peer
from strangler_proxy.http1.hygiene import is_trusted
from strangler_proxy.proxy_protocol import Family, Header, HeaderInvalid, HeaderReader
from strangler_proxy.settings import Entry
from strangler_proxy.switchboard import Switchboard
from strangler_proxy.tls import Certificate

_LOG: Final = logging.getLogger("strangler_proxy")
_NEIGHBOUR: Final = "127.0.0.1"
_COMPLAIN_AGAIN: Final = 60.0  # a scan of all ports, or a balancer set up wrong, would fill the log


class Entrances:
    """The ways into a worker, one a listening socket. Raises ``CertificateInvalid``."""

    def __init__(self, board: Switchboard, entry: Entry) -> None:
        self._board = board
        self._entry = entry
        files = (Path(entry.certificate), Path(entry.key))
        self._certificate = Certificate.for_clients(*files) if entry.certificate else None
        self._complaints = Complaints()
        self._doors = Doors(board)

    def __repr__(self) -> str:
        return f"<Entrances {', '.join(self._entry.addresses)}>"

    async def open(self, listeners: Sequence[socket.socket], addresses: Sequence[str]) -> None:
        """Let clients in at ``listeners``, as the address of each says."""
        for listener, address in zip(listeners, addresses, strict=True):
            self._add(listener, parse_listen(address))
        await self._doors.open()

    def close(self) -> None:
        """Let nobody in any more."""
        self._doors.close()

    def look(self) -> None:
        """Take over a certificate whose files have changed, and see who may come; to be called every second or so."""
        self._doors.look()
        if self._certificate is not None and self._certificate.look():
            _LOG.info("clients are shown the certificate as it is now")

    def reload(self) -> None:
        """Read the certificate's files again, changed or not."""
        if self._certificate is not None:
            self._certificate.reload()

    def _add(self, listener: socket.socket, listen: Listen) -> None:
        certificate = self._certificate if listen.secure else None
        board = self._board
        if self._entry.proxy_protocol or listener.family == socket.AF_UNIX:
            rules = Rules(board=board, entry=self._entry, certificate=certificate, complaints=self._complaints)
            self._doors.add(listener, lambda: Entrance(rules))
        else:
            self._doors.add(listener, lambda: Downstream(board), certificate.listening() if certificate else None)


class Complaints:
    """Says why a connection was closed: at once, then at most once a minute, with how many more there were."""

    def __init__(self) -> None:
        self._silent_until = 0.0
        self._unsaid = 0

    def __call__(self, now: float, address: str, why: str) -> None:
        if now < self._silent_until:
            self._unsaid += 1
            return
        _LOG.warning("a connection from %s is closed: %s (%d more before)", address, why, self._unsaid)
        self._silent_until, self._unsaid = now + _COMPLAIN_AGAIN, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every connection to a socket: TLS begins behind the header where there is a ``certificate``."""

    board: Switchboard
    entry: Entry
    certificate: Certificate | None = None
    complaints: Complaints = field(default_factory=Complaints)


class Entrance(asyncio.Protocol):
    """Reads a header where one must come, does the TLS handshake, and makes way for a ``Downstream``."""

    __slots__ = ("_address", "_early", "_encrypted", "_lost", "_reader", "_rules", "_shaking", "deadline", "transport")

    transport: asyncio.Transport
    deadline: float

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._address = ""
        self._encrypted = False
        self._reader: HeaderReader | None = None
        self._shaking: asyncio.Task[None] | None = None
        self._early = b""
        self._lost = False

    def __repr__(self) -> str:
        return f"<Entrance {self._address} {'before its header' if self._reader else 'at its handshake'}>"

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        board = self._rules.board
        self.transport = cast("asyncio.Transport", transport)
        address = _address_of(transport)
        if address is None:
            self.transport.abort()
            return
        self._address = address
        self.deadline = board.time() + board.timeouts.request_headers
        board.watched.add(self)
        if is_trusted(self._address, self._rules.entry.proxy_protocol):
            self._reader = HeaderReader()
        else:
            self._pass(b"")

    def data_received(self, data: bytes) -> None:
        if self._reader is None:  # the handshake's task has not begun yet, or is not back yet
            self._early += data
            return
        try:
            header = self._reader.feed(data)
        except HeaderInvalid as exc:
            self._refuse(str(exc))
            return
        if header is not None:
            self._introduce(header)
            rest, self._reader = self._reader.rest, None
            self._pass(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._rules.board.watched.discard(self)

    # --- the switchboard's calls ---

    def expire(self) -> None:
        """End a connection that nobody knows whose it is by ``deadline``."""
        if self._reader is not None:
            self._complain("its header of the PROXY protocol did not come in time")
        self.transport.abort()

    def abort(self) -> None:
        self.transport.abort()

    def drain(self) -> None:
        """Nothing was asked yet, and nothing need be answered."""
        self.deadline = min(self.deadline, self._rules.board.time() + self._rules.board.timeouts.drain_idle)

    # --- inside ---

    def _introduce(self, header: Header) -> None:
        """Take a header's word; without an address, the connection is the balancer's own or of its own machine."""
        if header.source is not None and header.family is not Family.UNIX:
            self._address = header.source[0]
        self._encrypted = header.tls is not None and header.tls.secure

    def _pass(self, rest: bytes) -> None:
        """Go on with what came behind the header."""
        if self._rules.certificate is None:
            self._hand_over(self.transport, rest)
            return
        self._early = rest
        self.deadline += self._rules.board.timeouts.request_headers
        self._shaking = asyncio.get_running_loop().create_task(self._shake_hands(self._rules.certificate))

    async def _shake_hands(self, certificate: Certificate) -> None:
        loop = asyncio.get_running_loop()
        start = loop.create_task(
            loop.start_tls(
                self.transport,
                self,
                certificate.current,
                server_side=True,
                ssl_handshake_timeout=self._rules.board.timeouts.request_headers,
            )
        )
        # What came with the header belongs to the handshake, and nothing takes bytes back into a transport. So they
        # are given to the protocol that start_tls puts there. That stops reading, and schedules that its protocol is
        # told of the connection and that reading goes on; the loop takes calls in their order, so this one comes
        # right behind those, and before anything is read.
        loop.call_soon(loop.call_soon, self._feed)
        try:
            transport = await start
        except (OSError, RuntimeError):  # no TLS, one that is too old, or gone (before: uvloop's RuntimeError)
            transport = None
        if transport is None or self._lost:
            self._rules.board.watched.discard(self)
            self.transport.abort()
            return
        self._encrypted = True
        self._hand_over(transport, self._early)

    def _feed(self) -> None:
        protocol, data, self._early = cast("_Buffered", self.transport.get_protocol()), self._early, b""
        while data and not self.transport.is_closing():
            buffer = protocol.get_buffer(len(data))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            protocol.buffer_updated(size)
            data = data[size:]

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        board = self._rules.board
        board.watched.discard(self)
        downstream = Downstream(board, Peer(self._address, board.trusted, self._encrypted))
        transport.set_protocol(downstream)
        downstream.connection_made(transport)
        if data:
            downstream.data_received(data)

    def _refuse(self, why: str) -> None:
        self._complain(why)
        self.transport.abort()

    def _complain(self, why: str) -> None:
        self._rules.complaints(self._rules.board.time(), self._address, why)


def _address_of(transport: asyncio.BaseTransport) -> str | None:
    """Return who is at the other end; None when it is gone already.

    Who comes through a Unix socket is on this machine as who comes to 127.0.0.1 is, and is believed where that is.
    """
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple):
        return plain_address(name[0])
    return _NEIGHBOUR if transport.get_extra_info("socket").family == socket.AF_UNIX else None


class _Buffered(Protocol):
    """What ``start_tls`` puts before a transport, as far as it is used here: an ``asyncio.BufferedProtocol``."""

    def get_buffer(self, sizehint: int) -> memoryview: ...
    def buffer_updated(self, nbytes: int) -> None: ...
