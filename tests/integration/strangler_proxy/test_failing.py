"""What goes wrong is told plainly, costs only its own capability, and never looks like success."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import pytest

from strangler.capability import Data, Stage, State
from strangler.project.limits import Limits, Timeouts
from strangler.routing.table import Capability, Route
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import (
    SETTINGS,
    Client,
    Origin,
    Proxy,
    Served,
    Truncated,
    never_answer,
    proxied,
    routing_table,
)
from tests.fixtures.waiting import until

NOWHERE = "http://127.0.0.1:1"
HASTY = replace(
    SETTINGS,
    timeouts=Timeouts(request_headers=0.3, idle=0.3, connect=0.3, first_byte=0.3, stream_idle=0.3, pool_idle=0.3),
)


def failures(proxy: Proxy) -> dict[tuple[str, ...], int]:
    return proxy.call(lambda: proxy.board.tally.counted("failures"))


def test_a_refused_connection_is_a_problem_for_programs_and_a_page_for_people() -> None:
    with Proxy(SETTINGS, routing_table(NOWHERE)) as proxy, Client(proxy.port) as client:
        found = client.get("/")
        content = json.loads(found.body)
        assert (found.status, found.header("content-type")) == (502, "application/problem+json")
        assert content == {
            "type": "about:blank",
            "title": "Bad Gateway",
            "status": 502,
            "detail": "The application could not be reached.",
            "instance": found.header("x-request-id"),
        }
        page = client.get("/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
        assert page.header("content-type") == "text/html; charset=utf-8"
        assert str(page.header("x-request-id")) in page.body.decode()
        assert (client.get("/", method="HEAD").status, client.get("/").status) == (502, 502)
        assert failures(proxy) == {("monolith", "refused"): 4 * 3}  # each is tried three times


def test_an_upload_that_nobody_takes_does_not_stop_the_next_request() -> None:
    small = replace(SETTINGS, limits=Limits(buffer=1000))
    with Proxy(small, routing_table(NOWHERE)) as proxy, Client(proxy.port) as client:
        found = client.post("/", b"x" * 2000)  # comes whole, and is more than may wait
        assert (found.status, found.header("connection")) == (502, "keep-alive")
        assert client.get("/").status == 502


def test_a_dead_service_costs_its_own_capability_only() -> None:
    capability = Capability(
        name="catalog",
        service="catalog",
        routes=(Route(path="/api/catalog"),),
        state=State(data=Data.NONE, share=10_000, stage=Stage.CANARY),
    )
    with (
        Origin() as monolith,
        Proxy(SETTINGS, routing_table(monolith.url, [capability], catalog=NOWHERE)) as proxy,
        Client(proxy.port) as client,
    ):
        assert client.get("/api/catalog/1").status == 502
        assert client.get("/").status == 200
        assert client.post("/api/catalog/1", b"x").status == 200


def test_the_next_endpoint_is_asked_when_one_refuses() -> None:
    with Origin() as alive, Proxy(SETTINGS, routing_table([NOWHERE, alive.url])) as proxy, Client(proxy.port) as client:
        assert [client.post("/", b"body").status for _ in range(6)] == [200] * 6
        assert failures(proxy) == {("monolith", "refused"): 1}


def test_a_repeatable_request_survives_a_connection_that_was_closed_meanwhile() -> None:
    def once_each(origin: Origin, served: Served) -> None:
        served.head()
        served.answer(b"ok")
        served.head()
        if origin.accepted == 1:
            return  # the second request is read, and the connection closed without a word
        served.answer(b"again")
        served.head()

    with proxied(once_each) as (proxy, origin), proxy.client() as client:
        assert client.get("/").body == b"ok"
        assert client.get("/").body == b"ok"
        assert origin.accepted == 2
        assert failures(proxy) == {}


def test_a_write_is_never_sent_twice() -> None:
    def once_each(origin: Origin, served: Served) -> None:
        served.head()
        served.answer(b"ok")
        origin.heads.append(served.head())

    with proxied(once_each) as (proxy, origin), proxy.client() as client:
        assert client.get("/").body == b"ok"
        assert client.post("/", b"").status == 502
        assert len(origin.heads) == 1
        assert failures(proxy) == {("monolith", "reset"): 1}


def test_a_read_that_is_lost_before_an_answer_is_sent_three_times_at_most_and_a_write_once() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()

    with proxied(script) as (proxy, origin), proxy.client() as client:
        assert client.get("/").status == 502
        assert origin.accepted == 3
        assert client.post("/", b"").status == 502
        assert origin.accepted == 4
        assert failures(proxy) == {("monolith", "reset"): 4}
        assert proxy.call(lambda: proxy.board.tally.counted("retries")) == {("monolith", "repeatable"): 2}


@pytest.mark.parametrize(
    "partial",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ],
)
def test_a_truncated_response_is_never_whole(partial: bytes) -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(partial)

    with proxied(script) as (proxy, _), proxy.client() as client:
        with pytest.raises(Truncated):
            client.get("/")
        until(lambda: failures(proxy) == {("monolith", "truncated"): 1}, "the failure is counted")


def test_a_reset_response_is_a_reset_for_who_cannot_tell_otherwise() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        until(lambda: origin.heads, "the client has read the head")
        served.reset()

    with proxied(script) as (proxy, origin), proxy.client() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        while client.line() != b"\r\n":
            pass
        origin.heads.append(b"")
        assert not client.closed()


def test_a_bad_chunk_behind_a_good_head_in_one_piece_is_a_502() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n")
        served.exactly(1)

    with proxied(script) as (proxy, _), proxy.client() as client:
        assert client.get("/").status == 502
        assert failures(proxy) == {("monolith", "garbled"): 1}


def test_a_stack_that_does_not_answer_is_a_504() -> None:
    with proxied(never_answer, HASTY) as (proxy, _), proxy.client() as client:
        assert client.get("/").status == 504
        assert failures(proxy) == {("monolith", "timeout"): 1}


def test_a_stack_that_stops_in_the_middle_breaks_the_connection() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        served.exactly(1)

    with proxied(script, HASTY) as (proxy, _), proxy.client() as client, pytest.raises(Truncated):
        client.get("/")


def test_a_connection_that_is_never_made_is_a_504() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        with Proxy(HASTY, routing_table(f"http://127.0.0.1:{address[1]}")) as proxy, Client(proxy.port) as client:
            assert client.get("/").status == 504
            assert failures(proxy) == {("monolith", "connect_timeout"): 1}
        for filler in fillers:
            filler.close()


def test_slow_heads_and_bodies_are_ended_with_408() -> None:
    with proxied(settings=HASTY) as (proxy, _):
        with proxy.client() as client:
            client.send(b"GET / HTTP/1.1\r\nHos")
            assert client.response().status == 408
            assert client.closed()
        with proxy.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
            assert client.response("POST").status == 408
            assert client.closed()


class _Broken:
    """A connection with a defect."""

    deadline = 0.0

    def expire(self) -> None:
        raise ValueError("a defect")

    def abort(self) -> None: ...
    def drain(self) -> None: ...


def test_a_defect_in_one_connection_leaves_the_others_their_time() -> None:
    broken = [_Broken() for _ in range(8)]  # a set has no order: one of them comes before the client's
    with proxied(never_answer, HASTY) as (proxy, _), Client(proxy.port) as client:
        proxy.call(lambda: proxy.board.watched.update(broken))
        assert client.get("/").status == 504
        proxy.call(lambda: proxy.board.watched.difference_update(broken))
        assert {repr(each["exception"]) for each in proxy.errors} == {"ValueError('a defect')"}
        proxy.errors.clear()


def test_idle_connections_end_in_silence() -> None:
    with proxied(settings=HASTY) as (proxy, _), proxy.client() as idle, proxy.client() as used:
        assert used.get("/").status == 200
        assert idle.sock.recv(1) == b""
        assert used.sock.recv(1) == b""


def test_a_client_that_never_reads_its_answer_is_let_go() -> None:
    size = 16 * 1024 * 1024  # more than the kernel holds for a client that does not read

    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.answer(b"x" * size)

    roomy = replace(HASTY, limits=Limits(buffer=2 * size))
    with proxied(script, roomy) as (proxy, _), proxy.client(receive_buffer=4096) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: proxy.call(lambda: len(proxy.board.watched) == 1), "the connection is there")
        until(lambda: proxy.call(lambda: not proxy.board.watched), "the connection is gone", seconds=5)


def test_pooled_connections_end_before_the_server_would() -> None:
    with proxied(settings=HASTY) as (proxy, _), proxy.client() as client:
        assert client.get("/").status == 200
        until(lambda: proxy.call(lambda: proxy.board.pool.endpoints[0].open) == 0, "the pool lets go")


def test_too_many_requests_for_a_stack_wait_and_then_are_refused() -> None:
    narrow = replace(SETTINGS, limits=Limits(connections=1, pending=1))
    go: list[bool] = []

    def script(origin: Origin, served: Served) -> None:
        while True:
            origin.heads.append(served.head())
            until(lambda: go, "the test lets it answer")
            served.answer(b"ok")

    with (
        proxied(script, narrow) as (proxy, origin),
        proxy.client() as first,
        proxy.client() as second,
        proxy.client() as third,
    ):
        first.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: origin.heads, "the first has the connection")
        second.send(b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: proxy.call(lambda: len(proxy.board.pool.endpoints[0].waiting)) == 1, "the second waits")
        found = third.get("/3")
        assert (found.status, found.header("retry-after")) == (503, "1")
        go.append(True)
        assert (first.response().body, second.response().body) == (b"ok", b"ok")
        assert origin.accepted == 1


def test_a_client_that_leaves_frees_what_it_held() -> None:
    def script(origin: Origin, served: Served) -> None:
        origin.heads.append(served.head())
        served.exactly(1)

    with proxied(script) as (proxy, origin):
        with proxy.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
            until(lambda: origin.heads, "the request is under way")
        until(lambda: proxy.call(lambda: proxy.board.tally.in_flight) == 0, "nothing is in flight")
        until(lambda: proxy.call(lambda: proxy.board.pool.endpoints[0].open) == 0, "nothing is open")
        requests = proxy.call(lambda: proxy.board.tally.requests())
        assert requests == {("", "monolith", "unrouted", "POST", 4): 1}


def test_a_restarted_stack_is_found_again() -> None:
    port = free_port()
    with Proxy(SETTINGS, routing_table(f"http://127.0.0.1:{port}")) as proxy, Client(proxy.port) as client:
        assert client.get("/").status == 502
        with socket.create_server(("127.0.0.1", port)) as listener:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            sock, _ = listener.accept()
            with sock:
                served = Served(sock)
                served.head()
                served.answer(b"back")
                assert client.response().body == b"back"


def test_a_new_table_moves_requests_without_ending_connections() -> None:
    with (
        Origin(name="one") as one,
        Origin(name="two") as two,
        Proxy(SETTINGS, routing_table(one.url)) as proxy,
        Client(proxy.port) as client,
    ):
        assert client.get("/").body == b"one"
        assert proxy.call(lambda: proxy.board.adopt(routing_table(two.url, version=2)))
        assert client.get("/").body == b"two"
        assert not proxy.call(lambda: proxy.board.adopt(routing_table(one.url, version=1)))
        assert client.get("/").body == b"two"


@pytest.mark.parametrize(("count", "status"), [(20, 200), (20_000, 502)])
def test_interim_responses_pass_but_no_flood_of_them(count: int, status: int) -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * count)
        served.answer()

    with proxied(script) as (proxy, _), proxy.client() as client:
        found = client.get("/")
        assert found.status == status
        assert set(found.interim) <= {103}
        if status == 200:
            assert len(found.interim) == count
        assert proxy.errors == []
