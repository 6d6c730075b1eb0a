"""What may be read in two ways is refused; what a client may not say never reaches a stack."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from strangler.capability import Data, Stack, Stage, State
from strangler.project.limits import Limits
from strangler.routing.keys import sign_override
from strangler.routing.table import Capability, Route
from tests.fixtures.proxy import KEYS, SETTINGS, Client, Origin, Proxy, Served, never_answer, proxied, routing_table
from tests.fixtures.waiting import until

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

REFUSED = {
    "length and chunked": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two equal lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "list of lengths": HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    "signed length": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "negative length": HEAD + b"Content-Length: -3\r\n\r\nabc",
    "hexadecimal length": HEAD + b"Content-Length: 0x3\r\n\r\nabc",
    "empty length": HEAD + b"Content-Length: \r\n\r\nabc",
    "huge length": HEAD + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "coding before chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "vertical tab in coding": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": HEAD + b"Content-Length : 3\r\n\r\nabc",
    "folded line": HEAD + b"X-A: b\r\n c\r\n\r\n",
    "space at line start": b"POST / HTTP/1.1\r\n Host: x\r\n\r\n",
    "bare line feed": b"GET / HTTP/1.1\nHost: x\n\n",
    "bare line feed in head": b"GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
    "bare carriage return": b"GET / HTTP/1.1\r\nHost: x\rX-A: b\r\n\r\n",
    "NUL in value": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n",
    "control in value": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\x01c\r\n\r\n",
    "NUL in target": b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n",
    "control in name": b"GET / HTTP/1.1\r\nHost: x\r\nX\x01A: b\r\n\r\n",
    "empty name": b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
    "high byte in target": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in target": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "target without slash": b"GET a HTTP/1.1\r\nHost: x\r\n\r\n",
    "other scheme": b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host but in the target": b"GET http://x/ HTTP/1.1\r\n\r\n",
    "no host in target of 1.0": b"GET http://a;b:c/ HTTP/1.0\r\n\r\n",
    "other host in target": b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "two credentials": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Token a\r\nAuthorization: Token b\r\n\r\n",
    "host of a thousand letters": b"GET / HTTP/1.1\r\nHost: " + b"x" * 1000 + b"\r\n\r\n",
    "host with path": b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "host with user": b"GET / HTTP/1.1\r\nHost: a@x\r\n\r\n",
    "host with space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "unknown method": b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


def _status_and_end(port: int, data: bytes) -> tuple[int, bool]:
    with Client(port) as client:
        client.send(data)
        found = client.response()
        assert found.header("content-type") == "application/problem+json"
        return found.status, client.closed()


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_two_parsers_could_read_differently(case: str) -> None:
    with proxied() as (proxy, origin):
        assert _status_and_end(proxy.port, REFUSED[case] + NEXT) == (400, True)
        assert origin.heads == []


BAD_CHUNKS = {
    "size with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size with space": b"3 \r\nabc\r\n0\r\n\r\n",
    "size with sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "line feed after size": b"3\nabc\r\n0\r\n\r\n",
    "line feed after data": b"3\r\nabc\n0\r\n\r\n",
    "line feed in extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "longer than its size": b"2\r\nabc\r\n0\r\n\r\n",
    "size over 64 bits": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("case", BAD_CHUNKS)
def test_refuses_bad_chunks_and_never_ends_the_body_for_the_stack(case: str) -> None:
    def script(origin: Origin, served: Served) -> None:
        origin.bodies.append(served.body(served.head()))

    with proxied(script) as (proxy, origin):
        data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + BAD_CHUNKS[case] + NEXT
        assert _status_and_end(proxy.port, data) == (400, True)
    assert origin.bodies == []


def test_refuses_a_bad_chunk_of_a_connection_s_last_request() -> None:
    with proxied(never_answer) as (proxy, _):
        data = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"
        assert _status_and_end(proxy.port, data) == (400, True)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: " + b"a" * 150_000, 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;" + b"a" * 150_000, 431),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", 501),
    ],
)
def test_refuses_what_is_too_large_or_not_spoken(data: bytes, status: int) -> None:
    with proxied(never_answer) as (proxy, _):
        assert _status_and_end(proxy.port, data)[0] == status


def test_a_refused_request_waits_for_the_answers_before_it() -> None:
    with proxied() as (proxy, _), proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n" + NEXT)
        assert [client.response().status, client.response().status] == [200, 400]
        assert client.closed()


def _arrived(proxy: Proxy, origin: Origin, *headers: str) -> list[str]:
    with proxy.client() as client:
        assert client.get("/", *headers).status == 200
    return origin.heads[-1].decode().split("\r\n")[2:-2]


def test_headers_of_the_connection_do_not_pass() -> None:
    with proxied() as (proxy, origin):
        lines = _arrived(
            proxy,
            origin,
            "Connection: keep-alive, X-Mine",
            "X-Mine: 1",
            "X-Yours: 2",
            "Keep-Alive: timeout=5",
            "TE: trailers",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic eA==",
            "Proxy: http://evil",
            "Upgrade: nothing",
        )
        assert [line.partition(":")[0] for line in lines] == [
            "X-Yours",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "X-Request-ID",
            "traceparent",
        ]


SPOOFED = (
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil",
    "X-Forwarded-Ssl: on",
    "X_Forwarded_For: 6.6.6.6",
    "Forwarded: for=6.6.6.6",
    "X-Real-IP: 6.6.6.6",
    "X-Request-ID: mine",
    "X-Strangler-Visitor: me",
    "X_Strangler_Override: catalog",
    "Content_Length: 100",
)


def test_spoofed_headers_of_proxies_do_not_pass() -> None:
    with proxied() as (proxy, origin):
        text = "\n".join(_arrived(proxy, origin, *SPOOFED))
        assert "X-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop.test\n" in text
        assert not {"6.6.6.6", "https", "evil", "mine", "me", "catalog", "100"} & set(
            text.replace(": ", "\n").split("\n")
        )


def test_a_trusted_balancer_is_believed() -> None:
    trusting = replace(SETTINGS, trusted=(ip_network("127.0.0.0/8"),))
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with proxied(settings=trusting) as (proxy, origin):
        lines = _arrived(
            proxy,
            origin,
            "X-Forwarded-For: 6.6.6.6, 10.0.0.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: shop.example",
            "X-Forwarded-Port: 443",
            "X-Request-ID: from-the-balancer",
            f"traceparent: {parent}",
            "tracestate: a=1",
            "X-Strangler-Visitor: me",
        )
        assert lines == [
            "X-Forwarded-For: 6.6.6.6, 10.0.0.1, 127.0.0.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: shop.example",
            "X-Forwarded-Port: 443",
            "X-Request-ID: from-the-balancer",
            f"traceparent: {parent}",
            "tracestate: a=1",
        ]


def test_a_trace_is_continued_and_a_broken_one_replaced() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    with proxied() as (proxy, origin):
        assert f"traceparent: {parent}" in _arrived(proxy, origin, f"traceparent: {parent}")
        lines = _arrived(proxy, origin, "traceparent: 00-0-0-00", "tracestate: a=1")
        assert not any(line.startswith("tracestate") or "00-0-0" in line for line in lines)


def test_own_cookies_and_overrides_do_not_pass() -> None:
    token = sign_override("catalog", Stack.SERVICE, 4_000_000_000, KEYS)
    with proxied() as (proxy, origin):
        lines = _arrived(
            proxy,
            origin,
            f"Cookie: a=1; strangler_override={token}; b=2; strangler_visitor=x.y",
            "Cookie: strangler_visitor=x.y",
            f"X-Strangler-Override: {token}",
        )
        assert lines[0] == "Cookie: a=1; b=2"
        assert not any("strangler" in line.lower() for line in lines)


def test_a_path_that_selects_by_its_reading_is_refused() -> None:
    capability = Capability(
        name="catalog",
        service="catalog",
        routes=(Route(path="/api/catalog"),),
        state=State(data=Data.NONE, share=10_000, stage=Stage.CANARY),
    )
    with (
        Origin() as monolith,
        Origin(name="service") as service,
        Proxy(SETTINGS, routing_table(monolith.url, [capability], catalog=service.url)) as proxy,
        Client(proxy.port) as client,
    ):
        assert client.get("/api%2Fcatalog/1").status == 400
        assert client.get("/api/x/..%2f..%2fapi/catalog/1").status == 400
        assert client.get("/api/catalog/1").body == b"service"
        assert client.get("/api/catalogue/1").body == b"monolith"
        assert client.get("/api/%63atalog/1").body == b"service"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\nX-B: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_unsafe_responses_become_502(answer: bytes) -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(answer)
        served.exactly(1)

    with proxied(script) as (proxy, _), proxy.client() as client:
        assert client.get("/").status == 502


@pytest.mark.parametrize("at_once", [True, False])
def test_what_follows_a_response_is_not_taken_for_another(at_once: bool) -> None:
    mine = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

    def script(origin: Origin, served: Served) -> None:
        served.head()
        for piece in [mine + poison] if at_once else [mine, poison]:
            served.send(piece)
        served.exactly(1)

    with proxied(script) as (proxy, _):
        for _ in range(3):
            with proxy.client() as client:
                assert client.get("/").body == b"mine"
                # What comes after the next request has gone out cannot be told from its answer (RFC 9112 section 9.2).
                until(lambda: proxy.call(lambda: proxy.board.pool.endpoints[0].open) == 0, "the connection ends")


def test_limits_are_settings() -> None:
    small = replace(SETTINGS, limits=Limits(target=10, headers_count=3))
    with proxied(settings=small) as (proxy, _), proxy.client() as client:
        assert client.get("/" + "a" * 10).status == 414
