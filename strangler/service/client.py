"""Calls to another service, or to whoever answers for it, while a request is being answered.

Who is asked learns which request it is about (``traceparent``, ``X-Request-ID``), whose it is (``Strangler-Identity``),
how long its answer is of use (``Strangler-Deadline``), and who asks (``Strangler-Service``), where there is a secret. A
call ends when the request's deadline does. What may be asked twice is asked again when nobody answered, inside a
``Budget``, after a pause drawn from the whole range ("full jitter", Brooker: Exponential Backoff and Jitter, 2015), so
that those who failed together do not return together. An answer that has begun and breaks off is not asked for again:
whoever gave it has done the work once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Final, Self

import httpx

from strangler.service import calling, deadline, identity, trace
from strangler.service.budget import Budget
from strangler.service.calling import Statement
from strangler.service.errors import SettingRefused, Unavailable
from strangler.service.log import blot

# RFC 9110, section 9.2.2: asked twice they mean what they mean once. TRACE nobody calls.
_IDEMPOTENT: Final = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))
_NOBODY_ANSWERED: Final = frozenset((502, 503, 504))
_ATTEMPTS: Final = 3
# Envoy's usual pauses: 25 ms, doubled each time, at most ten times as long.
_PAUSE_S: Final = 0.025
_LONGEST_PAUSE_S: Final = 0.25
# A connection is given up before the other side does so (the chassis keeps it for 75 s).
_LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30.0)


class Unanswered(Unavailable):
    """A service that this one calls gave no answer in time. The message names it: look there first."""


class _Nobody(Unanswered):
    """Nobody answered this attempt; the next one may be answered."""


class Client:
    """Asks the service at ``base_url``; open while inside ``async with``, once for a process.

    ``timeout_s`` bounds a call with all its attempts. An answer with more than ``most_bytes`` is none. Redirects are
    answers. ``caller`` is the name by which the other side knows us, and ``statement`` proves it. Raises
    ``SettingRefused`` for a ``base_url`` that is no address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        caller: str,
        timeout_s: float = 2.0,
        most_bytes: int = 4 * 1024 * 1024,
        budget: Budget | None = None,
        statement: Statement | None = None,
    ) -> None:
        self._statement = statement
        self.base_url = _address(base_url)
        self._timeout_s = timeout_s
        self._most_bytes = most_bytes
        self._budget = budget or Budget()
        self._http = httpx.AsyncClient(
            base_url=self.base_url,
            # A response that is packed small may be huge: its size could not be bounded by what was received.
            headers={"User-Agent": caller, "Accept-Encoding": "identity"},
            # One client asks for all visitors: what one of them is given to keep, another must never send.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            limits=_LIMITS,
            timeout=None,  # noqa: S113 - a call has one deadline, not one for each of its parts
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"Client({self.base_url!r}, {self._budget!r})"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Ask with GET; see ``request``."""
        return await self.request("GET", path, params=params, headers=headers)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> httpx.Response:
        """Return the answer, whatever its status, with its whole body.

        ``path`` begins with a slash; it is what of the service is asked for, never another server. Raises
        ``Unanswered`` when there is no answer before the deadline, or none but 502, 503 and 504.
        """
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is no path of {self.base_url}; it begins with a slash")
        left = _shortest(deadline.remaining(), self._timeout_s)
        request = self._http.build_request(method, path, params=params, headers=headers, json=json)
        if left <= 0:
            raise Unanswered(f"{_named(request)} was not asked: whoever wanted to know waits no more")
        self._budget.called(time.monotonic())
        try:
            with deadline.within(left):
                async with asyncio.timeout(left):
                    return await self._repeated(request)
        except TimeoutError as error:
            raise Unanswered(f"{_named(request)} gave no answer in {left:.3f} s") from error

    async def _repeated(self, request: httpx.Request) -> httpx.Response:
        attempts = _ATTEMPTS if request.method in _IDEMPOTENT else 1
        for attempt in range(1, attempts + 1):
            try:
                return await self._once(request)
            except _Nobody:
                pause = random.uniform(0, min(_LONGEST_PAUSE_S, _PAUSE_S * 2**attempt))  # noqa: S311 - no secret
                if attempt == attempts or not self._may_repeat(after=pause):
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _may_repeat(self, *, after: float) -> bool:
        return after < (deadline.remaining() or 0) and self._budget.spend(time.monotonic())

    async def _once(self, request: httpx.Request) -> httpx.Response:
        request.headers.update(_context())
        if self._statement is not None:
            voucher = identity.current_token() or ""
            request.headers[calling.HEADER] = self._statement.header(request.method, voucher, time.time())
        try:
            response = await self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise _Nobody(_failed(request, error)) from error
        body = await self._body(response)
        if response.status_code in _NOBODY_ANSWERED:
            raise _Nobody(f"{_named(request)} answered {response.status_code}")
        return httpx.Response(response.status_code, headers=response.headers, content=body, request=request)

    async def _body(self, response: httpx.Response) -> bytes:
        try:
            return await self._read(response)
        except httpx.TransportError as error:
            raise Unanswered(_failed(response.request, error)) from error
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Unanswered(f"{_named(response.request)} answered in an encoding that was not asked for")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._most_bytes:
                raise Unanswered(f"{_named(response.request)} answered more than {self._most_bytes} bytes")
        return bytes(body)


def _named(request: httpx.Request) -> str:
    # Never the query: that is where personal data travels.
    return f"{request.method} {request.url.copy_with(query=None)}"


def _failed(request: httpx.Request, error: httpx.TransportError) -> str:
    return f"{_named(request)}: {type(error).__name__}: {error}"


def _address(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise SettingRefused(f"{blot(text)!r} is no address of a service; write one such as http://127.0.0.1:8000")
    return str(url).rstrip("/")


def _shortest(left: float | None, timeout_s: float) -> float:
    return timeout_s if left is None else min(left, timeout_s)


def _context() -> dict[str, str]:
    """Return the headers that tie a call to the request being answered; each attempt is a span of its own."""
    current = trace.CURRENT.get() or trace.read(())
    place = current.child()
    headers = {
        "traceparent": place.traceparent,
        "X-Request-ID": place.request_id,
        deadline.HEADER: str(int((deadline.remaining() or 0) * 1000)),
    }
    token = identity.current_token()
    return {**headers, identity.HEADER: token} if token else headers
