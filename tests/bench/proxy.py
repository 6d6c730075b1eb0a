"""The data plane against a reverse proxy of Starlette and httpx, on one core each, in turns.

The proxy does its whole job: 50 capabilities, each at a share of 50 % with the visitor in a signed cookie, hygiene,
ids, counters, histograms. Its routing table comes from disk, since neither engine is there. The peer only forwards.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from strangler.routing.keys import Keys, sign_visitor
from strangler.routing.table import MONOLITH, RoutingTable, seal
from tests.bench import decide
from tests.bench.load import generator, rate
from tests.bench.row import Row, row
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until

ROUNDS: Final = 5
SECONDS: Final = 3.0
WARM: Final = 1.0
# The proxy has one core for itself; load and origin share the other.
PROXY_CORE: Final = 0
LOAD_CORE: Final = 1
SECRET: Final = "a secret for measurements, which protects nothing"

_SERVE: Final = (
    "import sys\nfrom pathlib import Path\nfrom strangler.project import load\nfrom strangler_proxy.main import serve\n"
    "sys.exit(serve(load(Path(sys.argv[1]))))"
)
_TOML: Final = """
[monolith]
endpoints = ["{origin}"]
database = "$DATABASE"
[control]
database = "$DATABASE"
redis = "$REDIS"
secret = "$SECRET"
[proxy]
listen = ["127.0.0.1:{port}"]
admin = "127.0.0.1:{admin}"
workers = 1
state = "state"
"""


def measure() -> list[Row]:
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(_server(LOAD_CORE, ["-m", "tests.bench.servers", "origin"]))
        ours = stack.enter_context(_ours(f"http://127.0.0.1:{origin}"))
        peer = stack.enter_context(
            _server(PROXY_CORE, ["-m", "tests.bench.servers", "peer"], f"http://127.0.0.1:{origin}")
        )
        return [_row(ours, peer)]


def _row(ours: int, peer: int) -> Row:
    path = "/api/area7/products/17/"
    cookie = f"Cookie: sessionid=abc; strangler_visitor={sign_visitor('a-visitor-of-22-chars-', Keys.derive(SECRET))}"

    def run(port: int, seconds: float) -> float:
        return rate(port, path, ["Accept: application/json", cookie], seconds, LOAD_CORE)

    for port in (ours, peer):
        run(port, WARM)
    rounds = [(run(ours, SECONDS), run(peer, SECONDS)) for _ in range(ROUNDS)]
    return row(f"proxy, 0.5 kB JSON, 32 connections ({generator()})", "requests/s", "Starlette + httpx", 15, rounds)


@contextlib.contextmanager
def _ours(origin: str) -> Iterator[int]:
    folder = Path(tempfile.mkdtemp(prefix="strangler-bench-"))
    try:
        port = free_port()
        (folder / "strangler.toml").write_text(_TOML.format(origin=origin, port=port, admin=free_port()))
        shape = decide.table(50)
        upstreams = {MONOLITH: (origin,), "service": (origin,)}
        table = RoutingTable(version=1, upstreams=upstreams, capabilities=shape.capabilities)
        (folder / "state").mkdir()
        (folder / "state" / "table").write_bytes(seal(table, Keys.derive(SECRET).table))
        nowhere = f"127.0.0.1:{free_port()}"
        env = {"DATABASE": f"postgresql://x@{nowhere}/x", "REDIS": f"redis://{nowhere}/0", "SECRET": SECRET}
        with _process(PROXY_CORE, ["-c", _SERVE, str(folder / "strangler.toml")], port, env):
            yield port
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _server(core: int, command: Sequence[str], *arguments: str) -> Iterator[int]:
    port = free_port()
    with _process(core, [*command, str(port), *arguments], port, {}):
        yield port


@contextlib.contextmanager
def _process(core: int, arguments: Sequence[str], port: int, env: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        preexec_fn=_pin(core),
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: _listens(port) or process.poll() is not None, f"port {port} listens")
        assert process.poll() is None, arguments
        yield
    finally:
        process.terminate()
        process.wait(20)


def _pin(core: int) -> Callable[[], None]:
    cores = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cores[core % len(cores)]})


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
