"""Requests and responses pass whole, in order, and as they came."""

from __future__ import annotations

import threading

import pytest

from tests.fixtures.proxy import PATIENCE, SETTINGS, Client, Origin, Proxy, Served, proxied, routing_table
from tests.fixtures.waiting import until


def test_keeps_both_connections_for_the_next_request() -> None:
    with proxied() as (proxy, origin), proxy.client() as client:
        assert [client.get(f"/{number}").body for number in range(5)] == [b"monolith"] * 5
        assert origin.accepted == 1


def test_answers_pipelined_requests_in_order() -> None:
    def echo(origin: Origin, served: Served) -> None:
        while True:
            served.answer(served.head().split(b" ")[1])

    with proxied(echo) as (proxy, _), proxy.client() as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(200)))
        assert [client.response().body for _ in range(200)] == [b"/%d" % number for number in range(200)]


def test_pipelines_bodies_without_mixing_them() -> None:
    with proxied() as (proxy, origin), proxy.client() as client:
        bodies = [b"%d" % number * (1 + number * 700) for number in range(30)]
        client.send(
            b"".join(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(b), b) for b in bodies)
        )
        assert [client.response().status for _ in bodies] == [200] * 30
        assert origin.bodies == bodies


@pytest.mark.parametrize("target", ["/a%2Fb?x=%20&y=1", "/a//b/../c", "/%e4", "/?", "/a?b?c", "*"])
def test_sends_the_target_as_it_came(target: str) -> None:
    with proxied() as (proxy, origin), proxy.client() as client:
        assert client.get(target, method="OPTIONS").status == 200
        assert origin.heads[0].split(b" ")[1] == target.encode()


def test_what_a_stack_says_of_the_end_of_a_route_comes_through() -> None:
    said = (
        "Deprecation: @1767225600",
        "Sunset: Wed, 01 Jul 2026 00:00:00 GMT",
        'Link: <https://shop.example/2>; rel="successor-version"',
    )

    def ending(origin: Origin, served: Served) -> None:
        served.head()
        served.answer(b"still here", *said)

    with proxied(ending) as (proxy, _), proxy.client() as client:
        response = client.get("/")
        assert [f"{name}: {response.header(name)}" for name in ("Deprecation", "Sunset", "Link")] == list(said)


def test_sends_host_as_it_came_and_adds_what_stacks_need() -> None:
    with proxied() as (proxy, origin), proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\nhost: Shop.Example:8080\r\naccept: */*\r\n\r\n")
        client.response()
        lines = origin.heads[0].decode().split("\r\n")
        assert lines[:6] == [
            "GET / HTTP/1.1",
            "Host: Shop.Example:8080",
            "accept: */*",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: Shop.Example:8080",
        ]
        names = [line.partition(":")[0] for line in lines[6:] if line]
        assert names == ["X-Request-ID", "traceparent"]


def test_passes_headers_of_the_response_untouched() -> None:
    sent = [
        "Date: Mon, 01 Jan 2024 00:00:00 GMT",
        "Server: gunicorn",
        "Set-Cookie: a=1",
        "Set-Cookie: b=2",
        "X-Odd:  v ",
    ]

    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.answer(b"ok", *sent)
        served.head()

    with proxied(script) as (proxy, _), proxy.client() as client:
        found = client.get("/")
        assert [(key, value) for key, value in found.headers if key != b"content-length"] == [
            (b"date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
            (b"server", b"gunicorn"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
            (b"x-odd", b"v"),
        ]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_responses_without_body_end_at_their_head(status: str) -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode())
        served.head()
        served.answer(b"next")
        served.head()

    with proxied(script) as (proxy, origin), proxy.client() as client:
        assert client.get("/").status == int(status[:3])
        assert client.get("/").body == b"next"
        assert origin.accepted == 1


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_response_to_head_has_no_body_whatever_it_says(framing: str) -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        served.head()
        served.answer(b"next")
        served.head()

    with proxied(script) as (proxy, origin), proxy.client() as client:
        found = client.get("/", method="HEAD")
        assert (found.status, found.body) == (200, b"")
        assert found.header("content-length") == ("1000" if framing.startswith("Content") else None)
        assert client.get("/").body == b"next"
        assert origin.accepted == 1


def test_an_origin_that_sends_a_body_to_head_is_not_used_again() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.answer(b"a body that nobody asked for")
        served.head()

    with proxied(script) as (proxy, origin), proxy.client() as client:
        assert client.get("/", method="HEAD").status == 200
        assert client.get("/", method="HEAD").status == 200
        assert origin.accepted == 2


def test_chunks_pass_both_ways() -> None:
    def script(origin: Origin, served: Served) -> None:
        origin.bodies.append(served.body(served.head()))
        served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n")
        served.send(b"2\r\nef\r\n0\r\nServer-Timing: db;dur=5\r\nX-Evil: 1\r\n\r\n")
        served.head()

    with proxied(script) as (proxy, origin), proxy.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"3\r\nabc\r\n")
        client.send(b"A\r\n0123456789\r\n0\r\n\r\n")
        found = client.response("POST")
        assert found.body == b"abcdef"
        assert found.trailers == [(b"server-timing", b"db;dur=5")]
        assert origin.bodies == [b"abc0123456789"]


