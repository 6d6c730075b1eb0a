import asyncio
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
import pytest
from prometheus_client import Counter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from strangler.service import Chassis, SettingRefused, Unavailable
from strangler.service.chassis import Position
from strangler.service.deadline import remaining
from strangler.service.health import Check
from strangler.service.identity import current, current_token
from strangler.service.log import RequestLog
from strangler.service.problem import SHAPES
from tests.fixtures.identity import Issuer

ISSUER = Issuer()
DOCUMENT = {"openapi": "3.1.0", "info": {"title": "ä", "version": "1"}}


async def item(request: Request) -> Response:
    return PlainTextResponse(str(request.path_params["id"]))


async def defect(request: Request) -> Response:
    raise ZeroDivisionError


async def gone(request: Request) -> Response:
    raise Unavailable("the database does not answer")


async def me(request: Request) -> Response:
    visitor = current()
    return PlainTextResponse(f"{visitor.name} {current_token() is not None}" if visitor else "nobody")


async def left(request: Request) -> Response:
    return PlainTextResponse(str(remaining()))


class Served:
    """A chassis around five routes, and the request lines it wrote."""

    def __init__(
        self,
        checks: Mapping[str, Check] | None = None,
        issuer: Issuer | None = None,
        position: Position | None = None,
        instruments: Iterable[Counter] = (),
    ) -> None:
        self.lines = io.StringIO()
        app = Starlette(
            routes=[
                Route("/items/{id:int}", item, methods=["GET", "POST"]),
                Route("/defect", defect),
                Route("/gone", gone),
                Route("/me", me),
                Route("/left", left),
            ],
            exception_handlers=dict(SHAPES),
        )
        log = RequestLog(self.lines, service="shop")
        self.chassis = Chassis(
            app,
            name="shop",
            openapi=DOCUMENT,
            checks=checks,
            requests=log,
            identity=issuer.verifier() if issuer else None,
            position=position,
            instruments=instruments,
        )

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        return asyncio.run(self._get(path, method, headers))

    async def _get(self, path: str, method: str, headers: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(self.chassis)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.request(method, path, headers=headers)

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.getvalue().splitlines()]


def test_the_proxy_is_told_how_far_an_unsafe_request_has_written() -> None:
    found: list[str | None] = ["0/16B3748", None]

    async def position() -> str | None:
        return found.pop(0)

    served = Served(position=position)
    assert "strangler-position" not in served.get("/items/1").headers
    assert served.get("/items/1", "POST").headers["strangler-position"] == "0/16B3748"
    assert "strangler-position" not in served.get("/items/1", "POST").headers
    assert "strangler-position" not in Served().get("/items/1", "POST").headers


def test_live_and_the_openapi_document_are_served() -> None:
    served = Served()
    assert served.get("/health/live").json() == {"status": "live"}
    assert served.get("/openapi.json").json() == DOCUMENT


def test_ready_follows_the_checks() -> None:
    async def broken() -> str | None:
        return "away"

    assert Served().get("/health/ready").status_code == 200
    answer = Served({"database": broken}).get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "checks": {"database": "away"}})


def test_the_operator_s_routes_are_neither_logged_nor_writable() -> None:
    served = Served()
    answer = served.get("/health/live", "POST")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert served.requests() == []


def test_metrics_count_by_template_and_never_by_path() -> None:
    served = Served()
    for path in ("/items/1", "/items/2", "/nowhere/1", "/nowhere/2"):
        served.get(path)
    served.get("/items/3", "BREW")
    text = served.get("/metrics").text
    assert 'strangler_service_requests_total{method="GET",route="/items/{id:int}",status="200"} 2.0' in text
    assert 'strangler_service_requests_total{method="GET",route="unmatched",status="404"} 2.0' in text
    assert 'strangler_service_requests_total{method="other",route="/items/{id:int}",status="405"} 1.0' in text
    assert "strangler_service_requests_in_flight 0.0" in text
    assert "/items/1" not in text


def test_what_a_service_counts_itself_is_told_beside_the_rest() -> None:
    sold = Counter("sold", "Cups sold", registry=None)
    sold.inc(3)
    text = Served(instruments=[sold]).get("/metrics").text
    assert ("sold_total 3.0" in text, "strangler_service_requests_in_flight 0.0" in text) == (True, True)


def test_one_line_a_request_without_its_query_string() -> None:
    served = Served()
    served.get("/items/7?token=secret", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    [line] = served.requests()
    assert (line["method"], line["route"], line["path"], line["status"]) == ("GET", "/items/{id:int}", "/items/7", 200)
    assert line["trace_id"] == "a" * 32
    assert "secret" not in served.lines.getvalue()


def test_what_the_application_did_not_shape_is_a_problem() -> None:
    answer = Served().get("/nowhere", **{"x-request-id": "r-1"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Not Found",
        "instance": "urn:request:r-1",
    }


def test_a_defect_is_a_500_problem_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    served = Served()
    answer = served.get("/defect")
    assert (answer.status_code, answer.json()["detail"]) == (500, "unexpected error")
    assert "ZeroDivisionError" in caplog.text
    assert [line["status"] for line in served.requests()] == [500]


def test_something_that_is_away_is_a_503_problem() -> None:
    answer = Served().get("/gone")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_answers_of_a_draining_process_end_their_connection() -> None:
    served = Served()
    assert "connection" not in served.get("/items/1").headers
    served.chassis.readiness.draining = True
    assert served.get("/items/1").headers["connection"] == "close"
    assert served.get("/health/ready").status_code == 503


def test_a_document_that_is_not_json_is_refused() -> None:
    with pytest.raises(SettingRefused, match="the OpenAPI document of shop is not JSON"):
        Chassis(Starlette(), name="shop", openapi={"x": object()})


def test_a_request_is_answered_for_whom_the_proxy_named() -> None:
    served = Served(issuer=ISSUER)
    assert served.get("/me").text == "nobody"
    assert served.get("/me", **ISSUER.headers()).text == "maria True"
    assert served.get("/me").text == "nobody"


def test_an_identity_that_does_not_verify_is_a_401_problem_and_never_nobody() -> None:
    served = Served(issuer=ISSUER)
    for header in (Issuer().headers(), ISSUER.headers(exp=1), {"Strangler-Identity": ""}):
        answer = served.get("/me", **header)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Strangler-Identity"
        assert answer.json()["detail"].startswith("the identity that came with the request is not to be trusted: ")
    assert [line["status"] for line in served.requests()] == [401, 401, 401]


def test_without_a_verifier_everybody_is_nobody() -> None:
    assert Served().get("/me", **ISSUER.headers()).text == "nobody"


def test_how_long_the_caller_still_waits_is_known_while_its_request_is_answered() -> None:
    served = Served()
    assert 4 < float(served.get("/left", **{"strangler-deadline": "5000"}).text) <= 5
    assert served.get("/left").text == served.get("/left", **{"strangler-deadline": "soon"}).text == "None"
    assert remaining() is None
