"""Visitors of a tour: real HTTP clients that never stop coming while the routing changes under them.

Each visitor is a new client. Some come back with the cookie that they were given; some are API clients, known by their
credential. Every request carries a trace (W3C Trace Context) that says who asked: the stacks write it into their own
access logs, and so each request can be found there, whatever the proxy says of it.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from importlib.util import find_spec
from typing import Final

import httpx

from strangler.demo.script import Tour

# httpcore asks four times a request which event loop it runs in, by importing sniffio; where that is not installed each
# time is a search through all of sys.path. Said once that it is not there, a request costs 0.42 instead of 0.63 ms.
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # what the import system takes for "there is none"

# Enough to keep two stacks busy on two cores; more only measures the queue.
CLIENTS: Final = 12
_ONE: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1)
_COOKIE: Final = "strangler_visitor"
_PATIENCE_S: Final = 30.0
_API_CLIENTS: Final = 0.1  # of the visitors
_RETURNING: Final = 0.1  # of the visitors
_OTHERS: Final = 0.05  # of the visitors ask something of another capability, too
_NEW_CONNECTION: Final = 0.05  # of the visitors leave the connection closed behind them
COHORT_EVERY: Final = 4
"""While a cohort is in force, every so manyth visitor is of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request, as its trace tells it: of which crowd, by which visitor, and which of the visitor's it is."""

    crowd: int
    visitor: int
    visit: int

    def trace(self, run: str) -> str:
        """Return the trace id: 32 hex digits that begin with ``run``, 8 of them."""
        return f"{run}{self.crowd:04x}{self.visit:04x}{self.visitor:016x}"

    @classmethod
    def of(cls, trace: str) -> Ask:
        return cls(crowd=int(trace[8:12], 16), visit=int(trace[12:16], 16), visitor=int(trace[16:], 16))


@dataclass(slots=True, kw_only=True)
class Crowd:
    """Visitors who come under the same routing: ``size`` of them, or as many as come until the next crowd.

    ``who`` maps a visitor to what it is known by, a cookie's token or a credential; ``answered`` holds the requests
    for the capability that got an answer.
    """

    number: int
    size: int | None = None
    cohort: bool = False
    come: int = 0
    gone: int = 0
    requests: int = 0
    milliseconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    answered: list[Ask] = field(default_factory=list)
    tokens: dict[int, str] = field(default_factory=dict)
    credentials: dict[int, str] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_full(self) -> bool:
        return self.size is not None and self.come >= self.size

    def is_member(self, visitor: int) -> bool:
        """Whether a visitor belongs to the cohort that is in force."""
        return self.cohort and visitor % COHORT_EVERY == 0


class Traffic:
    """A steady stream of visitors to ``base``; use it as an asynchronous context."""

    def __init__(self, base: str, tour: Tour, run: str) -> None:
        self._base, self._tour, self._run = base, tour, run
        self._stopping = False
        self._numbers = 0
        self.crowds: list[Crowd] = []

    async def __aenter__(self) -> Traffic:
        self.come()
        self._lanes = [asyncio.create_task(self._lane()) for _ in range(CLIENTS)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._lanes)

    def come(self, size: int | None = None, *, cohort: bool = False) -> Crowd:
        """Let a new crowd come from now on; visitors of the one before finish what they have begun."""
        self.crowds.append(Crowd(number=len(self.crowds), size=size, cohort=cohort))
        return self.crowds[-1]

    async def _lane(self) -> None:
        # A connection of its own: a pool that twelve share costs twice the time of all the rest.
        async with httpx.AsyncHTTPTransport(verify=False, limits=_ONE) as wire:  # it is plain HTTP
            while not self._stopping:
                await self._next(wire)

    async def _next(self, wire: httpx.AsyncHTTPTransport) -> None:
        crowd = self.crowds[-1]
        if crowd.is_full:
            crowd = self.come()  # the stream does not dry up while the next step is prepared
        crowd.come += 1
        self._numbers += 1
        await self._visitor(wire, crowd, self._numbers)
        crowd.gone += 1
        if crowd.gone == crowd.size:
            crowd.done.set()

    async def _visitor(self, wire: httpx.AsyncHTTPTransport, crowd: Crowd, number: int) -> None:
        chance = random.Random(f"{self._run} {number}")  # noqa: S311  # which way a visitor goes is no secret
        headers = {}
        if crowd.is_member(number):
            name, value = self._tour.cohort_header
            headers[name] = value
        if chance.random() < _API_CLIENTS:
            crowd.credentials[number] = headers["Authorization"] = f"Tour {chance.getrandbits(128):032x}"
        if chance.random() < _NEW_CONNECTION:
            headers["Connection"] = "close"
        ask = Ask(crowd=crowd.number, visitor=number, visit=0)
        token = await self._ask(wire, crowd, ask, chance.choice(self._tour.paths), headers)
        if token is not None:
            crowd.tokens[number] = token
            headers["Cookie"] = f"{_COOKIE}={token}"
        if chance.random() < _RETURNING:
            again = Ask(crowd=crowd.number, visitor=number, visit=1)
            await self._ask(wire, crowd, again, chance.choice(self._tour.paths), headers)
        if self._tour.others and chance.random() < _OTHERS:
            await self._send(wire, crowd, chance.choice(self._tour.others), headers)

    async def _ask(
        self, wire: httpx.AsyncHTTPTransport, crowd: Crowd, ask: Ask, path: str, headers: Mapping[str, str]
    ) -> str | None:
        """Request something of the capability, and return the token that came as a cookie, if one did."""
        traced = {**headers, "traceparent": f"00-{ask.trace(self._run)}-{ask.visitor:016x}-01"}
        response = await self._send(wire, crowd, path, traced)
        if response is None:
            return None
        crowd.answered.append(ask)
        return _token(response)

    async def _send(
        self, wire: httpx.AsyncHTTPTransport, crowd: Crowd, path: str, headers: Mapping[str, str]
    ) -> httpx.Response | None:
        crowd.requests += 1
        request = httpx.Request("GET", self._base + path, headers=headers, extensions={"timeout": _TIMEOUT})
        begun = time.monotonic()
        try:
            response = await wire.handle_async_request(request)
            await response.aread()
            await response.aclose()
        except httpx.HTTPError as exc:
            crowd.failures.append(f"{path}: {type(exc).__name__} {exc}".strip())
            return None
        crowd.milliseconds.append((time.monotonic() - begun) * 1_000)
        if not 200 <= response.status_code < 400:
            crowd.failures.append(f"{path}: status {response.status_code}")
        return response


_TIMEOUT: Final = dict.fromkeys(("connect", "read", "write", "pool"), _PATIENCE_S)


def _token(response: httpx.Response) -> str | None:
    for line in response.headers.get_list("set-cookie"):
        with _unreadable_is_none():
            if (morsel := SimpleCookie(line).get(_COOKIE)) is not None:
                return morsel.value
    return None


@contextmanager
def _unreadable_is_none() -> Iterator[None]:
    try:
        yield
    except CookieError:
        return
