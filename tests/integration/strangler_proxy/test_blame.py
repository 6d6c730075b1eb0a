"""Whoever keeps a request from going on is blamed for it, and nobody else."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace

from strangler.project.limits import Limits
from strangler.routing.protect import Reach
from strangler_proxy.breaker import Circuit
from tests.fixtures.proxy import SETTINGS, Client, Origin, Proxy, Served, routing_table
from tests.fixtures.waiting import until
from tests.integration.strangler_proxy.test_protecting import table

IMPATIENT = replace(SETTINGS, timeouts=replace(SETTINGS.timeouts, stream_idle=1.0, first_byte=1.0))
ONE = Limits(connections=1)
LARGE = 8_000_000


def upload(client: Client, size: int) -> threading.Thread:
    """Send a body of ``size`` bytes from a thread, as far as it is taken."""

    def send() -> None:
        with suppress(OSError):
            client.sock.sendall(b"z" * size)

    client.send(b"POST /shelf HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
    sending = threading.Thread(target=send)
    sending.start()
    return sending


def test_clients_that_do_not_read_do_not_have_their_service_left_alone() -> None:
    def answer(origin: Origin, served: Served) -> None:
        while True:
            large = b"/large" in served.head()
            with suppress(OSError):
                served.answer(b"x" * LARGE if large else b"small")

    with (
        Origin() as monolith,
        Origin(answer) as service,
        Proxy(IMPATIENT, table(monolith.url, service.url)) as proxy,
    ):
        crowd = [proxy.client(4096) for _ in range(12)]
        for client in crowd:
            client.send(b"GET /shelf/large HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: proxy.board.tally.in_flight == 12, "all have asked")
        until(lambda: proxy.board.tally.in_flight == 0, "their time is over")
        cluster = proxy.board.pool.clusters["shelf"]
        assert cluster.breaker is not None
        assert cluster.breaker.circuit is Circuit.CLOSED
        assert [each.health.ejections for each in cluster.endpoints] == [0]
        assert proxy.board.tally.counted("failures") == {}
        with proxy.client() as client:
            assert client.get("/shelf/1").body == b"small"
        for client in crowd:
            client.sock.close()


def test_an_endpoint_that_breaks_requests_off_is_ejected() -> None:
    def reset(origin: Origin, served: Served) -> None:
        served.body(served.head())
        origin.heads.append(b"")
        served.reset()

    with (
        Origin(reset) as bad,
        Origin() as good,
        Proxy(SETTINGS, routing_table((bad.url, good.url))) as proxy,
        proxy.client() as client,
    ):
        statuses = [client.post("/", b"x").status for _ in range(60)]
        assert 0 < statuses.count(502) == len(bad.heads) < 15
        assert set(statuses[-20:]) == {200}


def test_a_write_that_waits_is_not_sent_where_the_stack_has_ended() -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def answer_and_end(origin: Origin, served: Served) -> None:
        head = served.head()
        served.body(head)
        if b"/slow" in head:
            asked.set()
            may_answer.wait(20)
        served.answer()
        served.sock.shutdown(socket.SHUT_RDWR)

    with (
        Origin(answer_and_end) as origin,
        Proxy(replace(SETTINGS, limits=ONE), routing_table(origin.url)) as proxy,
        proxy.client() as first,
        proxy.client() as second,
    ):
        first.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert asked.wait(20)
        second.send(b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        (endpoint,) = proxy.board.pool.endpoints
        until(lambda: len(endpoint.waiting) == 1, "the write waits in line")
        busy = threading.Event()

        def look_away() -> None:
            busy.set()
            time.sleep(0.3)  # the answer and the end arrive together, as the loop sees it

        proxy.board.call_later(0, look_away)
        assert busy.wait(20)
        may_answer.set()
        assert (first.response().status, second.response("POST").status) == (200, 200)


def test_a_stack_that_stops_reading_is_timed_out_and_counted() -> None:
    over = threading.Event()

    def stop_reading(origin: Origin, served: Served) -> None:
        served.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        served.head()
        over.wait(20)

    with Origin(stop_reading) as origin, Proxy(IMPATIENT, routing_table(origin.url)) as proxy, proxy.client() as client:
        sending = upload(client, LARGE)
        assert client.response("POST").status == 504
        assert proxy.board.tally.counted("failures") == {("monolith", "timeout"): 1}
        client.sock.shutdown(socket.SHUT_RDWR)
        sending.join()
        over.set()


def test_a_large_write_that_finds_no_connection_is_told_so() -> None:
    over = threading.Event()

    def stay_busy(origin: Origin, served: Served) -> None:
        served.head()
        origin.heads.append(b"")
        over.wait(20)

    settings = replace(IMPATIENT, limits=ONE)
    with (
        Origin(stay_busy) as origin,
        Proxy(
            settings, replace(routing_table(origin.url), reach={"monolith": Reach(first_byte_timeout=20.0)})
        ) as proxy,
        proxy.client() as first,
        proxy.client() as second,
    ):
        first.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: origin.heads, "the only connection is taken")
        sending = upload(second, LARGE)
        assert second.response("POST").status == 503
        second.sock.shutdown(socket.SHUT_RDWR)
        sending.join()
        over.set()


def test_the_monolith_has_its_own_time_where_it_answers_for_a_service() -> None:
    over = threading.Event()

    def hang(origin: Origin, served: Served) -> None:
        served.head()
        over.wait(20)

    def take_half_a_second(origin: Origin, served: Served) -> None:
        served.head()
        over.wait(0.5)
        served.answer()

    with Origin(take_half_a_second) as monolith, Origin(hang) as service:
        shelf = table(monolith.url, service.url, fallback=True, timeout=1.0)
        bounded = replace(shelf, reach={"monolith": Reach(total_timeout=1.0)})
        with Proxy(SETTINGS, bounded) as proxy, proxy.client() as client:
            assert client.get("/shelf/1").status == 200
        over.set()
