"""Whatever a service does, asking it is bounded, and what came is told as it was."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from strangler.conforming.answer import Answer, Silence
from strangler.conforming.wire import MOST_BYTES, Wire
from tests.fixtures.certificates import Authority
from tests.fixtures.ports import free_port

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Behaviour = Callable[[socket.socket], None]


@contextmanager
def listening(behave: Behaviour, listener: socket.socket | None = None) -> Iterator[str]:
    """Do ``behave`` with each connection, one after the other, and yield where they are taken."""
    with listener or socket.create_server(("127.0.0.1", 0)) as place:

        def serve() -> None:
            with suppress(OSError):  # the end of the test
                while True:
                    taken, _ = place.accept()
                    taken.settimeout(10)
                    with suppress(OSError), taken:
                        behave(taken)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{place.getsockname()[1]}" if place.family == socket.AF_INET else ""
        finally:
            place.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def wire(endpoint: str, patience: float = 5, context: ssl.SSLContext | None = None) -> Wire:
    return Wire(endpoint, context, own={"X-Own": "1"}, patience=patience)


def says(*pieces: bytes) -> Behaviour:
    def behave(taken: socket.socket) -> None:
        taken.recv(65_536)
        for piece in pieces:
            taken.sendall(piece)

    return behave


def drips(first: bytes) -> Behaviour:
    def behave(taken: socket.socket) -> None:
        taken.recv(65_536)
        taken.sendall(first)
        while True:
            taken.sendall(b"a")
            time.sleep(0.05)  # a slow service is what is wanted

    return behave


def test_an_answer_is_told_with_its_headers() -> None:
    head = b"HTTP/1.1 404 Not Found\r\nContent-Type: Application/JSON; charset=utf-8\r\nX: 1\r\nX: 2\r\n"
    with listening(says(head, b"Content-Length: 2\r\n\r\n{}")) as endpoint:
        came = wire(endpoint).ask("/")
    assert isinstance(came, Answer)
    assert (came.status, came.media, came.header("x"), came.told) == (404, "application/json", "1, 2", {})


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"]
)
def test_a_service_that_drips_is_waited_for_no_longer_than_told(first: bytes) -> None:
    began = time.monotonic()
    with listening(drips(first)) as endpoint:
        came = wire(endpoint, patience=0.4).ask("/")
    assert isinstance(came, Silence)
    assert came.why == "no whole answer in 0.4 s"
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("said", "begun"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", True),
        (b"", False),
        (b"SSH-2.0-x\r\n", False),
    ],
)
def test_half_an_answer_is_none(said: bytes, begun: bool) -> None:
    with listening(says(said)) as endpoint:
        came = wire(endpoint).ask("/")
    assert isinstance(came, Silence)
    assert (came.begun, came.refused) == (begun, False)


def test_an_answer_without_end_is_cut() -> None:
    with listening(says(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * (MOST_BYTES + 10))) as endpoint:
        came = wire(endpoint).ask("/")
    assert isinstance(came, Answer)
    assert (came.cut, len(came.body)) == (True, MOST_BYTES)


def test_nobody_listens() -> None:
    came = wire(f"http://127.0.0.1:{free_port()}").ask("/")
    assert isinstance(came, Silence)
    assert came.refused


def test_a_connection_takes_several_requests_as_long_as_it_is_kept() -> None:
    def twice(taken: socket.socket) -> None:
        for _ in range(2):
            taken.recv(65_536)
            taken.sendall(WHOLE)

    with listening(twice) as endpoint, closing(wire(endpoint).kept()) as kept:
        assert [isinstance(kept.ask("/"), Answer) for _ in range(3)] == [True, True, False]
        assert kept.is_over


def test_a_unix_socket_and_tls(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{tmp_path}/s")
    listener.listen()
    with listening(says(WHOLE), listener):
        assert isinstance(wire(f"unix:{tmp_path}/s").ask("/"), Answer)
    authority = Authority(tmp_path)
    pair = authority.give("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)

    def secured(taken: socket.socket) -> None:
        with context.wrap_socket(taken, server_side=True) as stream:
            says(WHOLE)(stream)

    with listening(secured) as endpoint:
        known = ssl.create_default_context(cafile=authority.ca)
        place = endpoint.replace("http:", "https:")
        assert isinstance(wire(place, context=known).ask("/"), Answer)
        stranger = wire(place, context=ssl.create_default_context()).ask("/")
        assert isinstance(stranger, Silence)
        assert "certificate" in stranger.why


def test_bytes_are_sent_until_something_comes_back() -> None:
    with listening(says(b"HTTP/1.1 431 Too Large\r\n\r\n")) as endpoint:
        came = wire(endpoint).send([b"a" * 16_384] * 10_000, seconds=5)
    assert (came.status, came.closed) == (431, True)
    assert came.sent < 10_000 * 16_384


def test_a_service_that_reads_nothing_takes_no_more_than_its_buffers() -> None:
    still = threading.Event()

    def waits(_: socket.socket) -> None:
        still.wait(3)

    with listening(waits) as endpoint:
        came = wire(endpoint).send([b"a" * 16_384] * 10_000, seconds=0.5)
        still.set()
    assert (came.status, came.closed) == (None, False)
    assert came.sent < 10_000 * 16_384
