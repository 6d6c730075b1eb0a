"""A whole proxy makes way for another, and clients do not notice."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.fixtures.ports import free_port
from tests.fixtures.proxy import PATIENCE, Client, Origin, ProxyProcess, Truncated
from tests.fixtures.takeover import Project
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def project(tmp_path: Path, origin: Origin) -> Project:
    return Project(tmp_path, origin.url)


@dataclass
class Load:
    """Clients that ask all the time: some on a connection for each request, some on one for as long as it is kept."""

    port: int
    answered: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def once(self) -> None:
        while not self.stop.is_set():
            with self.noting("new"), Client(self.port) as client:
                self.take(client, "Connection: close")

    def again(self, pause: float) -> None:
        while not self.stop.is_set():
            with self.noting("kept"), Client(self.port) as client:
                while not self.stop.is_set() and self.take(client):
                    self.kept += 1
                    self.stop.wait(pause)

    def take(self, client: Client, *headers: str) -> bool:
        found = client.get("/", *headers)
        assert (found.status, found.body) == (200, b"monolith")
        self.answered += 1
        return found.header("connection") != "close"

    @contextmanager
    def noting(self, kind: str) -> Iterator[None]:
        try:
            yield
        except (OSError, Truncated, AssertionError) as exc:
            self.failed.append(f"{kind}: {exc!r}")

    def __enter__(self) -> Load:
        works: list[Callable[[], None]] = [self.once] * 3
        works += [lambda: self.again(0.0), lambda: self.again(0.002), lambda: self.again(0.6), lambda: self.again(1.3)]
        self._threads = [threading.Thread(target=work) for work in works]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Return when nobody asks any more; what is asked after that is answered by nobody."""
        self.stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)


def test_three_restarts_under_traffic_fail_no_request(project: Project) -> None:
    """Fewer workers, more, and as many; an address more and one less."""
    listen, other = project.listen, f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        running = stack.enter_context(project.run(workers=2, takeover=False))
        load = stack.enter_context(Load(project.port))
        for workers, listened in ((1, listen), (3, [*listen, other]), (2, listen)):
            seen = load.answered
            until(lambda seen=seen: load.answered > seen + 300, "traffic flows")  # type: ignore[misc]
            project.listen = listened
            successor = stack.enter_context(project.run(workers=workers))
            assert successor.said.count("127.0.0.1") == len(listened) + 1
            assert running.end() == 0
            assert "has taken over" in running.errors
            status = successor.status()
            assert (status["ready"], len(status["workers"])) == (True, workers)
            running = successor
        seen = load.answered
        until(lambda: load.answered > seen + 300, "traffic flows after the last")
        load.end()
        running.process.send_signal(signal.SIGTERM)
        running.end()
        assert "broken off" not in running.errors
    assert load.failed == []
    assert load.kept > 100


def test_a_kept_connection_that_rests_is_answered_when_it_asks_again(project: Project) -> None:
    with project.run(takeover=False) as first, Client(project.port) as client:
        assert client.get("/").header("connection") is None
        with project.run():
            until(lambda: not _listens_to(project.folder, first), "it has begun to leave")
            threading.Event().wait(1.5)  # longer than a proxy that stops lets connections rest
            last = client.get("/")
            assert (last.status, last.header("connection")) == (200, "close")
            assert client.closed()
            assert first.end() == 0


def _listens_to(folder: Path, proxy: ProxyProcess) -> bool:
    return any(
        each.laddr == str(folder / ".strangler" / "takeover")
        for each in psutil.Process(proxy.process.pid).net_connections("unix")
    )


def test_a_successor_that_does_not_serve_changes_nothing(project: Project) -> None:
    with project.run(takeover=False) as first, Load(project.port) as load:
        before = first.workers()
        with project.run(workers=3, more='access_log = "nowhere/log"\n') as second:
            assert second.end() == 1
            assert "workers end before they serve" in second.errors
        assert first.workers() == before
        assert first.status()["ready"]
        seen = load.answered
        until(lambda: load.answered > seen + 100, "traffic flows")
        with project.run() as third:
            assert first.end() == 0
            assert third.status()["ready"]
            seen = load.answered
            until(lambda: load.answered > seen + 100, "traffic flows")
            load.end()
    assert load.failed == []


def test_a_successor_whose_address_is_taken_changes_nothing(project: Project) -> None:
    with project.run(takeover=False) as first, socket.create_server(("127.0.0.1", 0)) as taken:
        project.listen.append(f"127.0.0.1:{taken.getsockname()[1]}")
        with project.run() as second:
            assert second.end() == 1
            assert f"cannot listen on {project.listen[1]}: address already in use" in second.errors
        assert first.status()["ready"]


def test_a_successor_that_is_killed_changes_nothing(project: Project) -> None:
    with project.run(takeover=False) as first:
        second = project.run(more='access_log = "-"\n')
        parent = psutil.Process(second.process.pid)
        until(lambda: len(parent.children()) == 2, "its workers are there")
        workers = parent.children()
        for worker in workers:
            worker.suspend()
        parent.kill()
        for worker in workers:
            worker.resume()
        psutil.wait_procs(workers, timeout=PATIENCE)
        second.end()
        assert first.status()["ready"]
        with Client(project.port) as client:
            assert client.get("/").status == 200
        with project.run():
            assert first.end() == 0
        assert "it ended before its workers served" in first.errors


def test_nobody_to_take_over_from_is_a_start(project: Project) -> None:
    with project.run() as proxy, Client(proxy.port) as client:
        assert client.get("/").status == 200


def test_a_proxy_that_was_killed_is_no_predecessor(project: Project) -> None:
    with project.run(takeover=False) as first:
        workers = [psutil.Process(pid) for pid in first.workers()]
        first.process.kill()
        psutil.wait_procs(workers, timeout=PATIENCE)
    with project.run() as second:
        assert second.status()["ready"]


def test_only_the_owner_may_ask(project: Project) -> None:
    with project.run(takeover=False):
        assert (project.folder / ".strangler" / "takeover").stat().st_mode & 0o777 == 0o600


def test_what_asks_in_another_way_is_refused(project: Project) -> None:
    with project.run(takeover=False) as first:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(project.folder / ".strangler" / "takeover"))
            client.sendall(b'{"takeover": 2, "pid": 1}\n')
            assert json.loads(client.recv(4096)) == {"refused": "it understands the takeover 1, and no other"}
            assert client.recv(4096) == b""
        with project.run():
            assert first.end() == 0


def test_a_unix_socket_is_handed_over(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    project.listen.append(f"unix:{path}")

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.recv(15)

    with project.run(takeover=False) as first:
        assert ask() == b"HTTP/1.1 200 OK"
        with project.run(workers=3) as second:
            assert first.end() == 0
            assert [ask() for _ in range(20)] == [b"HTTP/1.1 200 OK"] * 20
            second.process.send_signal(signal.SIGTERM)
            assert second.end() == 0
    assert not path.exists()


def test_a_signal_has_the_same_command_take_over(project: Project) -> None:
    with project.run(takeover=False) as first, Load(project.port) as load:
        first.process.send_signal(signal.SIGUSR2)
        until(lambda: first.process.poll() is not None, "it has made way", 20)
        seen = load.answered
        until(lambda: load.answered > seen + 100, "traffic flows")
        load.end()
        with Client(project.admin) as client:
            status = json.loads(client.get("/status", "Connection: close").body)
        successor = psutil.Process(psutil.Process(status["workers"][0]["pid"]).ppid())
        assert "--takeover" in successor.cmdline()
        successor.send_signal(signal.SIGTERM)
        successor.wait(PATIENCE)
    assert load.failed == []
