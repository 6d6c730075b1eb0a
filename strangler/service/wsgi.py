"""The same chassis around a WSGI application, such as one that was lifted out of a Django project as it was.

Each request runs in a context of its own (PEP 567), from the call to the end of its body, so that what is asked for
while the body is made, the trace or the visitor, is the same as before, whatever thread of the server asks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from contextvars import copy_context
from http import HTTPStatus
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from strangler.service import deadline, panel, problem, trace
from strangler.service.calling import Callers, calling
from strangler.service.health import PlainCheck, PlainReadiness
from strangler.service.identity import Verifier, acting
from strangler.service.log import RequestLog
from strangler.service.metrics import UNMATCHED
from strangler.service.panel import Panel
from strangler.service.position import HEADER as POSITION
from strangler.service.position import SAFE

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Position = Callable[[], str | None]

ROUTE: Final = "strangler.route"
"""Where the application leaves the route label of a request in its environ."""

_IDENTITY: Final = "HTTP_STRANGLER_IDENTITY"
_SERVICE: Final = "HTTP_STRANGLER_SERVICE"
_DEADLINE: Final = "HTTP_STRANGLER_DEADLINE"
_Failure = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Chassis:
    """Wraps ``app``; hand the result to any WSGI server that calls ``close`` (PEP 3333 has it so).

    ``checks`` decide readiness, ``openapi`` is served as it is. With ``identity``, the application finds the visitor
    in ``strangler.service.identity.current``; without, everybody is anonymous, whatever they send. With
    ``callers``, it finds which service asks in ``strangler.service.calling.caller``. The route label
    of a request is what the application leaves in ``environ["strangler.route"]``. ``position`` is asked after each
    request by an unsafe method how far its database's WAL is (``django.database_position``), and the proxy told. WSGI
    has no way to ask for the connection's end: while ``readiness.draining`` is set, the server has to. Raises
    ``SettingRefused`` for a document that is not JSON.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        name: str,
        openapi: Mapping[str, object],
        checks: Mapping[str, PlainCheck] | None = None,
        requests: RequestLog | None = None,
        identity: Verifier | None = None,
        callers: Callers | None = None,
        position: Position | None = None,
    ) -> None:
        self.name = name
        self.readiness = PlainReadiness(checks=checks or {})
        self._app = app
        self._verifier = identity
        self._callers = callers
        self._position = position
        self._panel = Panel(name=name, openapi=openapi, requests=requests or RequestLog(sys.stdout, service=name))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], _path(environ)
        if path in panel.ROUTES:
            verdict = self.readiness.verdict() if path == panel.READY else None
            return _sent(self._panel.answer(method, path, verdict), method, start_response)
        position = None if method in SAFE else self._position
        answer = _Answer(self._app, self._panel, self._verifier, self._callers, environ, start_response, position)
        answer.begin()
        return answer


class _Answer:
    """One request and the body of its answer; ends with ``close``, which the server calls in any case."""

    def __init__(
        self,
        app: WSGIApplication,
        panel: Panel,
        verifier: Verifier | None,
        callers: Callers | None,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        position: Position | None = None,
    ) -> None:
        self._position = position
        self._app = app
        self._panel = panel
        self._verifier = verifier
        self._callers = callers
        self._environ = environ
        self._start_response = start_response
        self._context = copy_context()
        self._open = ExitStack()
        self._trace = trace.read(_headers(environ))
        self._began = perf_counter()
        self._body: Iterator[bytes] = iter(())
        self._status = 500
        self._torn = False

    def begin(self) -> None:
        self._context.run(self._begin)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._context.run(self._next)

    def close(self) -> None:
        self._context.run(self._open.close)

    def _begin(self) -> None:
        trace.CURRENT.set(self._trace)
        self._panel.metrics.in_flight.inc()
        self._open.callback(self._record)
        try:
            self._open.enter_context(deadline.within(deadline.read(self._environ.get(_DEADLINE))))
            self._open.enter_context(calling(self._caller()))
            self._open.enter_context(self._visitor())
            self._body = self._of(self._app(self._environ, self._start))
        except Exception as error:
            self._shape(error)

    def _next(self) -> bytes:
        try:
            chunk = next(self._body)
        except StopIteration:
            raise
        except Exception as error:
            self._shape(error)
            chunk = next(self._body)
        self._torn = self._torn or bool(chunk)
        return chunk

    def _caller(self) -> str | None:
        statement: str | None = self._environ.get(_SERVICE)
        if statement is None or self._callers is None:
            return None
        return self._callers.verify(statement, self._environ["REQUEST_METHOD"], self._environ.get(_IDENTITY, ""))

    def _visitor(self) -> AbstractContextManager[None]:
        token: str | None = self._environ.get(_IDENTITY)
        if token is None or self._verifier is None:
            return acting(None)
        return acting(self._verifier.identify(token), token)

    def _of(self, body: Iterable[bytes]) -> Iterator[bytes]:
        if callable(close := getattr(body, "close", None)):
            self._open.callback(close)
        return iter(body)

    def _start(
        self, status: str, headers: list[tuple[str, str]], exc_info: _Failure | None = None, /
    ) -> Callable[[bytes], object]:
        self._status = int(status[:3])
        position = None if self._position is None else self._position()
        told = [] if position is None else [(POSITION, position)]
        return self._start_response(status, [*headers, *told], exc_info)

    def _shape(self, error: Exception) -> None:
        # The named top of a request. What is out cannot be taken back: the server breaks the connection off.
        shaped = problem.of(error)
        if self._torn:
            raise error
        self._body = iter(_sent(shaped, self._environ["REQUEST_METHOD"], self._start, sys.exc_info()))

    def _record(self) -> None:
        self._panel.metrics.in_flight.dec()
        self._panel.record(
            method=self._environ["REQUEST_METHOD"],
            route=self._environ.get(ROUTE, UNMATCHED),
            path=_path(self._environ),
            status=self._status,
            seconds=perf_counter() - self._began,
            trace=self._trace,
        )


def _sent(
    response: Response, method: str, start_response: StartResponse, failure: _Failure | None = None
) -> list[bytes]:
    phrase = HTTPStatus(response.status_code).phrase
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
    start_response(f"{response.status_code} {phrase}", headers, failure)
    return [] if method == "HEAD" else [bytes(response.body)]


def _path(environ: WSGIEnvironment) -> str:
    # PEP 3333: bytes are carried in strings, each as the character of that number.
    return str(environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace")


def _headers(environ: WSGIEnvironment) -> list[tuple[bytes, bytes]]:
    """Return those headers of a request that say where in a trace it stands."""
    found = ((name, environ.get(f"HTTP_{name.replace('-', '_').upper()}")) for name in ("traceparent", "x-request-id"))
    return [(name.encode(), value.encode("latin-1")) for name, value in found if value is not None]
