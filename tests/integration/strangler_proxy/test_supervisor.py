"""Workers live, die and drain under their supervisor, and clients hardly notice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from strangler.routing.table import seal
from strangler_proxy.settings import PIPE, Entry, Links, Settings
from strangler_proxy.supervisor import Slot, slots
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import (
    PATIENCE,
    SECRET,
    Client,
    Origin,
    ProxyProcess,
    Served,
    Truncated,
    routing_table,
)
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow


def test_serves_an_origin_with_nothing_configured() -> None:
    with Origin() as origin, ProxyProcess.origin(origin.url) as proxy:
        with Client(proxy.port) as client:
            assert client.get("/").body == b"monolith"
        assert json.loads(proxy.ask("/health/live")) == {"status": "live"}
        assert json.loads(proxy.ask("/health/ready")) == {"status": "ready"}
        status = proxy.status()
        assert (status["ready"], status["restarts"], status["valkey"], status["postgres"]) == (True, 0, None, None)
        assert (status["table"]["version"], status["table"]["source"]) == (0, "bootstrap")
        workers = {worker["pid"] for worker in status["workers"]}
        assert len(workers) == 2
        assert {os.getpgid(pid) for pid in workers} == workers, "Ctrl-C at a terminal would reach workers, too"
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.end() == 0
        assert proxy.errors == ""


def test_metrics_are_summed_and_never_go_back() -> None:
    with Origin() as origin, ProxyProcess.origin(origin.url) as proxy:
        for _ in range(40):
            with Client(proxy.port) as client:
                assert client.get("/").status == 200
        labels = '{capability="",method="GET",stack="monolith",status_class="2xx",why="unrouted"}'
        assert proxy.metric("strangler_proxy_requests_total") == {labels: 40}
        series = '{capability="",stack="monolith"}'
        assert proxy.metric("strangler_proxy_request_duration_seconds_count") == {series: 40}
        assert proxy.metric("strangler_proxy_connections_accepted_total") == {"": 40}
        for pid in proxy.workers():
            os.kill(pid, signal.SIGKILL)
        until(lambda: proxy.status()["restarts"] == 2 and proxy.status()["ready"], "both are replaced")
        assert proxy.metric("strangler_proxy_requests_total") == {labels: 40}
        with Client(proxy.port) as client:
            assert client.get("/").status == 200
        assert proxy.metric("strangler_proxy_requests_total") == {labels: 41}
        assert proxy.metric("strangler_proxy_worker_restarts_total") == {"": 2}


def test_clients_of_a_killed_worker_wait_for_its_successor() -> None:
    with Origin() as origin, ProxyProcess.origin(origin.url) as proxy:
        (pid, _) = before = proxy.workers()
        os.kill(pid, signal.SIGKILL)
        for _ in range(20):  # the kernel gives half of them to the place of the dead one
            with Client(proxy.port) as client:
                assert client.get("/").status == 200
        until(lambda: proxy.status()["ready"], "it is replaced")
        assert len(set(before) & set(proxy.workers())) == 1


def test_a_drain_finishes_what_is_under_way() -> None:
    go = threading.Event()

    def script(origin: Origin, served: Served) -> None:
        origin.heads.append(served.head())
        assert go.wait(PATIENCE)
        served.answer(b"finished")
        served.exactly(1)

    with Origin(script) as origin, ProxyProcess.origin(origin.url) as proxy:
        with Client(proxy.port) as busy, Client(proxy.port) as idle:
            busy.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: origin.heads, "the request is under way")
            proxy.process.send_signal(signal.SIGTERM)
            until(lambda: not _listens(proxy.port), "the port is closed")
            go.set()
            found = busy.response()
            assert (found.body, found.header("connection")) == (b"finished", "close")
            assert busy.closed()
            assert idle.closed()
        assert proxy.end() == 0


def test_a_drain_under_traffic_fails_no_request() -> None:
    failed: list[str] = []
    answered: list[int] = []
    stop = threading.Event()

    def visit(port: int) -> None:
        while not stop.is_set():
            try:
                client = Client(port)
            except ConnectionRefusedError:
                return  # never accepted: the balancer in front asks another
            with client:
                try:
                    while True:
                        found = client.get("/")
                        answered.append(found.status)
                        if found.header("connection") == "close":
                            break
                except (Truncated, OSError) as exc:
                    failed.append(repr(exc))

    with Origin() as origin, ProxyProcess.origin(origin.url) as proxy:
        visitors = [threading.Thread(target=visit, args=(proxy.port,)) for _ in range(8)]
        for visitor in visitors:
            visitor.start()
        until(lambda: len(answered) > 200, "traffic flows")
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.end() == 0
        stop.set()
        for visitor in visitors:
            visitor.join(PATIENCE)
        assert failed == []
        assert set(answered) == {200}


def test_a_second_signal_ends_at_once() -> None:
    def script(origin: Origin, served: Served) -> None:
        origin.heads.append(served.head())
        served.exactly(1)

    with Origin(script) as origin, ProxyProcess.origin(origin.url) as proxy, Client(proxy.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: origin.heads, "the request is under way")
        proxy.process.send_signal(signal.SIGINT)
        until(lambda: not _listens(proxy.port), "the port is closed")
        proxy.process.send_signal(signal.SIGINT)
        assert proxy.end() == 0
        with pytest.raises(Truncated):
            client.response()


def test_a_worker_that_hangs_does_not_keep_the_proxy_from_ending() -> None:
    with Origin() as origin, ProxyProcess.origin(origin.url) as proxy:
        hanging, other = proxy.workers()
        os.kill(hanging, signal.SIGSTOP)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: not psutil.pid_exists(other), "the other has drained")
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.end() == 0
        assert "does not end, and is killed" in proxy.errors


def test_workers_end_with_their_supervisor() -> None:
    with Origin() as origin, ProxyProcess.origin(origin.url) as proxy:
        workers = [psutil.Process(pid) for pid in proxy.workers()]
        proxy.process.kill()
        _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
        assert alive == []


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with ProxyProcess.origin("http://127.0.0.1:1", listen=address) as proxy:
            assert proxy.end() == 1
            assert proxy.errors == f"strangler proxy: cannot listen on {address}: address already in use\n"


def test_a_port_that_another_proxy_serves_is_taken() -> None:
    with (
        Origin() as origin,
        ProxyProcess.origin(origin.url) as first,
        ProxyProcess.origin(origin.url, listen=f"127.0.0.1:{first.port}") as second,
    ):
        assert second.end() == 1
        assert f"cannot listen on 127.0.0.1:{first.port}" in second.errors


@pytest.mark.parametrize("origin", ["ftp://x", "127.0.0.1:8001", "http://", "http://x/path"])
def test_what_is_no_origin_is_said(origin: str) -> None:
    with ProxyProcess.origin(origin) as proxy:
        assert proxy.end() == 1
        assert proxy.errors == f"strangler proxy: {origin!r} is no origin; http://HOST:PORT is\n"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Configured(ProxyProcess):
    """A proxy with any settings."""

    def __init__(self, settings: Settings, workers: int) -> None:
        code = (
            "import json\nfrom strangler_proxy import main\nfrom strangler_proxy.settings import Settings\n"
            "sys.exit(main._run(Settings.from_json(json.loads(sys.argv[1])), '127.0.0.1:0', int(sys.argv[2])))"
        )
        super().__init__(code, json.dumps(settings.to_json()), str(workers))


def before(origin: Origin, **more: object) -> Settings:
    table = seal(routing_table(origin.url), PIPE).decode()
    return Settings(worker="", table=table, entry=Entry(addresses=("127.0.0.1:0",)), **more)  # type: ignore[arg-type]


def answers(port: int) -> bool:
    """Whether one of a few new connections is served: the kernel gives each to any worker."""
    for _ in range(20):
        with Client(port) as client, suppress(TimeoutError, OSError, Truncated):
            client.sock.settimeout(0.1)
            return client.get("/").status == 200
    return False


def test_a_worker_that_cannot_be_started_again_does_not_end_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    with Origin() as origin, Configured(before(origin, access_log=str(folder / "log")), 2) as proxy:
        one, other = proxy.workers()
        shutil.rmtree(folder)
        os.kill(one, signal.SIGKILL)
        until(lambda: proxy.status()["restarts"] >= 6, "it was tried again more often than at the start", 40)
        assert proxy.process.poll() is None
        assert proxy.workers() == [other]
        assert answers(proxy.port)
        folder.mkdir()
        until(lambda: proxy.status()["ready"], "both serve again")


def test_a_worker_that_hangs_is_not_ready() -> None:
    with Origin() as origin, ProxyProcess.origin(origin.url) as proxy:
        hung, _ = proxy.workers()
        os.kill(hung, signal.SIGSTOP)
        try:
            until(lambda: not proxy.status()["ready"], "somebody notices")
        finally:
            os.kill(hung, signal.SIGCONT)
        until(lambda: proxy.status()["ready"], "it says that it is back")


def test_a_copy_of_the_table_that_cannot_be_read_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    links = Links(secret=SECRET, state=str(tmp_path))
    with Origin() as origin, Configured(before(origin, links=links), 1) as proxy, Client(proxy.port) as client:
        assert client.get("/").status == 200
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.end() == 0
        assert "the routing table on disk cannot be read" in proxy.errors


def test_workers_of_two_proxies_never_have_the_same_name() -> None:
    with Origin() as origin:
        names = [slot.settings.worker for _ in range(2) for slot in made(before(origin))]
    assert len(set(names)) == 4


def made(settings: Settings) -> list[Slot]:
    found = slots(settings, 2)
    for slot in found:
        for place in slot.places:
            place.close()
    return found


def test_descriptors_are_as_many_as_may_be() -> None:
    with Origin() as origin, ProxyProcess.origin(origin.url) as proxy:
        soft, hard = psutil.Process(proxy.workers()[0]).rlimit(psutil.RLIMIT_NOFILE)
        assert soft == hard


def test_the_log_is_opened_anew_when_asked(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with Origin() as origin, Configured(before(origin, access_log=str(log)), 1) as proxy:
        log.rename(tmp_path / "access.log.1")
        proxy.process.send_signal(signal.SIGHUP)
        until(log.exists, "there is another file")


# --- settings that change ---


@dataclass
class Project:
    """A project whose file can be changed while its proxy runs."""

    folder: Path
    origin: Origin
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)

    def write(self, more: str = "", port: int | None = None, secret: str = "$SECRET") -> None:
        (self.folder / "strangler.toml").write_text(
            f'[monolith]\nendpoints = ["{self.origin.url}"]\ndatabase = "$DATABASE"\n'
            f'[control]\ndatabase = "$DATABASE"\nredis = "$REDIS"\nsecret = "{secret}"\n'
            f'[proxy]\nlisten = ["127.0.0.1:{port or self.port}"]\nadmin = "127.0.0.1:{self.admin}"\n{more}'
        )

    def run(self) -> ProxyProcess:
        secrets = {"SECRET": SECRET, "OTHER_SECRET": f"not {SECRET}"}
        env = {"DATABASE": "postgresql://x@127.0.0.1:1/x", "REDIS": "redis://127.0.0.1:1/0", **secrets}
        return ProxyProcess.project(self.folder / "strangler.toml", env)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Origin() as origin:
        yield Project(tmp_path, origin)


def test_settings_that_changed_are_taken_over_and_nobody_is_refused(project: Project) -> None:
    project.write()
    with project.run() as proxy:
        before = proxy.workers()
        project.write("server_timing = true\n")
        proxy.process.send_signal(signal.SIGHUP)
        statuses: list[int] = []

        def taken_over() -> bool:
            with Client(proxy.port) as client:
                statuses.append(client.get("/").status)
                return client.get("/").header("server-timing") is not None and not set(before) & set(proxy.workers())

        until(taken_over, "both workers go by other settings")
        assert set(statuses) == {200}
        assert (proxy.status()["ready"], proxy.status()["restarts"]) == (True, 0)
        until(lambda: not any(map(psutil.pid_exists, before)), "those from before have drained")
        assert proxy.metric("strangler_proxy_requests_total")[UNROUTED] >= len(statuses)


UNROUTED = '{capability="",method="GET",stack="monolith",status_class="2xx",why="unrouted"}'


def refusal(proxy: ProxyProcess) -> str:
    """Return what is said about settings that are not taken over."""
    assert proxy.process.stderr is not None
    return next(line for line in iter(proxy.process.stderr.readline, "") if "the settings in force stay" in line)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("workers = 0\n", "[proxy] workers: found 0; wanted a whole number from 1 to 64"),
        ("workers = 3\n", "another admin address or number of workers wants a restart"),
        ('access_log = "nowhere/log"\n', "a worker does not serve by those in the files"),
    ],
)
def test_settings_that_are_wrong_are_refused_and_those_in_force_stay(
    project: Project, more: str, complaint: str
) -> None:
    project.write()
    with project.run() as proxy:
        before = proxy.workers()
        project.write(more)
        proxy.process.send_signal(signal.SIGHUP)
        assert complaint in refusal(proxy)
        assert proxy.workers() == before
        with Client(proxy.port) as client:
            assert client.get("/").status == 200


def test_a_stop_while_settings_are_taken_over_ends_every_worker(project: Project) -> None:
    project.write()
    with project.run() as proxy:
        supervisor = psutil.Process(proxy.process.pid)
        project.write("server_timing = true\n")
        proxy.process.send_signal(signal.SIGHUP)
        until(lambda: len(supervisor.children()) == 3, "a successor has been started")
        workers = supervisor.children()
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.end() == 0
        assert not any(map(psutil.pid_exists, [worker.pid for worker in workers]))
        assert "killed" not in proxy.errors


def test_a_secret_that_nobody_knew_of_is_refused(project: Project) -> None:
    project.write()
    with project.run() as proxy:
        before = proxy.workers()
        project.write(secret="$OTHER_SECRET")
        proxy.process.send_signal(signal.SIGHUP)
        wanted = "a changed secret wants two steps: its secret was not the second_secret before; have it there first"
        assert wanted in refusal(proxy)
        assert proxy.workers() == before


def test_other_addresses_want_a_restart(project: Project) -> None:
    project.write()
    with project.run() as proxy:
        project.write(port=free_port())
        proxy.process.send_signal(signal.SIGHUP)
        assert "other addresses to listen on want a restart" in refusal(proxy)


def workers_of(proxy: ProxyProcess) -> list[int]:
    return [child.pid for child in psutil.Process(proxy.process.pid).children()]


def test_a_worker_that_dies_while_its_successor_starts_leaves_nobody_behind(project: Project) -> None:
    project.write("workers = 1\n")
    with project.run() as proxy:
        (before,) = workers_of(proxy)
        project.write("workers = 1\nserver_timing = true\n")
        proxy.process.send_signal(signal.SIGHUP)
        until(lambda: len(workers_of(proxy)) == 2, "a successor starts")
        os.kill(before, signal.SIGKILL)
        until(lambda: proxy.workers() == workers_of(proxy) != [before], "one worker is there, and known")
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.end() == 0


KEEPING = """
from strangler_proxy import supervisor
keep = supervisor.Supervisor._keep
async def keeping(self, slot):
    print("keeping", flush=True)
    await keep(self, slot)
supervisor.Supervisor._keep = keeping
sys.exit(serve_origin("http://127.0.0.1:1", ["127.0.0.1:0"], "127.0.0.1:0", 1))
"""


def test_a_proxy_that_is_stopped_while_it_starts_ends() -> None:
    for _ in range(5):
        with ProxyProcess(KEEPING) as proxy:  # returns as its worker is being started
            proxy.process.send_signal(signal.SIGTERM)
            assert proxy.end() == 0
