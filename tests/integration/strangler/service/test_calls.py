"""Two services on the chassis, one of which asks the other: what of a request goes all the way through."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from strangler.service import Chassis, wsgi
from strangler.service.client import Client
from strangler.service.deadline import remaining
from strangler.service.identity import current
from strangler.service.log import RequestLog
from strangler.service.problem import SHAPES
from strangler.service.trace import CURRENT
from tests.fixtures.identity import Issuer
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

ISSUER = Issuer()
SENT = {
    "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    "X-Request-ID": "r-1",
    "Strangler-Deadline": "900",
}


def known() -> dict[str, Any]:
    """Return what a service knows of the request that it answers."""
    visitor, trace = current(), CURRENT.get()
    assert trace is not None
    return {
        "visitor": visitor.name if visitor else None,
        "trace": trace.trace_id,
        "parent": trace.parent_id,
        "request": trace.request_id,
        "left": remaining(),
    }


async def knowing(request: Request) -> Response:
    return JSONResponse(known())


def plainly_knowing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(known()).encode()]


@contextmanager
def asgi_served(app: ASGIApp) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started, "the server listens")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


class Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def wsgi_served(app: wsgi.Chassis) -> Iterator[str]:
    with WSGIServer(("127.0.0.1", 0), Silent) as server:
        server.set_app(app)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def chassis(app: Starlette, name: str, lines: io.StringIO) -> Chassis:
    log = RequestLog(lines, service=name)
    return Chassis(app, name=name, openapi={}, requests=log, identity=ISSUER.verifier())


def asking(client: Client, lines: io.StringIO) -> Chassis:
    """Return a service that answers what the other one knows."""

    async def ask(request: Request) -> Response:
        return JSONResponse((await client.get("/known")).json())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    return chassis(
        Starlette(routes=[Route("/ask", ask)], lifespan=lifespan, exception_handlers=dict(SHAPES)), "front", lines
    )


@contextmanager
def asked(kind: str) -> Iterator[str]:
    if kind == "wsgi":
        app = wsgi.Chassis(
            plainly_knowing,
            name="back",
            openapi={},
            requests=RequestLog(io.StringIO(), service="back"),
            identity=ISSUER.verifier(),
        )
        with wsgi_served(app) as url:
            yield url
    else:
        with asgi_served(chassis(Starlette(routes=[Route("/known", knowing)]), "back", io.StringIO())) as url:
            yield url


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_trace_request_visitor_and_deadline_arrive(kind: str) -> None:
    lines = io.StringIO()
    with asked(kind) as back, asgi_served(asking(Client(back, caller="front"), lines)) as front:
        answer = httpx.get(f"{front}/ask", headers={**SENT, **ISSUER.headers(name="maria")})
    told = answer.json()
    assert (told["visitor"], told["trace"], told["request"]) == ("maria", "a" * 32, "r-1")
    assert 0 < told["left"] < 0.9
    # The call is a span of its own: the front's child, and the back's parent.
    [line] = [json.loads(each) for each in lines.getvalue().splitlines()]
    assert re.fullmatch(r"[0-9a-f]{16}", told["parent"])
    assert told["parent"] not in (line["span_id"], "b" * 16)


def test_without_a_visitor_and_a_deadline_the_client_s_own_time_counts() -> None:
    with (
        asked("asgi") as back,
        asgi_served(asking(Client(back, caller="front", timeout_s=0.7), io.StringIO())) as front,
    ):
        told = httpx.get(f"{front}/ask").json()
    assert told["visitor"] is None
    assert 0 < told["left"] < 0.7


def test_a_service_that_is_away_makes_a_problem_and_a_hint_to_come_back() -> None:
    back = f"http://127.0.0.1:{free_port()}"
    with asgi_served(asking(Client(back, caller="front"), io.StringIO())) as front:
        answer = httpx.get(f"{front}/ask")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.headers["retry-after"] == "1"
    assert back not in answer.text
