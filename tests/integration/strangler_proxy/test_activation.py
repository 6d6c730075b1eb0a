"""Listening sockets that the service manager holds outlive every proxy."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.proxy import PATIENCE, Origin, ProxyProcess
from tests.fixtures.takeover import Project

pytestmark = pytest.mark.slow

ACTIVATED = (
    "import os\nfrom pathlib import Path\nfrom strangler.project import load\n"
    "handed = [int(each) for each in sys.argv[2].split(',')]\n"
    "for number, each in enumerate(handed): os.dup2(each, 3 + number)\n"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(handed)), LISTEN_FDNAMES='web:admin')\n"
    "sys.exit(serve(load(Path(sys.argv[1]))))"
)


def test_clients_of_a_socket_that_the_system_holds_wait_for_the_next_proxy(project: Project) -> None:
    with socket.create_server(("127.0.0.1", project.port), backlog=64) as held:
        for _ in range(2):
            project.write()
            with socket.create_connection(("127.0.0.1", project.port), PATIENCE) as early:
                early.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                with activated(project, held) as proxy:
                    assert early.recv(15) == b"HTTP/1.1 200 OK"
                    assert proxy.status()["ready"]
                    proxy.process.send_signal(signal.SIGTERM)
                    assert proxy.end() == 0


def test_a_held_socket_stays_the_systems_over_a_takeover(project: Project) -> None:
    with socket.create_server(("127.0.0.1", project.port), backlog=64) as held:
        project.write()
        with activated(project, held) as first, project.run(workers=3) as second:
            assert first.end() == 0
            second.process.send_signal(signal.SIGTERM)
            assert second.end() == 0
        with socket.create_connection(("127.0.0.1", project.port), PATIENCE):
            pass  # nobody is turned away: it waits for the next


def test_a_held_socket_that_nobody_named_is_told(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        project.write()
        with activated(project, other) as proxy:
            assert proxy.end() == 1
            address = f"127.0.0.1:{other.getsockname()[1]}"
            assert proxy.errors == (
                f"strangler proxy: the service manager hands over a socket on {address}; "
                "write it so in [proxy] listen or admin\n"
            )


def test_what_is_no_listening_socket_is_told(project: Project) -> None:
    with socket.socket() as plain:
        project.write()
        with activated(project, plain) as proxy:
            assert proxy.end() == 1
            assert "descriptor 3 (web) of the service manager is no stream socket that listens" in proxy.errors


def activated(project: Project, *held: socket.socket) -> ProxyProcess:
    descriptors = [each.fileno() for each in held]
    handed = ",".join(map(str, descriptors))
    return ProxyProcess(ACTIVATED, str(project.file), handed, env=project.env, descriptors=descriptors)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Origin() as origin:
        yield Project(tmp_path, origin.url)
