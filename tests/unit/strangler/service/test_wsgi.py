from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from strangler.service import SettingRefused, Unavailable
from strangler.service.deadline import remaining
from strangler.service.health import PlainCheck, PlainReadiness
from strangler.service.identity import current, current_token
from strangler.service.log import RequestLog
from strangler.service.trace import CURRENT
from strangler.service.wsgi import Chassis, Position
from tests.fixtures.identity import Issuer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ISSUER = Issuer()
DOCUMENT = {"openapi": "3.1.0", "info": {"title": "ä", "version": "1"}}
PLAIN = [("Content-Type", "text/plain")]


def named() -> bytes:
    visitor, trace = current(), CURRENT.get()
    assert trace is not None
    return f"{visitor.name if visitor else 'nobody'} {current_token() is not None} {trace.request_id}".encode()


class Body:
    """Chunks that are made when they are asked for; an exception among them is raised."""

    def __init__(self, *made: Callable[[], bytes] | Exception) -> None:
        self._made = iter(made)
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for each in self._made:
            if isinstance(each, Exception):
                raise each
            yield each()

    def close(self) -> None:
        self.closed = True


def item(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    environ["strangler.route"] = "/items/{id}"
    start_response("200 OK", PLAIN)
    return [b"one"] if environ["REQUEST_METHOD"] != "HEAD" else []


def late_start(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("202 Accepted", PLAIN)
    yield named()
    yield b" and " + named()


def left(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)
    yield str(remaining()).encode()


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(app: WSGIApplication, path: str, method: str, headers: Mapping[str, str]) -> Answer:
    """Do as a server does; the validator holds both sides to PEP 3333."""
    path, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode().decode("latin-1"),
    }
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    setup_testing_defaults(environ)
    told: list[tuple[str, Message]] = []

    def start_response(status: str, headers: list[tuple[str, str]], failure: object = None) -> Callable[[bytes], None]:
        message = Message()
        for name, value in headers:
            message[name] = value
        told.append((status, message))
        return lambda chunk: None

    body = validator(app)({**environ, "QUERY_STRING": query}, start_response)
    try:
        content = b"".join(body)
    finally:
        body.close()  # type: ignore[attr-defined]
    status, message = told[-1]
    return Answer(status=int(status[:3]), headers=message, body=content)


class Served:
    """A chassis around a few paths, and the request lines it wrote."""

    def __init__(
        self,
        checks: Mapping[str, PlainCheck] | None = None,
        issuer: Issuer | None = None,
        position: Position | None = None,
    ) -> None:
        self.lines = io.StringIO()
        self.body = Body()
        self.chassis = Chassis(
            self._app,
            name="shop",
            openapi=DOCUMENT,
            checks=checks,
            requests=RequestLog(self.lines, service="shop"),
            identity=issuer.verifier() if issuer else None,
            position=position,
        )

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/defect":
            raise ZeroDivisionError
        if path == "/gone":
            raise Unavailable("the database does not answer")
        if path == "/late":
            return late_start(environ, start_response)
        if path == "/left":
            return left(environ, start_response)
        if path == "/body":
            start_response("200 OK", PLAIN)
            return self.body
        return item(environ, start_response)

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        return ask(self.chassis, path, method, headers)

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.getvalue().splitlines()]


def test_the_proxy_is_told_how_far_an_unsafe_request_has_written() -> None:
    found: list[str | None] = ["0/16B3748", None]
    served = Served(position=lambda: found.pop(0))
    answers = [served.get("/items/1"), served.get("/items/1", "POST"), served.get("/items/1", "POST")]
    assert [answer.headers["strangler-position"] for answer in answers] == [None, "0/16B3748", None]


def test_live_and_the_openapi_document_are_served() -> None:
    served = Served()
    assert served.get("/health/live").json() == {"status": "live"}
    assert served.get("/openapi.json").json() == DOCUMENT
    assert served.get("/openapi.json", "HEAD").body == b""


def test_ready_follows_the_checks() -> None:
    assert Served({"database": lambda: None}).get("/health/ready").status == 200
    answer = Served({"database": lambda: "away"}).get("/health/ready")
    assert (answer.status, answer.json()) == (503, {"status": "not ready", "checks": {"database": "away"}})


def test_a_check_that_hangs_is_not_waited_for_longer_than_the_deadline() -> None:
    released = threading.Event()

    def hung() -> str | None:
        released.wait()
        return None

    readiness = PlainReadiness(checks={"hung": hung, "well": lambda: None}, deadline_seconds=0.05)
    try:
        for _ in range(2):
            assert readiness.verdict() == (False, {"hung": "no answer within 0.05 s", "well": "ok"})
    finally:
        released.set()


def test_a_draining_process_is_not_ready() -> None:
    served = Served()
    served.chassis.readiness.draining = True
    assert served.get("/health/ready").json() == {
        "status": "not ready",
        "checks": {"drain": "the process is stopping"},
    }


