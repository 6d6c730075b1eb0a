"""One connection to a stack: at any time it serves one exchange, or none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from strangler_proxy.http1.head import Garbled
from strangler_proxy.http1.stream import ResponseStream
from strangler_proxy.settings import Limits

if TYPE_CHECKING:
    from strangler_proxy.pool import Endpoint


class Asker(Protocol):
    """Whose request a connection serves."""

    def relay(self) -> None:
        """Go on with what has come since."""
        ...

    def garbled(self, what: str) -> None: ...
    def upstream_lost(self) -> None: ...
    def upstream_full(self, full: bool) -> None: ...


class Upstream(ResponseStream, asyncio.Protocol):
    """Feeds what comes to its exchange, and passes the transport's backpressure on."""

    __slots__ = ("endpoint", "exchange", "made", "since", "transport", "used")

    transport: asyncio.Transport

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        super().__init__(limits)
        self.endpoint = endpoint
        self.exchange: Asker | None = None
        self.since = 0.0
        self.used = False
        self.made = False

    def __repr__(self) -> str:
        return f"<Upstream {self.endpoint.url} {'busy' if self.exchange else 'idle'}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = True
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=self._limits.buffer)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # an answer to nothing
            self.transport.abort()
            return
        try:
            self.feed(data)
        except Garbled as exc:
            exchange.garbled(str(exc))
            return
        exchange.relay()

    def eof_received(self) -> bool:
        """End a response that ends so; any other is cut short, which ``connection_lost`` tells."""
        exchange = self.exchange
        if exchange is None:
            return False
        if self.finish():
            exchange.relay()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.lost(self)
        if self.exchange is not None:
            self.exchange.upstream_lost()

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.upstream_full(True)

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.upstream_full(False)
