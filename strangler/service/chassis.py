"""The ASGI application around the service's own: it answers the operator's routes and observes all others."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import perf_counter

from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strangler.service import deadline, panel, problem, trace
from strangler.service.calling import HEADER as SERVICE
from strangler.service.calling import Callers, calling
from strangler.service.health import Check, Readiness
from strangler.service.identity import HEADER, Identity, Verifier, acting
from strangler.service.log import RequestLog
from strangler.service.metrics import UNMATCHED
from strangler.service.panel import Panel
from strangler.service.position import HEADER as POSITION
from strangler.service.position import SAFE

Position = Callable[[], Awaitable[str | None]]


class Chassis:
    """Wraps ``app``; hand the result to ``strangler.service.serve``, or to any ASGI server.

    ``checks`` decide readiness, ``openapi`` is served as it is. With ``identity``, the application finds the visitor
    in ``strangler.service.identity.current``; without, everybody is anonymous, whatever they send. With
    ``callers``, it finds which service asks in ``strangler.service.calling.caller``. The route label
    of a request is the ``path`` of what the application leaves in ``scope["route"]``, as Starlette does. ``position``
    is asked after each request by an unsafe method how far its database's WAL is (``Database.position``), and the proxy
    told. ``instruments`` are what else ``/metrics`` tells. Raises ``SettingRefused`` for a document that is not JSON.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        name: str,
        openapi: Mapping[str, object],
        checks: Mapping[str, Check] | None = None,
        requests: RequestLog | None = None,
        identity: Verifier | None = None,
        callers: Callers | None = None,
        position: Position | None = None,
        instruments: Iterable[Collector] = (),
    ) -> None:
        self.name = name
        self.readiness = Readiness(checks=checks or {})
        self._app = app
        self._verifier = identity
        self._callers = callers
        self._position = position
        self._panel = Panel(name=name, openapi=openapi, requests=requests or RequestLog(sys.stdout, service=name))
        for each in instruments:
            self._panel.metrics.registry.register(each)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in panel.ROUTES:
            verdict = await self.readiness.verdict() if scope["path"] == panel.READY else None
            await self._panel.answer(scope["method"], scope["path"], verdict)(scope, receive, send)
        else:
            await self._observe(scope, receive, send)

    async def _observe(self, scope: Scope, receive: Receive, send: Send) -> None:
        current = trace.read(scope["headers"])
        token = trace.CURRENT.set(current)
        position = None if scope["method"] in SAFE else self._position
        answer = _Answer(send, last=self.readiness.draining, position=position)
        began = perf_counter()
        self._panel.metrics.in_flight.inc()
        try:
            await self._answer(scope, receive, answer)
        finally:
            self._panel.metrics.in_flight.dec()
            self._record(scope, answer.status, perf_counter() - began, current)
            trace.CURRENT.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            token = _sent(scope, _IDENTITY)
            caller = self._caller(scope, token or "")
            visitor = await self._visitor(token)
            with deadline.within(deadline.read(_sent(scope, _DEADLINE))), acting(visitor, token), calling(caller):
                await self._app(scope, receive, answer)
        except Exception as error:
            # The named top of a request. Frameworks may shape their answer and raise all the same.
            shaped = problem.of(error)
            if answer.torn:
                raise
            await answer.unless_begun(shaped, scope, receive)

    async def _visitor(self, token: str | None) -> Identity | None:
        return None if token is None or self._verifier is None else await self._verifier.aidentify(token)

    def _caller(self, scope: Scope, voucher: str) -> str | None:
        statement = None if self._callers is None else _sent(scope, _SERVICE)
        if self._callers is None or statement is None:
            return None
        return self._callers.verify(statement, scope["method"], voucher)

    def _record(self, scope: Scope, status: int, seconds: float, current: trace.Trace) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        self._panel.record(
            method=scope["method"], route=route, path=scope["path"], status=status, seconds=seconds, trace=current
        )


class _Answer:
    """The ``send`` that remembers the status, and asks for the connection's end while the process drains.

    A pool upstream then lets its connections go one by one, instead of finding them closed under a request.
    """

    def __init__(self, send: Send, *, last: bool, position: Position | None) -> None:
        self._send = send
        self._position = position
        self._last = last
        self.status = 500
        self.begun = False
        self.ended = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self.status = message["status"]
            more = [(b"connection", b"close")] if self._last else []
            position = None if self._position is None else await self._position()
            if position is not None:
                more.append((_POSITION, position.encode("ascii")))
            if more:
                message = {**message, "headers": [*message.get("headers", []), *more]}
        await self._send(message)
        if message["type"] == "http.response.body":
            self.ended = not message.get("more_body", False)

    @property
    def torn(self) -> bool:
        """Whether half of an answer is out: only an aborted connection tells the client that it is not the whole."""
        return self.begun and not self.ended

    async def unless_begun(self, response: Response, scope: Scope, receive: Receive) -> None:
        if not self.begun:
            await response(scope, receive, self)


def _sent(scope: Scope, name: bytes) -> str | None:
    """Return a header that is sent once, if it came. Two make nonsense together, as they would through WSGI."""
    found = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ",".join(found) if found else None


_POSITION = POSITION.lower().encode()
_IDENTITY = HEADER.encode()
_SERVICE = SERVICE.encode()
_DEADLINE = deadline.HEADER.encode()