def test_the_operator_s_routes_are_neither_logged_nor_writable() -> None:
    served = Served()
    answer = served.get("/health/live", "POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert served.requests() == []


def test_metrics_count_by_the_label_that_the_application_left() -> None:
    served = Served()
    for path in ("/items/1", "/items/2", "/late"):
        served.get(path)
    text = served.get("/metrics").body.decode()
    assert 'strangler_service_requests_total{method="GET",route="/items/{id}",status="200"} 2.0' in text
    assert 'strangler_service_requests_total{method="GET",route="unmatched",status="202"} 1.0' in text
    assert "strangler_service_requests_in_flight 0.0" in text


def test_one_line_a_request_without_its_query_string() -> None:
    served = Served()
    served.get("/items/ü?token=secret", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    [line] = served.requests()
    assert (line["method"], line["route"], line["path"], line["status"]) == ("GET", "/items/{id}", "/items/ü", 200)
    assert line["trace_id"] == "a" * 32
    assert "secret" not in served.lines.getvalue()


def test_a_body_that_is_made_later_knows_the_visitor_and_the_trace() -> None:
    served = Served(issuer=ISSUER)
    answer = served.get("/late", **ISSUER.headers(), **{"x-request-id": "r-1"})
    assert (answer.status, answer.body) == (202, b"maria True r-1 and maria True r-1")
    assert served.get("/late", **{"x-request-id": "r-2"}).body == b"nobody False r-2 and nobody False r-2"
    assert (current(), CURRENT.get()) == (None, None)


def test_two_requests_in_one_thread_do_not_know_of_each_other() -> None:
    served = Served(issuer=ISSUER)
    bodies = [
        served.chassis({"REQUEST_METHOD": "GET", "PATH_INFO": "/late", **visitor}, lambda *_: lambda _: None)
        for visitor in ({"HTTP_STRANGLER_IDENTITY": ISSUER.token(name="ann")}, {})
    ]
    first, second = (iter(body) for body in bodies)
    assert [next(first).split()[0], next(second).split()[0]] == [b"ann", b"nobody"]
    assert [next(first).split()[1], next(second).split()[1]] == [b"ann", b"nobody"]
    for body in bodies:
        body.close()  # type: ignore[attr-defined]


def test_a_defect_is_a_500_problem_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    served = Served()
    answer = served.get("/defect", **{"x-request-id": "r-1"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status, answer.json()["detail"]) == (500, "unexpected error")
    assert answer.json()["instance"] == "urn:request:r-1"
    assert "ZeroDivisionError" in caplog.text
    assert [line["status"] for line in served.requests()] == [500]


def test_something_that_is_away_is_a_503_problem() -> None:
    answer = Served().get("/gone")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_a_body_that_fails_before_its_first_byte_is_a_problem() -> None:
    served = Served()
    served.body = Body(lambda: b"", ZeroDivisionError())
    assert served.get("/body").status == 500
    assert served.body.closed


def test_a_body_that_fails_later_breaks_off() -> None:
    served = Served()
    served.body = Body(lambda: b"half", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        served.get("/body")
    assert served.body.closed


def test_what_the_client_does_not_wait_for_is_closed_and_recorded() -> None:
    served = Served()
    served.body = Body(lambda: b"one", lambda: b"two")
    answer = served.chassis({"REQUEST_METHOD": "GET", "PATH_INFO": "/body"}, lambda *_: lambda _: None)
    assert next(iter(answer)) == b"one"
    for _ in range(2):
        answer.close()  # type: ignore[attr-defined]
    assert served.body.closed
    assert len(served.requests()) == 1


def test_an_identity_that_does_not_verify_is_a_401_problem_and_never_nobody() -> None:
    served = Served(issuer=ISSUER)
    for header in (Issuer().headers(), ISSUER.headers(exp=1), {"Strangler-Identity": ""}):
        answer = served.get("/late", **header)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Strangler-Identity"
    assert [line["status"] for line in served.requests()] == [401, 401, 401]


def test_without_a_verifier_everybody_is_nobody() -> None:
    assert Served().get("/late", **ISSUER.headers()).body.startswith(b"nobody False")


def test_a_document_that_is_not_json_is_refused() -> None:
    with pytest.raises(SettingRefused, match="the OpenAPI document of shop is not JSON"):
        Chassis(item, name="shop", openapi={"x": object()})


def test_how_long_the_caller_still_waits_is_known_while_its_body_is_made() -> None:
    served = Served()
    assert 4 < float(served.get("/left", **{"strangler-deadline": "5000"}).body) <= 5
    assert served.get("/left").body == served.get("/left", **{"strangler-deadline": "soon"}).body == b"None"
    assert remaining() is None
