"""One question to an endpoint whether it is well, over a connection of its pool, as a request is."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

from strangler_proxy.http1.body import Trailers
from strangler_proxy.http1.head import ResponseHead

if TYPE_CHECKING:
    from strangler_proxy.endpoint import Endpoint
    from strangler_proxy.upstream import Upstream

_LOG: Final = logging.getLogger("strangler_proxy")


class Probe:
    """Asks for ``path``; an answer of 200 to 299 within ``timeout`` seconds speaks for ``endpoint``."""

    def __init__(self, endpoint: Endpoint, path: str, timeout: float) -> None:
        self._endpoint = endpoint
        self._path = path.encode("ascii")
        self._timeout = timeout
        self._upstream: Upstream | None = None
        self._passed = False
        self._reusable = False
        self._over = False

    def start(self) -> None:
        """Ask. Nothing is learnt where even a probe must wait in too long a line."""
        self._timer = asyncio.get_running_loop().call_later(self._timeout, self._end)
        upstream = self._endpoint.take(repeatable=True)
        if upstream is not None:
            self.connected(upstream)
        elif not self._endpoint.ask(self):
            self._over = True
            self._timer.cancel()

    @property
    def wanted(self) -> bool:
        return not self._over

    def connected(self, upstream: Upstream) -> bool:
        if self._over:
            return False
        self._upstream = upstream
        request = b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: strangler-proxy\r\n\r\n"
        upstream.ask(self, "GET", request % (self._path, self._endpoint.authority))
        return True

    def unreachable(self, endpoint: Endpoint, kind: str) -> None:
        self._end()

    def interim(self, head: ResponseHead) -> None:
        """Nothing: the answer is still to come."""

    def answered(self, head: ResponseHead, body: bytes, end: Trailers | None) -> None:
        self._passed = 200 <= head.status < 300
        self._reusable = head.keep_alive
        self.continued(body, end)

    def continued(self, body: bytes, end: Trailers | None) -> None:
        if end is not None:
            self._end()

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        self._end()

    def garbled(self, what: str) -> None:
        self._passed = False
        self._end()

    def upstream_lost(self) -> None:
        self._passed = False
        self._end()

    def upstream_full(self, full: bool) -> None:
        """A probe is short: it waits in the transport's buffer."""

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._timer.cancel()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.exchange = None
            if self._passed and self._reusable and not (upstream.surplus or upstream.transport.is_closing()):
                self._endpoint.release(upstream)
            else:
                upstream.transport.abort()
        if self._endpoint.health.probed(self._passed, monotonic()):
            _LOG.warning("%s is %s by its probes", self._endpoint.url, "well" if self._passed else "unwell")
