"""Connections to the stacks, kept for the next request.

A connection that the server closes while a request is on its way to it fails that request, and whether the server
read it cannot be known. Servers close idle connections by a clock of their own (gunicorn after 2 s), so the pool
lets go first (``pool_idle``, 1.5 s), hands out the one used last, and gives a request that must not be sent twice
only a connection used within a quarter of a second. What remains is a server that stops just then: a repeatable
request that met that is sent once more on a new connection (forward.py).

To one endpoint there are at most ``connections`` at once; further requests wait in line, at most ``pending`` of
them. Connections are made by tasks; on the way of a request that finds one idle there is none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from time import monotonic
from typing import Final, Protocol
from urllib.parse import urlsplit

from strangler_proxy.health import Health, choose
from strangler_proxy.settings import Limits, Timeouts
from strangler_proxy.upstream import Upstream

# A repeatable request may meet a closing connection; any other gets one that was in use this short a time ago.
_SURELY_OPEN: Final = 0.25


class Taker(Protocol):
    """Who asked for a connection."""

    @property
    def wanted(self) -> bool: ...

    def connected(self, upstream: Upstream) -> bool:
        """Take ``upstream``, or return False when it is no longer wanted."""
        ...

    def unreachable(self, endpoint: Endpoint, kind: str) -> None: ...


class Endpoint:
    """One address of a stack: its connections and who waits for one."""

    def __init__(self, url: str, timeouts: Timeouts, limits: Limits) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or ""
        self.port = parts.port or 80
        self.authority = parts.netloc.encode()
        self.health = Health()
        self.pending = 0
        self.open = 0
        self.idle: list[Upstream] = []
        self.waiting: deque[Taker] = deque()
        self.retired = False
        self._timeouts = timeouts
        self._limits = limits
        self._loop = asyncio.get_running_loop()
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
            if not upstream.transport.is_closing() and upstream.silent:
                return upstream
            upstream.transport.abort()
        return None

    def ask(self, taker: Taker) -> bool:
        """Give ``taker`` a new connection as soon as there is one. False: too many wait already."""
        if self.open >= self._limits.connections:
            if self.idle:  # too old for a request that must not be sent twice; its end makes room for a new one
                self.idle.pop(0).transport.abort()
            if len(self.waiting) >= self._limits.pending:
                self.waiting = deque(each for each in self.waiting if each.wanted)
            if len(self.waiting) >= self._limits.pending:
                return False
            self.waiting.append(taker)
            return True
        self.open += 1
        task = self._loop.create_task(self._connect(taker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _connect(self, taker: Taker) -> None:
        upstream = Upstream(self, self._limits)
        try:
            async with asyncio.timeout(self._timeouts.connect):
                await self._loop.create_connection(lambda: upstream, self.host, self.port)
        except (OSError, TimeoutError) as exc:
            if not upstream.made:  # else it is counted out when it is lost
                self.open -= 1
            self.health.refused(monotonic())
            taker.unreachable(self, "connect_timeout" if isinstance(exc, TimeoutError) else "refused")
            self._serve_waiting()
        else:
            self.health.connected()
            if upstream.transport.is_closing():  # made, and ended before its turn came
                taker.unreachable(self, "reset")
            elif not taker.connected(upstream):
                self.release(upstream)

    def release(self, upstream: Upstream) -> None:
        """Take back a connection that is ready for another request."""
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
        if self.waiting and self.open < self._limits.connections:
            self.ask(self.waiting.popleft())

    def sweep(self, now: float) -> None:
        """Close what was idle for too long."""
        oldest = now - self._timeouts.pool_idle
        while self.idle and self.idle[0].since < oldest:
            self.idle.pop(0).transport.close()

    def retire(self) -> None:
        """Keep no connection from now on: no routing table names this endpoint any more."""
        self.retired = True
        while self.idle:
            self.idle.pop().transport.close()


class Pool:
    """The endpoints of every stack, as the routing table in force names them."""

    def __init__(self, timeouts: Timeouts, limits: Limits) -> None:
        self._timeouts = timeouts
        self._limits = limits
        self._turn = 0
        self._endpoints: dict[str, Endpoint] = {}
        self._stacks: dict[str, tuple[Endpoint, ...]] = {}

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self._endpoints.values())

    def adopt(self, upstreams: Mapping[str, tuple[str, ...]]) -> None:
        """Use the endpoints of a new routing table; those that stay keep their connections."""
        before = self._endpoints
        urls = dict.fromkeys(url for endpoints in upstreams.values() for url in endpoints)
        self._endpoints = {url: before.get(url) or Endpoint(url, self._timeouts, self._limits) for url in urls}
        self._stacks = {name: tuple(self._endpoints[url] for url in found) for name, found in upstreams.items()}
        for url in before.keys() - self._endpoints.keys():
            before[url].retire()

    def choose(self, stack: str, tried: tuple[Endpoint, ...]) -> Endpoint | None:
        """Return the endpoint of ``stack`` to ask, or None when all were ``tried``."""
        endpoints = self._stacks.get(stack, ())
        if tried:
            endpoints = tuple(endpoint for endpoint in endpoints if endpoint not in tried)
        if len(endpoints) < 2:
            return endpoints[0] if endpoints else None
        self._turn += 1
        return choose(endpoints, self._turn, monotonic())

    def sweep(self, now: float) -> None:
        for endpoint in self._endpoints.values():
            endpoint.sweep(now)

    def close(self) -> None:
        for endpoint in self._endpoints.values():
            endpoint.retire()