def test_each_piece_of_a_response_is_passed_on_at_once() -> None:
    read = threading.Semaphore(0)

    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            served.send(b"9\r\ndata: %d\r\n\r\n" % number)
            assert read.acquire(timeout=PATIENCE)  # the client has it before the next is sent

    with proxied(script) as (proxy, _), proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while client.line() != b"\r\n":
            pass
        for number in range(3):
            assert client.line() + client.line() == b"9\r\ndata: %d\r\n" % number
            client.line()
            read.release()


def test_a_body_that_ends_with_the_connection_is_chunked_for_http_1_1() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    with proxied(script) as (proxy, _), proxy.client() as client:
        assert [client.get("/").body, client.get("/").body] == [b"all of it", b"all of it"]


def test_http_1_0_gets_its_body_unchunked_and_the_end_of_the_connection() -> None:
    def script(origin: Origin, served: Served) -> None:
        origin.heads.append(served.head())
        served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    with proxied(script) as (proxy, origin), proxy.client() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        found = client.response()
        assert (found.body, found.header("transfer-encoding"), found.header("connection")) == (b"abc", None, "close")
        assert origin.heads[0].split(b"\r\n")[:2] == [b"GET / HTTP/1.1", b"Host: %b" % origin.url[7:].encode()]


def test_http_1_0_keeps_its_connection_when_it_asks_to() -> None:
    with proxied() as (proxy, _), proxy.client() as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert client.response().header("connection") == "keep-alive"


def test_connection_close_is_honoured() -> None:
    with proxied() as (proxy, _), proxy.client() as client:
        assert client.get("/", "Connection: close").header("connection") == "close"
        assert client.closed()


def test_a_client_may_stop_sending_and_still_get_its_answer() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        until(lambda: origin.bodies, "the client has half closed")
        served.answer(b"late")

    with proxied(script) as (proxy, origin), proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.sock.shutdown(1)
        origin.bodies.append(b"done")
        assert client.response().body == b"late"
        assert client.closed()


def test_interim_responses_pass_to_1_1_and_not_to_1_0() -> None:
    def script(origin: Origin, served: Served) -> None:
        while True:
            served.head()
            served.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            served.answer(b"ok")

    with proxied(script) as (proxy, _), proxy.client() as client:
        assert client.get("/").interim == [103]
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.response().interim == []


def test_expect_100_continue_is_passed_through() -> None:
    def script(origin: Origin, served: Served) -> None:
        head = served.head()
        assert b"Expect: 100-continue\r\n" in head
        served.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        origin.bodies.append(served.body(head))
        served.answer(b"stored")

    with proxied(script) as (proxy, origin), proxy.client() as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.line() + client.line() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"12345")
        assert client.response("PUT").body == b"stored"
        assert origin.bodies == [b"12345"]


def test_a_refused_expectation_ends_the_connection_after_the_answer() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.answer(b"too large", status="413 Content Too Large")

    with proxied(script) as (proxy, _), proxy.client() as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        found = client.response("PUT")
        assert (found.status, found.body, found.header("connection")) == (413, b"too large", "close")
        assert client.closed()


def test_an_early_answer_reaches_a_client_that_is_still_sending() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.answer(b"no", status="403 Forbidden")
        served.exactly(1)

    with proxied(script) as (proxy, _), proxy.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100_000)
        assert client.response("POST").status == 403
        assert client.closed()


def test_response_and_request_may_stream_at_the_same_time() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            served.send(b"1\r\n%b\r\n" % served.exactly(1))
        served.send(b"0\r\n\r\n")

    with proxied(script) as (proxy, _), proxy.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
        while client.line() != b"\r\n":
            pass
        for letter in (b"a", b"b", b"c"):
            client.send(letter)
            assert client.line() + client.line() == b"1\r\n%b\r\n" % letter
        assert client.line() == b"0\r\n"


def test_heads_may_come_byte_by_byte() -> None:
    with proxied() as (proxy, origin), proxy.client() as client:
        for byte in b"POST /slow HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc":
            client.send(bytes([byte]))
        assert client.response().status == 200
        assert origin.bodies == [b"abc"]


def test_an_upgrade_to_h2c_is_left_out_and_its_body_forwarded() -> None:
    with proxied() as (proxy, origin), proxy.client() as client:
        for framing, body in (("Content-Length: 3", b"abc"), ("Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n")):
            client.send(
                b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n%b\r\n\r\n%b" % (framing.encode(), body)
            )
            assert client.response().status == 200
        assert client.get("/after").status == 200
        assert origin.bodies == [b"abc", b"abc", b""]
        assert b"pgrade" not in b"".join(origin.heads)


def test_several_endpoints_share_the_requests() -> None:
    with Origin(name="one") as one, Origin(name="two") as two:
        with Proxy(SETTINGS, routing_table([one.url, two.url])) as proxy, Client(proxy.port) as client:
            found = [client.get("/").body for _ in range(10)]
        assert {found.count(b"one"), found.count(b"two")} == {5}
