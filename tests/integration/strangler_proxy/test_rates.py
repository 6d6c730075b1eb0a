"""Clients that ask too often, over real connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from strangler.project.limits import By, Rate
from strangler.routing.table import Capability, Route
from strangler_proxy.settings import Settings
from tests.fixtures.proxy import Origin, Proxy, Response, proxied, routing_table
from tests.fixtures.waiting import until


def limited(*rates: Rate, **more: Any) -> Settings:
    return Settings(worker="test", table="", rates=rates, **more)


SLOW = Rate(name="slow", requests=1, per=3600.0, burst=2)


def test_whoever_asks_too_often_is_told_when_to_come_again() -> None:
    with proxied(settings=limited(SLOW)) as (proxy, origin), proxy.client() as client:
        passed = [client.get("/"), client.get("/")]
        refused = client.get("/")
        assert [each.status for each in passed] == [200, 200]
        assert [each.header("RateLimit") for each in passed] == ['"slow";r=1;t=3600', '"slow";r=0;t=7200']
        assert {each.header("RateLimit-Policy") for each in (*passed, refused)} == {'"slow";q=1;w=3600'}
        assert refused.status == 429
        assert refused.header("Content-Type") == "application/problem+json"
        assert refused.header("Retry-After") == "3600"
        assert refused.header("RateLimit") == '"slow";r=0;t=7200'
        assert json.loads(refused.body)["title"] == "Too Many Requests"
        assert len(origin.heads) == 2
        assert client.get("/", "X-Still: here").status == 429  # over the same connection


def test_what_is_refused_is_counted_and_logged(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with proxied(settings=limited(SLOW, access_log=str(log))) as (proxy, _), proxy.client() as client:
        found = [client.get(f"/{number}").status for number in range(3)]
        tally = proxy.call(lambda: proxy.board.tally.snapshot())
    assert found == [200, 200, 429]
    assert tally["refusals"] == [["rate", "slow", 1]]
    assert tally["in_flight_by"] == [["", 0]]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["status"], line["why"]) for line in lines] == [(200, "unrouted"), (200, "unrouted"), (429, "rate")]


def test_a_body_that_is_refused_ends_the_connection_in_order() -> None:
    with proxied(settings=limited(Rate(name="one", requests=1, per=3600.0))) as (proxy, _), proxy.client() as client:
        assert client.post("/", b"first").status == 200
        client.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1000\r\n\r\nsome")
        refused = client.response("POST")
        assert (refused.status, refused.header("Connection")) == (429, "close")


def test_clients_do_not_use_up_each_others_allowance() -> None:
    settings = limited(Rate(name="one", requests=1, per=3600.0), trusted=(ip_network("127.0.0.0/8"),))
    with proxied(settings=settings) as (proxy, _), proxy.client() as client:
        asked = ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
        found = [client.get("/", f"X-Forwarded-For: {address}").status for address in asked]
    assert found == [200, 200, 429, 200, 429, 200]


def test_a_client_may_be_its_credential() -> None:
    rate = Rate(name="one", requests=1, per=3600.0, by=By.CREDENTIAL)
    with proxied(settings=limited(rate)) as (proxy, _), proxy.client() as client:
        shown = ["Cookie: sessionid=a", "Cookie: sessionid=b", "Cookie: sessionid=a", "Authorization: Token a"]
        assert [client.get("/", each).status for each in shown] == [200, 200, 429, 200]


@contextmanager
def catalog(*rates: Rate) -> Iterator[tuple[Proxy, Origin]]:
    capability = Capability(name="catalog", service="catalog", routes=(Route(path="/api/catalog"),))
    with Origin() as origin, Proxy(limited(*rates), routing_table(origin.url, [capability], catalog=origin.url)) as it:
        yield it, origin


def test_a_rate_holds_for_its_capability_and_methods() -> None:
    rate = Rate(name="writes", requests=1, per=3600.0, capability="catalog", methods=("POST",))
    with catalog(rate) as (proxy, _), proxy.client() as client:

        def post(path: str) -> Response:
            return client.post(path, b"")

        assert [post("/api/catalog").status, post("/api/catalog").status] == [200, 429]
        assert [post("/other").status, client.get("/api/catalog").status] == [200, 200]
        assert client.get("/api/catalog").header("RateLimit") is None


def test_what_one_rate_refuses_counts_in_no_other() -> None:
    wide = Rate(name="wide", requests=1, per=3600.0, burst=10)
    narrow = Rate(name="narrow", requests=1, per=3600.0, methods=("POST",))
    with catalog(wide, narrow) as (proxy, _), proxy.client() as client:
        assert [client.post("/", b"").status for _ in range(5)] == [200, 429, 429, 429, 429]
        assert client.get("/").header("RateLimit") == '"wide";r=8;t=7200'


def test_a_lane_that_nothing_limits_has_nothing_to_ask() -> None:
    rate = Rate(name="catalog", requests=1, per=3600.0, capability="catalog")
    with catalog(rate) as (proxy, _), proxy.client() as client:
        client.get("/")
        client.get("/api/catalog")
        lanes = proxy.call(lambda: {each.decision.capability: each.admission for each in proxy.board.lanes.values()})
    assert lanes[None] is None
    assert lanes["catalog"] is not None


def test_the_allowance_comes_back() -> None:
    rate = Rate(name="quick", requests=2, per=1.0, burst=1)
    with proxied(settings=limited(rate)) as (proxy, _), proxy.client() as client:
        assert client.get("/").status == 200
        assert client.get("/").status == 429
        until(lambda: client.get("/").status == 200, "another request is allowed")
