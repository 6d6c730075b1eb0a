"""``strangler top`` before proxies that run."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fixtures.ports import free_port
from tests.fixtures.proxy import SECRET, Client, Origin, ProxyProcess
from tests.fixtures.terminal import in_terminal
from tests.fixtures.waiting import until

# Both engines are away: the proxy routes by what its files say.
ENV = {"CONTROL": "postgresql://127.0.0.1:1/none", "REDIS": "redis://127.0.0.1:1", "SECRET": SECRET}
TOML = """
[monolith]
endpoints = ["{monolith}"]
[control]
database = "$CONTROL"
redis = "$REDIS"
secret = "$SECRET"
[proxy]
listen = ["127.0.0.1:{listen}"]
admin = "127.0.0.1:{admin}"
workers = 1
[service.shop]
endpoints = ["{service}"]
"""


def top(*arguments: str) -> subprocess.CompletedProcess[str]:
    return strangler("top", *arguments)


def strangler(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "strangler", *arguments]
    env = {**os.environ, **ENV}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=env)


@contextmanager
def traffic(port: int, *targets: str) -> Iterator[None]:
    """Ask the proxy all the time."""
    over = threading.Event()

    def ask() -> None:
        with Client(port) as client:
            while not over.is_set():
                for target in targets or ("/",):
                    client.get(target)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_one_look_at_a_proxy_under_traffic() -> None:
    with Origin() as origin, ProxyProcess.origin(origin.url) as proxy, traffic(proxy.port):
        found = top("--admin", f"http://127.0.0.1:{proxy.admin}", "--interval", "0.3", "--once", "--json")
    assert found.returncode == 0, found.stderr
    frame = json.loads(found.stdout)
    (state,) = frame["proxies"]
    assert (state["versions"], state["workers"], state["away"]) == ([0], 2, None)
    assert state["connections"] >= 1
    assert state["resident"] > 1_000_000
    assert 0 <= state["lag"] < 5
    (rest,) = frame["capabilities"]
    assert rest["capability"] == ""
    assert rest["monolith"]["rate"] > 10
    assert rest["monolith"]["errors"] == 0
    assert 0 < rest["monolith"]["p50"] <= rest["monolith"]["p99"] < 5
    assert rest["service"] == {"rate": 0.0, "errors": None, "p50": None, "p99": None}
    assert frame["total"]["monolith"] == rest["monolith"]


def test_the_proxy_of_a_project_and_its_capabilities(tmp_path: Path) -> None:
    folder = tmp_path / "migrations" / "wishlist"
    folder.mkdir(parents=True)
    (folder / "capability.toml").write_text('service = "shop"\nborn = "service"\n[[route]]\npath = "/api/wishlist"\n')
    file = tmp_path / "strangler.toml"
    with Origin() as monolith, Origin() as service:
        urls = {"monolith": monolith.url, "service": service.url}
        file.write_text(TOML.format(**urls, listen=free_port(), admin=free_port()))
        with ProxyProcess.project(file, ENV) as proxy, traffic(proxy.port, "/", "/api/wishlist"):
            found = strangler("--project", str(file), "top", "--interval", "0.3", "--once", "--json")
    assert found.returncode == 0, found.stderr
    frame = json.loads(found.stdout)
    assert frame["proxies"][0]["without"] == ["postgres", "valkey"]
    rest, wishlist = frame["capabilities"]
    assert (rest["capability"], rest["stage"], rest["share"]) == ("", None, None)
    assert (wishlist["capability"], wishlist["stage"], wishlist["share"]) == ("wishlist", "service", 1.0)
    assert wishlist["breaker"] == "closed"
    assert rest["monolith"]["rate"] > 5
    assert wishlist["service"]["rate"] > 5
    assert wishlist["monolith"]["rate"] == 0


def test_one_of_two_is_away() -> None:
    gone = free_port()
    with Origin() as origin, ProxyProcess.origin(origin.url) as proxy:
        addresses = (f"127.0.0.1:{proxy.admin}", f"127.0.0.1:{gone}")
        found = top(*(word for each in addresses for word in ("--admin", each)), "--interval", "0.1", "--once")
    assert found.returncode == 0, found.stderr
    first, second, *_ = found.stdout.splitlines()
    assert first.startswith(f"127.0.0.1:{proxy.admin} · table 0 · ")
    assert re.search(r" · 2 workers · \d+ connections? · 0 in flight · \d+ MB$", first)
    assert second == f"127.0.0.1:{gone} away: [Errno 111] Connection refused"


def test_nobody_answers_and_somebody_who_is_no_proxy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, Origin() as origin:
        addresses = (f"127.0.0.1:{silent.getsockname()[1]}", origin.url)
        found = top(*(word for each in addresses for word in ("--admin", each)), "--interval", "0.1", "--once")
    assert found.returncode == 1
    assert "away: no answer in 2 s" in found.stdout
    assert "away: nothing of a proxy's is there" in found.stdout
    assert "no proxy answers" in found.stderr


def test_what_is_no_address_is_said() -> None:
    found = top("--admin", "127.0.0.1:port", "--once")
    assert found.returncode == 2
    assert "'127.0.0.1:port' is no admin port" in found.stderr


def test_a_person_looks_sorts_and_leaves() -> None:
    with (
        Origin() as origin,
        ProxyProcess.origin(origin.url) as proxy,
        traffic(proxy.port),
        in_terminal("top", "--admin", f"127.0.0.1:{proxy.admin}", "--interval", "0.2") as terminal,
    ):
        until(lambda: "capability" in terminal.text(), "a frame is shown")
        terminal.type(b"\x1b[A")  # an arrow means nothing here
        terminal.type(b"r")
        until(lambda: re.search(r"\x1b\[7m\s*requests", terminal.text()), "it sorts by requests")
        terminal.type(b"q")
        assert terminal.end() == 0
        assert "\x1b[?1049l" in terminal.text(), "the screen from before is back"
