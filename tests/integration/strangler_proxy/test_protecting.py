"""A stack that fails harms nobody who need not be harmed, and is not hurt further."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_network

from strangler.capability import WHOLE, Data, Stack, Stage, State
from strangler.project.limits import Limits
from strangler.routing.keys import sign_override
from strangler.routing.protect import Protect, Reach
from strangler.routing.table import Capability, Route, RoutingTable
from strangler_proxy.breaker import Circuit
from strangler_proxy.health import Condition
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import KEYS, SETTINGS, Origin, Proxy, Script, Served, keep_answering
from tests.fixtures.waiting import until

READ_BY_SERVICE = State(stage=Stage.CANARY, share=WHOLE, data=Data.NONE)
NOWHERE = "http://127.0.0.1:1"


def table(
    monolith: str, service: str | tuple[str, ...], state: State = READ_BY_SERVICE, version: int = 1, **protect: object
) -> RoutingTable:
    capability = Capability(
        name="shelf",
        service="shelf",
        routes=(Route(path="/shelf"),),
        state=state,
        protect=Protect(**protect),  # type: ignore[arg-type]
    )
    services = (service,) if isinstance(service, str) else service
    return RoutingTable(
        version=version, upstreams={"monolith": (monolith,), "shelf": services}, capabilities=(capability,)
    )


def answering(status: str) -> Script:
    def answer(origin: Origin, served: Served) -> None:
        while True:
            origin.heads.append(served.head())
            served.answer(origin.name.encode(), status=status)

    return answer


@contextmanager
def both(script: Script, **protect: object) -> Iterator[tuple[Proxy, Origin, Origin]]:
    with (
        Origin() as monolith,
        Origin(script, name="service") as service,
        Proxy(SETTINGS, table(monolith.url, service.url, **protect)) as proxy,  # type: ignore[arg-type]
    ):
        yield proxy, monolith, service


def counted(proxy: Proxy, family: str) -> dict[tuple[str, ...], int]:
    return proxy.call(lambda: proxy.board.tally.counted(family))


# --- fallback ---


def test_a_read_that_the_service_failed_is_answered_by_the_monolith_and_marked() -> None:
    for status in ("500 Oops", "502 Bad", "503 Later", "504 Slow"):
        with both(answering(status), fallback=True) as (proxy, _, service), proxy.client() as client:
            found = client.get("/shelf/1")
            assert (found.status, found.body) == (200, b"monolith")
            assert found.header("strangler-fallback") == "monolith; why=status"
            assert len(service.heads) == 1
            assert counted(proxy, "fallbacks") == {("shelf", "fallback"): 1}
            assert {key[:3] for key in proxy.call(proxy.board.tally.requests)} == {("shelf", "monolith", "fallback")}


def test_a_service_that_is_away_is_fallen_back_from() -> None:
    with (
        Origin() as monolith,
        Proxy(SETTINGS, table(monolith.url, NOWHERE, fallback=True)) as proxy,
        proxy.client() as client,
    ):
        found = client.get("/shelf/1")
        assert (found.body, found.header("strangler-fallback")) == (b"monolith", "monolith; why=refused")


def test_a_service_that_hangs_up_or_talks_nonsense_is_fallen_back_from() -> None:
    def hang_up(origin: Origin, served: Served) -> None:
        served.head()

    def nonsense(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"SSH-2.0-OpenSSH\r\n")
        served.sock.recv(1)

    for script, why in ((hang_up, "reset"), (nonsense, "garbled")):
        with both(script, fallback=True) as (proxy, _, _service), proxy.client() as client:
            assert client.get("/shelf/1").header("strangler-fallback") == f"monolith; why={why}"


def test_a_read_that_waited_too_long_is_answered_once() -> None:
    """Its turn at the service comes when the monolith has been asked already."""
    free, monolith_may = threading.Event(), threading.Event()

    def held(origin: Origin, served: Served) -> None:
        while True:
            origin.heads.append(served.head())
            (free if origin.name == "service" else monolith_may).wait(20)
            served.answer(origin.name.encode())

    settings = replace(SETTINGS, limits=Limits(connections=1), timeouts=replace(SETTINGS.timeouts, first_byte=1.0))
    with Origin(held, name="service") as service, Origin(held, name="monolith") as monolith:
        shelf = replace(
            table(monolith.url, service.url, fallback=True), reach={"shelf": Reach(first_byte_timeout=20.0)}
        )
        with Proxy(settings, shelf) as proxy, proxy.client() as first, proxy.client() as second:
            first.send(b"GET /shelf/1 HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: service.heads, "the service's only connection is taken")
            second.send(b"GET /shelf/2 HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: monolith.heads, "the monolith is asked in its place")
            free.set()
            assert first.response().body == b"service"
            monolith_may.set()
            assert second.response().body == b"monolith"
            assert second.get("/other").body == b"monolith"
            until(lambda: proxy.board.tally.in_flight == 0, "nothing is under way")
            assert [len(service.heads), len(monolith.heads)] == [1, 2]


def test_an_answer_that_has_begun_is_broken_off_and_not_mixed_with_another() -> None:
    def cut(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    with both(cut, fallback=True) as (proxy, monolith, _), proxy.client() as client:
        client.send(b"GET /shelf/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.line() == b"HTTP/1.1 200 OK\r\n"
        client.closed()
        assert monolith.heads == []


def test_writes_what_is_not_opened_and_what_is_not_current_are_not_fallen_back_from() -> None:
    owned = State(stage=Stage.SERVICE, owner=Stack.SERVICE, share=WHOLE, data=Data.ABSENT)
    with both(answering("503 Later")) as (proxy, monolith, _), proxy.client() as client:
        assert (client.get("/shelf/1").status, monolith.heads) == (503, [])
    with both(answering("503 Later"), fallback=True, state=owned) as (proxy, monolith, _), proxy.client() as client:
        assert (client.get("/shelf/1").status, client.post("/shelf/1", b"x").status) == (503, 503)
        assert monolith.heads == []
        assert counted(proxy, "fallbacks") == {("shelf", "not_current"): 1, ("shelf", "write"): 1}


def test_the_client_keeps_its_connection_through_a_fallback() -> None:
    with both(answering("503 Later"), fallback=True) as (proxy, monolith, _), proxy.client() as client:
        assert [client.get(f"/shelf/{number}").status for number in range(5)] == [200] * 5
        assert monolith.accepted == 1


# --- the breaker ---


def test_a_service_that_only_fails_is_left_alone() -> None:
    with both(answering("503 Later")) as (proxy, _, service), proxy.client() as client:
        statuses = [client.get("/shelf/1").status for _ in range(30)]
        assert statuses == [503] * 30
        assert len(service.heads) == 10
        breaker = proxy.board.pool.clusters["shelf"].breaker
        assert breaker is not None
        assert proxy.call(lambda: breaker.circuit) is Circuit.OPEN
        assert counted(proxy, "failures") == {("shelf", "open"): 20}
        assert client.get("/other").status == 200


def test_the_monolith_is_asked_whatever_it_answers() -> None:
    with Origin(answering("503 Later")) as origin, Proxy(SETTINGS, table(origin.url, origin.url)) as proxy:
        with proxy.client() as client:
            assert [client.get("/").status for _ in range(30)] == [503] * 30
        assert len(origin.heads) == 30


# --- bounds ---


def never(origin: Origin, served: Served) -> None:
    origin.heads.append(served.head())
    served.sock.recv(1)


def test_a_bulkhead_bounds_the_requests_of_a_capability_and_nobody_elses() -> None:
    with both(never, bulkhead=2) as (proxy, _, service), proxy.client() as one, proxy.client() as two:
        for client in (one, two):
            client.send(b"GET /shelf/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: len(service.heads) == 2, "both are under way")
        with proxy.client() as third:
            found = third.get("/shelf/1")
            assert (found.status, found.header("retry-after")) == (503, "1")
            assert third.get("/").status == 200
        one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.sock.close()
        until(lambda: proxy.call(lambda: proxy.board.tally.in_flight) == 1, "the first has left")
        with proxy.client() as fourth:
            fourth.send(b"GET /shelf/1 HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: len(service.heads) == 3, "there is room for one more")


def test_a_request_may_take_so_long_and_no_longer() -> None:
    with both(never, timeout=0.2) as (proxy, _, _service), proxy.client() as client:
        assert client.get("/shelf/1").status == 504
        assert client.get("/").status == 200


def test_a_stack_may_be_reached_in_a_way_of_its_own() -> None:
    with Origin(never) as monolith, Origin() as service:
        slow = replace(table(monolith.url, service.url), reach={"monolith": Reach(first_byte_timeout=0.2)})
        with Proxy(SETTINGS, slow) as proxy, proxy.client() as client:
            assert client.get("/").status == 504


# --- endpoints ---


def test_a_dead_endpoint_costs_nobody_an_answer() -> None:
    with Origin() as monolith, Origin(name="service") as service:
        endpoints = (f"http://127.0.0.1:{free_port()}", service.url)
        with Proxy(SETTINGS, table(monolith.url, endpoints)) as proxy, proxy.client() as client:
            assert [client.get("/shelf/1").body for _ in range(20)] == [b"service"] * 20


def test_an_endpoint_that_fails_in_a_row_is_ejected_while_another_answers() -> None:
    with (
        Origin() as monolith,
        Origin(answering("502 Bad"), name="bad") as bad,
        Origin(name="good") as good,
        Proxy(SETTINGS, table(monolith.url, (bad.url, good.url))) as proxy,
        proxy.client() as client,
    ):
        statuses = [client.get("/shelf/1").status for _ in range(40)]
        assert statuses.count(502) == 5
        assert statuses[-20:] == [200] * 20
        endpoints = proxy.board.pool.clusters["shelf"].endpoints
        assert proxy.call(lambda: [each.url for each in endpoints if each.health.ejections]) == [bad.url]


def test_probes_take_an_endpoint_out_and_bring_it_back() -> None:
    def by_path(origin: Origin, served: Served) -> None:
        while True:
            head = served.head()
            well = origin.name == "well" or not head.startswith(b"GET /well ")
            served.answer(b"", status="200 OK" if well else "503 Not yet")

    with Origin() as monolith, Origin(by_path, name="unwell") as service:
        probed = replace(
            table(monolith.url, service.url), reach={"shelf": Reach(health="/well", health_interval=0.001)}
        )
        with Proxy(SETTINGS, probed) as proxy:
            (endpoint,) = proxy.board.pool.clusters["shelf"].endpoints

            def condition() -> Condition:
                return proxy.call(lambda: endpoint.health.condition(proxy.board.time()))

            until(lambda: condition() is Condition.UNHEALTHY, "probes speak against it")
            service.name = "well"
            until(lambda: condition() is Condition.RETURNING, "probes speak for it")


def test_a_name_is_looked_up_and_its_endpoint_asked_by_address() -> None:
    with Origin(name="monolith") as origin:
        named = origin.url.replace("127.0.0.1", "localhost")
        with Proxy(SETTINGS, table(named, NOWHERE)) as proxy, proxy.client() as client:
            urls = lambda: [each.url for each in proxy.board.pool.clusters["monolith"].endpoints]  # noqa: E731
            until(lambda: proxy.call(urls) == [origin.url], "the name is looked up")
            assert client.get("/").body == b"monolith"
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert client.line() == b"HTTP/1.1 200 OK\r\n"
            assert f"Host: localhost:{origin.port}\r\n".encode() in origin.heads[-1]


def test_a_tester_is_told_why_and_how_long() -> None:
    with both(keep_answering) as (proxy, _, _service), proxy.client() as client:
        token = sign_override("shelf", Stack.SERVICE, 1 << 40, KEYS)
        found = client.get("/shelf/1", f"X-Strangler-Override: {token}")
        assert str(found.header("strangler-why")).startswith('capability="shelf", stack=service, why=override')
        assert str(found.header("server-timing")).startswith("strangler;dur=")
        others = client.get("/shelf/1"), client.get("/shelf/1", "X-Strangler-Override: shelf~service~1.forged")
        assert [each.header("strangler-why") or each.header("server-timing") for each in others] == [None, None]


def test_one_address_may_have_so_many_connections_and_no_more() -> None:
    few = replace(SETTINGS, limits=Limits(client_connections=2))
    with Origin() as origin, Proxy(few, table(origin.url, origin.url)) as proxy, proxy.client() as one:
        assert one.get("/").status == 200
        with proxy.client() as two:
            assert two.get("/").status == 200
            with proxy.client() as three:
                assert three.response().status == 503
            assert counted(proxy, "refusals") == {("connections", ""): 1}
        until(lambda: proxy.call(lambda: proxy.board.clients) == {"127.0.0.1": 1}, "the others are counted out")
        with proxy.client() as four:
            assert four.get("/").status == 200
    trusted = replace(few, trusted=(ip_network("127.0.0.0/8"),))
    with Origin() as origin, Proxy(trusted, table(origin.url, origin.url)) as proxy, ExitStack() as clients:
        assert [clients.enter_context(proxy.client()).get("/").status for _ in range(5)] == [200] * 5
        assert proxy.call(lambda: proxy.board.clients) == {}
