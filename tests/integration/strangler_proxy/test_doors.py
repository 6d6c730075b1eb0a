"""When descriptors run out, who is inside goes on, and who is outside waits."""

from __future__ import annotations

import resource
import time
from contextlib import ExitStack

import psutil
import pytest

from strangler_proxy.doors import most_clients
from tests.fixtures.proxy import PATIENCE, Client, Origin, ProxyProcess
from tests.fixtures.waiting import until

LIMITED = (
    "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]), int(sys.argv[3])))\n"
    "sys.exit(serve_origin(sys.argv[1], [sys.argv[2]], '127.0.0.1:0', 1))"
)


def limited(origin: Origin, descriptors: int) -> ProxyProcess:
    return ProxyProcess(LIMITED, origin.url, "127.0.0.1:0", str(descriptors))


@pytest.mark.parametrize("descriptors", [64, 256])
def test_clients_beyond_the_descriptors_wait_and_are_served_when_others_leave(descriptors: int) -> None:
    most = most_clients(descriptors)
    with Origin() as origin, limited(origin, descriptors) as proxy, ExitStack() as stack:
        worker = psutil.Process(proxy.workers()[0])
        inside = [stack.enter_context(Client(proxy.port)) for _ in range(most)]
        assert {client.get("/").status for client in inside} == {200}
        outside = [stack.enter_context(Client(proxy.port)) for _ in range(descriptors)]
        for client in outside:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: proxy.metric("strangler_proxy_accept_pauses_total")[""] >= 1, "the doors are closed")

        before, began = sum(worker.cpu_times()[:2]), time.monotonic()
        served = 0
        while time.monotonic() - began < 2:
            served += sum(client.get("/").status == 200 for client in inside)
            time.sleep(0.2)
        per_request = 0.001  # far above what one takes
        spent = (sum(worker.cpu_times()[:2]) - before - served * per_request) / (time.monotonic() - began)
        assert served >= most * 5
        assert spent < 0.2
        assert worker.num_fds() < descriptors
        assert [worker.pid] == proxy.workers()

        for client in inside:
            client.sock.close()
        answered = 0
        while outside:
            some, outside = outside[: most // 2], outside[most // 2 :]
            for client in some:
                assert client.response().status == 200
                client.sock.close()
                answered += 1
        assert answered == descriptors
        until(lambda: proxy.metric("strangler_proxy_connections")[""] == 0, "all have left")
        with Client(proxy.port) as client:
            assert client.get("/").status == 200
        proxy.process.terminate()
        assert proxy.end() == 0
        assert proxy.errors.count("descriptors are running out") == 1


def test_a_worker_whose_last_descriptor_is_gone_does_not_spin_and_comes_back() -> None:
    """Its limit is lowered below what it has: not even the one in reserve is of use."""
    with Origin() as origin, limited(origin, 4096) as proxy, ExitStack() as stack:
        worker = psutil.Process(proxy.workers()[0])
        inside = stack.enter_context(Client(proxy.port))
        assert inside.get("/").status == 200
        soft, hard = worker.rlimit(psutil.RLIMIT_NOFILE)
        worker.rlimit(psutil.RLIMIT_NOFILE, (8, hard))
        outside = stack.enter_context(Client(proxy.port))
        outside.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: proxy.metric("strangler_proxy_accept_pauses_total")[""] == 1, "the doors are closed")
        before, began = sum(worker.cpu_times()[:2]), time.monotonic()
        until(lambda: time.monotonic() - began > 2, "two seconds are over")
        assert (sum(worker.cpu_times()[:2]) - before) / (time.monotonic() - began) < 0.2
        worker.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
        assert inside.get("/").status == 200
        with Client(proxy.port) as later:
            later.sock.settimeout(PATIENCE)
            assert later.get("/").status == 200


def test_half_of_what_is_left_is_for_clients() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert [most_clients(each) for each in (64, 256, 1024, 1_048_576)] == [12, 108, 492, 524_268]
    assert most_clients(soft) >= 8
    assert most_clients(10) == 8
