"""A served process from its start to its end, over real sockets."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from starlette.applications import Starlette

from strangler.service import Chassis, SettingRefused
from strangler.service.serve import Limits, Listen, serve

# /slow answers once /release was asked.
PROGRAM = """
import asyncio, sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from strangler.service import Chassis
from strangler.service.log import configure
from strangler.service.serve import Limits, Listen, serve

released = asyncio.Event()

async def slow(request):
    await released.wait()
    return PlainTextResponse("done")

async def release(request):
    released.set()
    return PlainTextResponse("released")

configure(service="slow")
app = Starlette(routes=[Route("/slow", slow), Route("/release", release)])
chassis = Chassis(app, name="slow", openapi={})
limits = Limits(
    notice_seconds=float(sys.argv[1]), finish_seconds=int(sys.argv[2]), head_bytes=8_192, head_seconds=0.5
)
serve(chassis, Listen.parse("127.0.0.1:0"), limits=limits)
"""


class Process:
    """The program above, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = self._listening()

    def _listening(self) -> int:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            said = json.loads(line)
            if said["message"] == "listening":
                return int(said["port"])
        raise AssertionError("it ended before it listened")

    def get(self, path: str) -> tuple[int, str, str | None]:
        """Return status, body and what the answer says of its connection."""
        with self.connected() as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode(), response.headers["connection"]

    @contextmanager
    def connected(self) -> Iterator[http.client.HTTPConnection]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            yield connection

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        return self.process.wait(timeout=10)


@contextmanager
def running(*, notice_seconds: float, finish_seconds: int) -> Iterator[Process]:
    command = [sys.executable, "-c", PROGRAM, str(notice_seconds), str(finish_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in 10 s"


def in_flight(process: Process) -> bool:
    return "requests_in_flight 1.0" in process.get("/metrics")[1]


def test_on_sigterm_ready_turns_false_and_the_request_in_flight_is_answered() -> None:
    with running(notice_seconds=2, finish_seconds=8) as process, ThreadPoolExecutor(1) as thread:
        slow = thread.submit(process.get, "/slow")
        until(lambda: in_flight(process))
        assert process.get("/health/ready")[0] == 200
        process.stop()
        until(lambda: process.get("/health/ready")[0] == 503)
        assert process.get("/release") == (200, "released", "close")
        assert slow.result(timeout=10)[:2] == (200, "done")
        assert process.ended() == 0


def test_a_request_that_does_not_end_is_cut_off_at_the_limit() -> None:
    with running(notice_seconds=0, finish_seconds=1) as process, ThreadPoolExecutor(1) as thread:
        slow = thread.submit(process.get, "/slow")
        until(lambda: in_flight(process))
        process.stop()
        assert process.ended() == 0
        assert slow.result(timeout=10)[0] == 500


def test_an_idle_connection_does_not_hold_up_the_stop() -> None:
    with running(notice_seconds=0, finish_seconds=8) as process, process.connected() as idle:
        idle.request("GET", "/health/live")
        assert idle.getresponse().read()
        process.stop()
        assert process.ended() == 0


def test_a_taken_address_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = Listen(host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(
            SettingRefused, match=rf"cannot listen on 127\.0\.0\.1:{listen.port}: Address already in use"
        ):
            serve(Chassis(Starlette(), name="x", openapi={}), listen, limits=Limits())


def said(process: Process, *pieces: bytes) -> bytes:
    """Return all that comes back until the service closes the connection."""
    with socket.create_connection(("127.0.0.1", process.port), timeout=10) as raw:
        for piece in pieces:
            raw.sendall(piece)
        return b"".join(iter(lambda: raw.recv(65_536), b""))


HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
WHOLE = HEAD + b"\r\n"


@pytest.fixture(scope="module")
def strict() -> Iterator[Process]:
    with running(notice_seconds=0, finish_seconds=1) as process:
        yield process


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD, b"X: " + b"a" * 9_000 + b"\r\n\r\n"],
        [HEAD, *[b"X: " + b"a" * 1_000 + b"\r\n"] * 9],
        [HEAD, b"X: " + b"a" * 9_000],
        [b"GET /" + b"a" * 9_000],
    ],
    ids=["at once", "line by line", "a line without end", "a target without end"],
)
def test_a_head_that_is_too_large_is_refused(strict: Process, pieces: list[bytes]) -> None:
    assert said(strict, *pieces).startswith(b"HTTP/1.1 431 ")


def test_a_head_that_does_not_end_is_sent_away(strict: Process) -> None:
    assert said(strict, HEAD).startswith(b"HTTP/1.1 408 ")
    answers = said(strict, WHOLE, HEAD)
    assert re.findall(rb"HTTP/1.1 ([0-9]+) ", answers) == [b"200", b"408"]


def test_a_large_body_and_an_idle_connection_are_no_large_or_slow_heads(strict: Process) -> None:
    with strict.connected() as connection:
        for _ in range(2):
            connection.request("POST", "/release", body=b"a" * 200_000)
            response = connection.getresponse()
            assert (response.status, bool(response.read())) == (405, True)
            began = time.monotonic()
            until(lambda since=began: time.monotonic() - since > 0.7)  # type: ignore[misc]
