"""One connection to a stack: at any time it serves one exchange, or none."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Final, Protocol, cast

from strangler.project.limits import Limits
from strangler_proxy.http1.body import Body, Chunked, Endless, Framing, Malformed, Sized, Trailers
from strangler_proxy.http1.head import Garbled, ResponseHead, read_response

if TYPE_CHECKING:
    from strangler_proxy.endpoint import Endpoint

_NONE: Final = Framing.NONE
_LENGTH: Final = Framing.LENGTH
_CHUNKED: Final = Framing.CHUNKED
_WHOLE: Final[Trailers] = ()
# In one piece of what comes; 102 and 103 come one by one.
_MOST_INTERIM: Final = 64


class Asker(Protocol):
    """Whose request a connection serves. ``end`` is None while more of the body will come, else its trailers."""

    def interim(self, head: ResponseHead) -> None: ...
    def answered(self, head: ResponseHead, body: bytes, end: Trailers | None) -> None: ...
    def continued(self, body: bytes, end: Trailers | None) -> None: ...
    def switched(self, head: ResponseHead, rest: bytes) -> None: ...
    def garbled(self, what: str) -> None: ...
    def upstream_lost(self) -> None: ...
    def upstream_full(self, full: bool) -> None: ...


class Upstream(asyncio.Protocol):
    """Reads the response to each request, and passes the transport's backpressure on.

    ``wire.poll(0)`` is true when there is something to be read: a stray answer, which the next request would take for
    its own, or the end. Asking the system costs 0.4 us. Without it, what came since the loop last looked would go
    unnoticed.

    ``heard`` says that something has come since the request left, ``surplus`` that more came than was asked for:
    such a connection is not used again.
    """

    __slots__ = (
        "_body",
        "_limits",
        "_method",
        "_rest",
        "endpoint",
        "exchange",
        "heard",
        "made",
        "since",
        "surplus",
        "transport",
        "used",
        "wire",
    )

    transport: asyncio.Transport

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self.endpoint = endpoint
        self.exchange: Asker | None = None
        self.since = 0.0
        self.used = False
        self.made = False
        self.heard = False
        self.surplus = False
        self._limits = limits
        self._method = ""
        self._rest = b""  # a head whose end has not come
        self._body: Body | None = None
        self.wire = select.poll()

    def __repr__(self) -> str:
        return f"<Upstream {self.endpoint.url} {'busy' if self.exchange else 'idle'}>"

    def ask(self, exchange: Asker, method: str, data: bytes) -> None:
        """Send the beginning of a request of ``method``; ``exchange`` gets the response."""
        self.exchange = exchange
        self.used = True
        self.heard = False
        self._method = method
        self._body = None
        self.transport.write(data)

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = True
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=self._limits.buffer)
        self.wire.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # an answer to nothing
            self.transport.abort()
            return
        self.heard = True
        body = self._body
        try:
            if body is None:
                self._read_head(exchange, self._rest + data if self._rest else data)
                return
            piece, rest = body.feed(data)
        except (Garbled, Malformed) as exc:
            exchange.garbled(str(exc))
            return
        self.surplus = self.surplus or bool(rest)
        if piece or body.done:
            exchange.continued(piece, body.trailers if body.done else None)

    def eof_received(self) -> bool:
        """End a response that ends so; any other is cut short, which ``connection_lost`` tells."""
        exchange = self.exchange
        if exchange is not None and isinstance(self._body, Endless):
            exchange.continued(b"", _WHOLE)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:  # by TLS 1.3 a stack refuses a client's certificate after the handshake
            self.endpoint.distrust(exc)
        self.endpoint.lost(self)
        if self.exchange is not None:
            self.exchange.upstream_lost()

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.upstream_full(True)

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.upstream_full(False)

    # --- inside ---

    def _read_head(self, exchange: Asker, data: bytes) -> None:
        found = read_response(data, self._method, self._limits)
        if found is None:
            self._rest = data
            return
        self._rest = b""
        head, used = found
        body = data[used:]
        if head.framing is _LENGTH:
            missing = (head.length or 0) - len(body)
            if missing == 0:  # whole in one piece, as most are
                exchange.answered(head, body, _WHOLE)
            elif missing > 0:
                self._body = Sized(missing)
                exchange.answered(head, body, None)
            else:
                self.surplus = True
                exchange.answered(head, body[:missing], _WHOLE)
        elif head.status < 200:
            self._take_interim(exchange, head, body)
        elif head.framing is _NONE:
            self.surplus = self.surplus or bool(body)
            exchange.answered(head, b"", _WHOLE)
        else:
            self._begin(exchange, head, body)

    def _take_interim(self, exchange: Asker, head: ResponseHead, rest: bytes) -> None:
        """Pass on what comes before the answer, and read the answer if it has come with it."""
        for _ in range(_MOST_INTERIM):
            if head.status == 101:
                exchange.switched(head, rest)
                return
            exchange.interim(head)
            if not rest or self.exchange is not exchange:
                return
            found = read_response(rest, self._method, self._limits)
            if found is None or found[0].status >= 200:
                self._read_head(exchange, rest)
                return
            head, used = found
            rest = rest[used:]
        raise Garbled("a flood of interim responses")

    def _begin(self, exchange: Asker, head: ResponseHead, data: bytes) -> None:
        body = self._body = Chunked(self._limits.request_headers) if head.framing is _CHUNKED else Endless()
        piece, rest = body.feed(data)
        self.surplus = self.surplus or bool(rest)
        exchange.answered(head, piece, body.trailers if body.done else None)
