"""What a service manager hears, at a datagram socket as its own is."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from strangler_proxy.notify import Notice
from tests.fixtures.proxy import Origin
from tests.fixtures.takeover import Project
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow


class Ear:
    """A service manager's socket; ``heard`` is what came, a line each."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[str] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind("\0" + address[1:] if address.startswith("@") else address)
        self._sock.setblocking(False)

    def listen(self) -> list[str]:
        while True:
            try:
                self.heard += self._sock.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.heard

    def hears(self, line: str) -> None:
        until(lambda: line in self.listen(), f"{line} is told, not only {self.heard}")

    def close(self) -> None:
        self._sock.close()


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ear]:
    with closing(Ear(f"{tmp_path}/n" if request.param == "path" else f"@strangler-{secrets.token_hex(8)}")) as ear:
        yield ear


def test_every_word(ear: Ear) -> None:
    notice = Notice.of({"NOTIFY_SOCKET": ear.address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())})
    assert notice.watchdog == 30.0
    before = time.monotonic_ns() // 1_000
    notice.ready()
    notice.status("2 of 2 workers serve")
    notice.status("2 of 2 workers serve")
    notice.reloading()
    notice.alive()
    notice.stopping()
    notice.make_way(7)
    notice.ready()  # the successor's word
    heard = ear.listen()
    (at,) = [int(line.partition("=")[2]) for line in heard if line.startswith("MONOTONIC_USEC=")]
    assert before <= at <= time.monotonic_ns() // 1_000
    assert [line for line in heard if not line.startswith("MONOTONIC_USEC=")] == [
        "READY=1",
        "STATUS=2 of 2 workers serve",
        "RELOADING=1",
        "WATCHDOG=1",
        "STOPPING=1",
        "MAINPID=7",
    ]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_for_this_process_hears_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    with closing(Ear(f"{tmp_path}/n")) as ear:
        notice = Notice.of({"NOTIFY_SOCKET": ear.address, **environment})
        notice.alive()
        notice.close()
        assert (notice.watchdog, ear.listen()) == (None, [])


def test_without_a_service_manager_nothing_is_said(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    Notice.of({}).ready()
    assert caplog.text == ""
    gone = Notice.of({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    gone.ready()
    gone.stopping()
    gone.close()
    Notice.of({"NOTIFY_SOCKET": "vsock:2:1234"}).ready()
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("the service manager cannot be told how the proxy is:")
    assert "neither a path nor abstract" in second


def test_a_proxy_from_its_start_to_its_end(project: Project, ear: Ear) -> None:
    environment = {"NOTIFY_SOCKET": ear.address, "WATCHDOG_USEC": "400000"}
    with project.run(takeover=False, env=environment) as proxy:
        ear.hears("READY=1")
        ear.hears("STATUS=2 of 2 workers serve by routing table 0")
        ear.hears("WATCHDOG=1")
        ear.heard.clear()
        project.write(more="server_timing = true\n")
        proxy.process.send_signal(signal.SIGHUP)
        ear.hears("RELOADING=1")
        ear.hears("READY=1")
        assert ear.heard.index("RELOADING=1") < ear.heard.index("READY=1")
        proxy.process.send_signal(signal.SIGTERM)
        ear.hears("STOPPING=1")
        assert proxy.end() == 0


def test_the_watchdog_hears_nothing_while_a_worker_is_silent(project: Project, tmp_path: Path) -> None:
    with (
        closing(Ear(f"{tmp_path}/n")) as ear,
        project.run(takeover=False, env={"NOTIFY_SOCKET": ear.address, "WATCHDOG_USEC": "400000"}) as proxy,
    ):
        ear.hears("STATUS=2 of 2 workers serve by routing table 0")
        ear.heard.clear()  # one of them served first
        ear.hears("WATCHDOG=1")
        worker = psutil.Process(proxy.workers()[0])
        worker.suspend()
        try:
            ear.hears("STATUS=1 of 2 workers serve by routing table 0")
            ear.heard.clear()
            quiet_since = time.monotonic()
            until(lambda: time.monotonic() - quiet_since > 1, "five times its half has gone by")
            assert "WATCHDOG=1" not in ear.listen()
        finally:
            worker.resume()
        ear.hears("WATCHDOG=1")


def test_a_successor_becomes_the_service(project: Project, tmp_path: Path) -> None:
    with closing(Ear(f"{tmp_path}/n")) as ear, project.run(takeover=False, env={"NOTIFY_SOCKET": ear.address}) as first:
        ear.hears("READY=1")
        ear.heard.clear()
        with project.run(env={"NOTIFY_SOCKET": ear.address}) as second:
            ear.hears("READY=1")
            ear.hears(f"MAINPID={second.process.pid}")  # the other's word: neither of them waits for the other's
            assert first.end() == 0
            assert "STOPPING=1" not in ear.listen()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Origin() as origin:
        yield Project(tmp_path, origin.url)
