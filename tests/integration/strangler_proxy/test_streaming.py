"""Bodies of any size pass in bounded memory, as fast as their reader and no faster."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from dataclasses import replace

import psutil
import pytest

from strangler.project.limits import Limits
from strangler_proxy.downstream import Downstream
from tests.fixtures.proxy import SETTINGS, Origin, Proxy, Served, proxied
from tests.fixtures.waiting import until

PIECE = bytes(range(256)) * 256  # 64 kB
PIECES = 1024  # 64 MB
# What one run may keep: buffers of both sides and both sockets, and the allocator's slack.
SLACK = 16 * 1024 * 1024


def _digest() -> str:
    digest = hashlib.sha256()
    for _ in range(PIECES):
        digest.update(PIECE)
    return digest.hexdigest()


def _resident() -> int:
    resident: int = psutil.Process().memory_info().rss
    return resident


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_download_keeps_nothing(chunked: bool) -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        if not chunked:
            served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES))
            for _ in range(PIECES):
                served.send(PIECE)
            return
        served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(PIECES):
            served.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        served.send(b"0\r\n\r\n")

    with proxied(script) as (proxy, _), proxy.client() as client:
        before = _resident()
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while client.line() != b"\r\n":
            pass
        served = Served(client.sock)
        digest = hashlib.sha256()
        for _ in range(PIECES):
            digest.update(served.exactly(len(PIECE)) if not chunked else _chunk(served))
        assert digest.hexdigest() == _digest()
        assert _resident() - before < SLACK


_left: dict[Served, bytes] = {}


def _chunk(served: Served) -> bytes:
    """Return the next 64 kB of a chunked body; the proxy may cut chunks where it likes."""
    data = _left.pop(served, b"")
    while len(data) < len(PIECE):
        size = b""
        while not size.endswith(b"\r\n"):
            size += served.exactly(1)
        data += served.exactly(int(size, 16))
        served.exactly(2)
    _left[served] = data[len(PIECE) :]
    return data[: len(PIECE)]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_keeps_nothing(chunked: bool) -> None:
    found: list[str] = []

    def script(origin: Origin, served: Served) -> None:
        served.head()
        digest = hashlib.sha256()
        for _ in range(PIECES):
            digest.update(_chunk(served) if chunked else served.exactly(len(PIECE)))
        found.append(digest.hexdigest())
        served.answer(b"stored")

    with proxied(script) as (proxy, _), proxy.client() as client:
        before = _resident()
        if chunked:
            client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(PIECES):
                client.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
            client.send(b"0\r\n\r\n")
        else:
            client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES))
            for _ in range(PIECES):
                client.send(PIECE)
        assert client.response("PUT").body == b"stored"
        assert found == [_digest()]
        assert _resident() - before < SLACK


def test_a_client_that_does_not_read_stops_the_stack() -> None:
    stopped = threading.Event()
    go = threading.Event()

    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES))
        served.sock.settimeout(0.5)
        sent = 0
        while sent < len(PIECE) * PIECES:
            try:
                sent += served.sock.send(PIECE[sent % len(PIECE) :])
            except TimeoutError:
                stopped.set()
                assert go.wait(10)
                served.sock.settimeout(10)

    with proxied(script) as (proxy, _), proxy.client(receive_buffer=8192) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stopped.wait(10)
        go.set()
        while client.line() != b"\r\n":
            pass
        served = Served(client.sock)
        digest = hashlib.sha256()
        for _ in range(PIECES):
            digest.update(served.exactly(len(PIECE)))
        assert digest.hexdigest() == _digest()


def test_a_stack_that_does_not_read_stops_the_client() -> None:
    go = threading.Event()

    def script(origin: Origin, served: Served) -> None:
        served.head()
        assert go.wait(10)
        for _ in range(PIECES):
            served.exactly(len(PIECE))
        served.answer(b"stored")

    with proxied(script) as (proxy, _), proxy.client() as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES))
        client.sock.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < len(PIECE) * PIECES:
                sent += client.sock.send(PIECE[sent % len(PIECE) :])
        assert sent < len(PIECE) * PIECES
        go.set()
        client.sock.settimeout(10)
        while sent < len(PIECE) * PIECES:
            sent += client.sock.send(PIECE[sent % len(PIECE) :])
        assert client.response("PUT").body == b"stored"


def test_a_stack_that_answers_without_reading_is_not_asked_again_over_what_it_has_not_read() -> None:
    go = threading.Event()

    def script(origin: Origin, served: Served) -> None:
        if not served.head().startswith(b"PUT "):
            served.answer(b"next")
            return
        assert go.wait(10)
        served.answer(b"enough")
        served.exactly(1 << 30)

    size = 16 * 1024 * 1024  # more than the kernel holds for two who do not read
    roomy = replace(SETTINGS, limits=Limits(buffer=2 * size))
    with proxied(script, roomy) as (proxy, origin), proxy.client() as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        until(lambda: proxy.call(lambda: _taken(proxy)), "the proxy has the whole request")
        go.set()
        assert client.response("PUT").body == b"enough"
        assert client.get("/").body == b"next"
        assert origin.accepted == 2


def _taken(proxy: Proxy) -> bool:
    (downstream,) = proxy.board.watched
    assert isinstance(downstream, Downstream)
    return downstream._exchange is not None and downstream._body is None


def test_a_slow_client_does_not_hold_the_next_one_on_the_same_upstream() -> None:
    """A connection to a stack that was paused for one client is going again when the next gets it."""

    def script(origin: Origin, served: Served) -> None:
        while True:
            served.head()
            served.answer(PIECE * 16)

    with proxied(script) as (proxy, origin):
        for _ in range(3):
            with proxy.client(receive_buffer=8192) as client:
                assert len(client.get("/").body) == len(PIECE) * 16
        until(lambda: origin.accepted == 1, "one connection serves all")
