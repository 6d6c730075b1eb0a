"""One stack as a worker reaches it: its endpoints, its breaker, its bounds (what Envoy calls a cluster).

An endpoint that is named is looked up, and asked under each of its addresses; the lookup is repeated (Envoy's
STRICT_DNS), so that a replica that was added is asked and one that was taken away is not. Where a name has addresses
of both families those of IPv4 are taken: a name like ``localhost`` often has one of IPv6 that nobody listens on. A
lookup that fails changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from time import monotonic
from typing import Final

from strangler.project.limits import Limits, Timeouts
from strangler.routing import address
from strangler.routing.address import parse_endpoint
from strangler.routing.protect import Reach
from strangler_proxy.breaker import Breaker, Bulkhead
from strangler_proxy.endpoint import Bounds, Endpoint
from strangler_proxy.health import choose
from strangler_proxy.probe import Probe
from strangler_proxy.retry import RetryBudget

_LOG: Final = logging.getLogger("strangler_proxy")


class Cluster:
    """A stack's endpoints, and what holds for all of them.

    ``first_byte`` and ``total`` are the times in seconds that a request may take to the first and to the last byte of
    its answer; 0 means as long as it moves. The ``breaker`` is None for the monolith: nobody else could answer in its
    place, so that refusing in its name would only make an outage longer.
    """

    def __init__(
        self,
        name: str,
        limits: Limits,
        timeouts: Timeouts,
        breaker: Breaker | None,
        secure: Callable[[], ssl.SSLContext],
    ) -> None:
        self.name = name
        self.endpoints: tuple[Endpoint, ...] = ()
        self.only: Endpoint | None = None  # where there is no choice
        self.breaker = breaker
        self.requests = Bulkhead(limits.requests)
        self.budget = RetryBudget()
        self.first_byte = timeouts.first_byte
        self.total = 0.0
        self._limits = limits
        self._timeouts = timeouts
        self._secure = secure
        self._reach = Reach()
        self._turn = 0
        self._known: dict[address.Endpoint, Endpoint] = {}
        self._places: dict[address.Endpoint, tuple[address.Endpoint, ...]] = {}  # as written -> as found
        self._resolving: asyncio.Task[None] | None = None
        self._look_at = 0.0
        self._probe_at = 0.0

    def __repr__(self) -> str:
        return f"<Cluster {self.name} {self.endpoints!r} {self.breaker!r}>"

    def adopt(self, urls: tuple[str, ...], reach: Reach) -> None:
        """Use ``urls`` as ``reach`` says from now on; endpoints that stay keep their connections."""
        limits, timeouts = self._limits, self._timeouts
        self._reach = reach
        self.requests.most = reach.requests or limits.requests
        self.first_byte = reach.first_byte_timeout or timeouts.first_byte
        self.total = reach.total_timeout or 0.0
        self._bounds = Bounds(
            connections=reach.connections or limits.connections,
            pending=limits.pending if reach.pending is None else reach.pending,
            connect=reach.connect_timeout or timeouts.connect,
            idle=timeouts.pool_idle,
        )
        written = [parse_endpoint(url) for url in urls]
        self._places = {each: self._places.get(each, (each,)) for each in written}
        self._look_at = 0.0
        self._arrange()

    def _arrange(self) -> None:
        """Have an endpoint for each place, and none for any other."""
        before = self._known
        self._known = {
            place: before.get(place) or self._made(place, host=written.host)
            for written, found in self._places.items()
            for place in found
        }
        self.endpoints = tuple(self._known.values())
        self.only = self.endpoints[0] if len(self.endpoints) == 1 else None
        for endpoint in self.endpoints:
            endpoint.bounds = self._bounds
        for place in before.keys() - self._known.keys():
            before[place].retire()

    def _made(self, place: address.Endpoint, host: str) -> Endpoint:
        return Endpoint(place, self._bounds, self._limits, self._secure, host)

    def choose(self, tried: tuple[Endpoint, ...]) -> Endpoint | None:
        """Return the endpoint to ask, or None when all were ``tried``."""
        endpoints = self.endpoints
        if tried:
            endpoints = tuple(endpoint for endpoint in endpoints if endpoint not in tried)
        if len(endpoints) < 2:
            return endpoints[0] if endpoints else None
        self._turn += 1
        return choose(endpoints, self._turn, monotonic())

    # --- what a request counts for ---

    def ended(self, ticket: int, answered: bool | None, endpoint: Endpoint | None) -> None:
        """Note how a request ended that went in: None says that it tells nothing of the stack."""
        self.requests.in_flight -= 1
        breaker, now = self.breaker, monotonic()
        if answered is None:
            if breaker is not None:
                breaker.abandoned(ticket)
        elif answered:
            if breaker is not None:
                breaker.succeeded(ticket, now)
            if endpoint is not None:
                endpoint.health.failures = 0
        else:
            self._failed(ticket, now, endpoint)

    def _failed(self, ticket: int, now: float, endpoint: Endpoint | None) -> None:
        if endpoint is not None:
            self.suspect(endpoint, now)
        if self.breaker is not None and self.breaker.failed(ticket, now):
            _LOG.warning("%s fails too often: its breaker is open", self.name)

    def suspect(self, endpoint: Endpoint, now: float) -> None:
        """Note that an endpoint broke a request off, whatever becomes of that; several in a row, and it is ejected."""
        if endpoint.health.failed(now, self.endpoints):
            _LOG.warning("%s of %s fails too often and is not asked for a while", endpoint.url, self.name)

    # --- time ---

    def tick(self, now: float) -> None:
        """Close what idles, look names up again, probe."""
        for endpoint in self.endpoints:
            endpoint.sweep(now)
        if now >= self._look_at and self._resolving is None and any(map(_is_named, self._places)):
            self._look_at = now + (self._reach.resolve or float("inf"))
            self._resolving = asyncio.get_running_loop().create_task(self._resolve())
        if self._reach.health and now >= self._probe_at:
            self._probe_at = now + self._reach.health_interval
            for endpoint in self.endpoints:
                Probe(endpoint, self._reach.health, self._reach.health_timeout).start()

    async def _resolve(self) -> None:
        try:
            for written in [each for each in self._places if _is_named(each)]:
                found = await _addresses(written)
                if found and written in self._places and set(found) != set(self._places[written]):
                    self._places[written] = found
                    self._arrange()
        finally:
            self._resolving = None

    def close(self) -> None:
        if self._resolving is not None:
            self._resolving.cancel()
        for endpoint in self.endpoints:
            endpoint.retire()


def _is_named(place: address.Endpoint) -> bool:
    if place.path:
        return False
    try:
        ip_address(place.host.partition("%")[0])
    except ValueError:
        return True
    return False


async def _addresses(written: address.Endpoint) -> tuple[address.Endpoint, ...]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(written.host, written.port, type=socket.SOCK_STREAM)
    except OSError as exc:
        _LOG.warning("%s cannot be looked up, what was found before stays: %s", written.host, exc)
        return ()
    first = [name[0] for family, *_, name in found if family == socket.AF_INET]
    every = first or [name[0] for *_, name in found]
    return tuple(replace(written, host=str(host)) for host in sorted(set(every)))
