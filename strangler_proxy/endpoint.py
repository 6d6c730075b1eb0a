"""Connections to one address of a stack, kept for the next request.

A connection that the server closes while a request is on its way to it fails that request, and whether the server
read it cannot be known. Servers close idle connections by a clock of their own (gunicorn after 2 s), so the pool
lets go first (``pool_idle``, 1.5 s), hands out the one used last, and gives a request that must not be sent twice
only a connection used within a quarter of a second. What remains is a server that stops just then: a repeatable
request that met that is sent once more on a new connection (forward.py).

There are at most ``connections`` at once; further requests wait in line, at most ``pending`` of them. Connections are
made by tasks; on the way of a request that finds one idle there is none.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from strangler.project.limits import Limits
from strangler.routing import address
from strangler_proxy.health import Health
from strangler_proxy.upstream import Upstream

_LOG: Final = logging.getLogger("strangler_proxy")
# What is wrong with TLS is wrong for each request, and would fill the log.
_SAY_AGAIN: Final = 60.0
# A repeatable request may meet a closing connection; any other gets one that was in use this short a time ago.
_SURELY_OPEN: Final = 0.25
# This process, or the machine, has no descriptor left: that says nothing about the endpoint.
_OURS: Final = (errno.EMFILE, errno.ENFILE)


class Taker(Protocol):
    """Who asked for a connection."""

    @property
    def wanted(self) -> bool: ...

    def connected(self, upstream: Upstream) -> bool:
        """Take ``upstream``, or return False when it is no longer wanted."""
        ...

    def unreachable(self, endpoint: Endpoint, kind: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How one endpoint is used: Envoy's max_connections and max_pending_requests, and times in seconds."""

    connections: int
    pending: int
    connect: float
    idle: float


class Endpoint:
    """One address: its connections and who waits for one.

    ``place`` is where it is, ``host`` the name that it was found under, if it has one. ``secure`` makes the context
    for TLS when a connection is made.
    """

    def __init__(
        self,
        place: address.Endpoint,
        bounds: Bounds,
        limits: Limits,
        secure: Callable[[], ssl.SSLContext],
        host: str = "",
    ) -> None:
        self.place = place
        self.url = str(place)
        named = address.Endpoint(host=host or place.host, port=place.port, path=place.path, secure=place.secure)
        self.authority = named.authority.encode()
        self.bounds = bounds
        self.health = Health()
        self.pending = 0
        self.open = 0
        self.idle: list[Upstream] = []
        self.waiting: deque[Taker] = deque()
        self.retired = False
        self._host = host or place.host
        self._secure = secure
        self._silent_until = 0.0
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Endpoint {self.url} open={self.open} idle={len(self.idle)} pending={self.pending}>"

    def take(self, repeatable: bool) -> Upstream | None:
        """Return an idle connection, or None."""
        idle = self.idle
        while idle:
            upstream = idle[-1]
            if not repeatable and monotonic() - upstream.since > _SURELY_OPEN:
                return None
            idle.pop()
            if not upstream.transport.is_closing() and not upstream.wire.poll(0):
                return upstream
            upstream.transport.abort()
        return None

    def ask(self, taker: Taker) -> bool:
        """Give ``taker`` a new connection as soon as there is one. False: too many wait already."""
        if self.open >= self.bounds.connections:
            if self.idle:  # too old for a request that must not be sent twice; its end makes room for a new one
                self.idle.pop(0).transport.abort()
            if len(self.waiting) >= self.bounds.pending:
                self.waiting = deque(each for each in self.waiting if each.wanted)
            if len(self.waiting) >= self.bounds.pending:
                return False
            self.waiting.append(taker)
            return True
        self.open += 1
        task = asyncio.get_running_loop().create_task(self._connect(taker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _connect(self, taker: Taker) -> None:
        upstream = Upstream(self, self._limits)
        try:
            async with asyncio.timeout(self.bounds.connect):
                await self._open(upstream)
        except (OSError, TimeoutError) as exc:
            if not upstream.made:  # else it is counted out when it is lost
                self.open -= 1
            if not (isinstance(exc, OSError) and exc.errno in _OURS):
                self.health.refused(monotonic())
            self.distrust(exc)
            taker.unreachable(self, "connect_timeout" if isinstance(exc, TimeoutError) else "refused")
            self._serve_waiting()
        else:
            self.health.connected()
            if upstream.transport.is_closing():  # made, and ended before its turn came
                taker.unreachable(self, "reset")
            elif not taker.connected(upstream):
                self.release(upstream)

    async def _open(self, upstream: Upstream) -> None:
        place, loop = self.place, asyncio.get_running_loop()
        if place.path:
            await loop.create_unix_connection(lambda: upstream, place.path)
        elif place.secure:
            await loop.create_connection(
                lambda: upstream, place.host, place.port, ssl=self._secure(), server_hostname=self._host
            )
        else:
            await loop.create_connection(lambda: upstream, place.host, place.port)

    def distrust(self, exc: Exception) -> None:
        """Say what was wrong with TLS, if it was that: to clients it looks like any connection that fails."""
        now = monotonic()
        if isinstance(exc, ssl.SSLError) and now >= self._silent_until:
            self._silent_until = now + _SAY_AGAIN
            why = getattr(exc, "verify_message", "") or exc.reason or str(exc)
            _LOG.warning("%s cannot be asked by TLS: %s", self.url, why.replace("_", " ").lower())

    def release(self, upstream: Upstream) -> None:
        """Take back a connection that is ready for another request."""
        if self.waiting and upstream.wire.poll(0):  # ended, or with an answer to nothing
            upstream.transport.abort()  # its loss makes room for a new one
            return
        while self.waiting:
            if self.waiting.popleft().connected(upstream):
                return
        if self.retired or len(self.idle) >= self._limits.pool:
            upstream.transport.close()
            return
        upstream.since = monotonic()
        self.idle.append(upstream)

    def lost(self, upstream: Upstream) -> None:
        """Note that a connection is gone."""
        self.open -= 1
        if upstream in self.idle:
            self.idle.remove(upstream)
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        if self.waiting and self.open < self.bounds.connections:
            self.ask(self.waiting.popleft())

    def sweep(self, now: float) -> None:
        """Close what was idle for too long."""
        oldest = now - self.bounds.idle
        while self.idle and self.idle[0].since < oldest:
            self.idle.pop(0).transport.close()

    def retire(self) -> None:
        """Keep no connection from now on: it is no address of the stack any more."""
        self.retired = True
        self.health.leave()
        while self.idle:
            self.idle.pop().transport.close()
