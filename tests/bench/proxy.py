"""The data plane against other proxies, on one core each, in turns.

The proxy does its whole job: 50 capabilities, each at a share of 50 % with the visitor in a signed cookie, hygiene,
limits, breaker, ids, counters, histograms, one request of a hundred traced. Its routing table comes from disk, since
neither engine is there. It is compiled, as a wheel for a platform is, and compared with itself as plain Python, too.
The peers only forward, and say who the client is.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from strangler.routing.keys import Keys
from strangler.routing.table import MONOLITH, RoutingTable, seal
from tests.bench import decide
from tests.bench.load import API, BROWSER, SECRET, cookies, latencies, missing, rate
from tests.bench.peers import Peer, available
from tests.bench.processes import LOAD_CORE, PROXY_CORE, process
from tests.bench.row import Row, row, said
from tests.bench.servers import BIG
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until

ROUNDS: Final = int(os.environ.get("ROUNDS", "5"))
SECONDS: Final = int(os.environ.get("SECONDS", "2"))
WARM: Final = 1
IDLE: Final = 10_000
ROOT: Final = Path(__file__).parents[2]
COMPILED: Final = ROOT / "build" / "compiled"  # by make test-compiled or make bench

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
[proxy.tracing]
endpoint = "http://127.0.0.1:{sink}/v1/traces"
sample = 0.01
"""


@dataclass(frozen=True, slots=True)
class Ours:
    """The proxy as it is measured: where it listens, and its worker."""

    port: int
    worker: psutil.Process


def measure() -> list[Row]:
    """Return the rows of the data plane, in the order of what they cost."""
    if not (COMPILED / ".ready").exists():
        raise SystemExit("the proxy is measured compiled; make bench compiles it")
    lacking = missing()
    if lacking:
        raise SystemExit(f"the proxy is measured with {', '.join(lacking)}, which are not installed (Debian packages)")
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(_beside("origin"))
        sink = stack.enter_context(_beside("sink"))
        ours = stack.enter_context(_ours(origin, sink, 50))
        peers = [(peer, stack.enter_context(peer.start(origin))) for peer in available()]
        _check(ours, peers)
        rows = _rates(ours, peers, API, _API)
        plain = stack.enter_context(_ours(origin, sink, 50, ROOT))
        rows.append(_rate_row(ours, "itself as plain Python", plain.port, API, _API))
        rows += _browsers(ours, peers)
        rows += _tails(ours, peers, rows)
        rows += _large(ours, peers)
        rows += _idle(ours)
        many = stack.enter_context(_ours(origin, sink, 5000))
        rows += _routes(many, ours)
    return rows


# --- what is measured ---


def _rates(ours: Ours, peers: Sequence[tuple[Peer, int]], headers: Sequence[str], what: str) -> list[Row]:
    return [_rate_row(ours, peer.name, port, headers, what) for peer, port in peers]


def _rate_row(ours: Ours, peer: str, port: int, headers: Sequence[str], what: str) -> Row:
    for each in (ours.port, port):
        rate(each, WARM, headers)
    rounds = [(rate(ours.port, SECONDS, headers), rate(port, SECONDS, headers)) for _ in range(ROUNDS)]
    return said(row(f"{what} against {peer}", "requests/s", peer, _TARGETS.get(peer, 4), rounds))


# What the issue of speed is: the peers written in Python are beaten by 4, that of Starlette by 50.
_TARGETS: Final = {
    "Starlette + httpx": 50.0,
    "nginx": 0.4,
    "HAProxy": 0.5,
    "Envoy 1.40": 1.6,
    "itself as plain Python": 1.25,
}
_API: Final = "0.5 kB JSON, 32 connections"


def _browsers(ours: Ours, peers: Sequence[tuple[Peer, int]]) -> list[Row]:
    """Heads of thirteen headers, against those written in C and C++."""
    chosen = [(peer, port) for peer, port in peers if not peer.in_python]
    return _rates(ours, chosen, BROWSER, "the same with heads of browsers")


def _tails(ours: Ours, peers: Sequence[tuple[Peer, int]], rates: Sequence[Row]) -> list[Row]:
    """The 99th percentile at half of what each can do, in milliseconds."""
    found = next(((peer, port) for peer, port in peers if peer.name == "HAProxy"), None)
    known = next((each for each in rates if each.peer_name == "HAProxy"), None)
    if found is None or known is None:
        return []
    peer, port = found

    def p99(each: int, most: float) -> float:
        taken = latencies(each, most / 2, SECONDS)
        return taken[int(len(taken) * 0.99)]

    rounds = [(p99(ours.port, known.ours), p99(port, known.peer)) for _ in range(ROUNDS)]
    return [said(row("p99 at half of its own maximum", "ms", peer.name, 2, rounds, at_most=True))]


def _large(ours: Ours, peers: Sequence[tuple[Peer, int]]) -> list[Row]:
    """100 MB down and up, and what the worker grows by meanwhile."""
    found = next((port for peer, port in peers if peer.name == "nginx"), None)
    if found is None:
        return []
    before = ours.worker.memory_info().rss
    rows = []
    for what, move in (("100 MB down", _download), ("100 MB up", _upload)):
        move(ours.port)
        rounds = [(BIG / 1e6 / move(ours.port), BIG / 1e6 / move(found)) for _ in range(ROUNDS)]
        rows.append(said(row(what, "MB/s", "nginx", 0.8, rounds)))
    grown = (ours.worker.memory_info().rss - before) / 1e6
    rows.append(said(row("memory that 100 MB add", "MB", "16 MB", 1, [(max(grown, 0.0), 16.0)], at_most=True)))
    return rows


def _idle(ours: Ours) -> list[Row]:
    """What 10,000 kept connections without a request cost, in kB each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 500:
        print(f"not measured: {IDLE} idle connections need as many descriptors, and there are {hard}", file=sys.stderr)
        return []
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = ours.worker.memory_info().rss
    clients = []
    try:
        for _ in range(IDLE):
            client = socket.create_connection(("127.0.0.1", ours.port))
            client.sendall(b"GET /api/area1/products/1/ HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            clients.append(client)
            client.recv(65536)
        each = (ours.worker.memory_info().rss - before) / 1000 / IDLE
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return [said(row("an idle connection of 10,000", "kB", "12 kB", 1, [(each, 12.0)], at_most=True))]


def _routes(many: Ours, ours: Ours) -> list[Row]:
    rate(many.port, WARM)
    rounds = [(rate(many.port, SECONDS), rate(ours.port, SECONDS)) for _ in range(ROUNDS)]
    return [said(row("5,000 routes", "requests/s", "itself with 50", 0.95, rounds))]


def _download(port: int) -> float:
    """Return the seconds that 100 MB take to come."""
    with _asking(port, b"GET /big HTTP/1.1\r\nHost: shop.example\r\n\r\n") as (client, began):
        left, buffer = BIG, memoryview(bytearray(1 << 20))
        head = client.recv(65536)
        left -= len(head.partition(b"\r\n\r\n")[2])
        while left > 0:
            left -= client.recv_into(buffer)
        return time.perf_counter() - began


def _upload(port: int) -> float:
    """Return the seconds that 100 MB take to be taken."""
    head = b"PUT /big HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n" % BIG
    with _asking(port, head) as (client, began):
        piece = b"x" * 250_000
        for _ in range(BIG // len(piece)):
            client.sendall(piece)
        assert client.recv(65536).startswith(b"HTTP/1.1 204")
        return time.perf_counter() - began


@contextlib.contextmanager
def _asking(port: int, head: bytes) -> Iterator[tuple[socket.socket, float]]:
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        with socket.create_connection(("127.0.0.1", port)) as client:
            began = time.perf_counter()
            client.sendall(head)
            yield client, began
    finally:
        os.sched_setaffinity(0, {PROXY_CORE, LOAD_CORE})


# --- who is measured ---


def _check(ours: Ours, peers: Sequence[tuple[Peer, int]]) -> None:
    """Be sure that all answer the same."""
    bodies = {_body(port) for port in (ours.port, *(port for _, port in peers))}
    assert len(bodies) == 1, "not all proxies pass the same body on"


def _body(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as client:
        head = f"GET /api/area7/products/17/ HTTP/1.1\r\nHost: shop.example\r\nCookie: {cookies()[0]}\r\n\r\n"
        client.sendall(head.encode())
        data = b""
        while not data.endswith((b'"}', b'"}\r\n0\r\n\r\n')):
            data += client.recv(65536)
        return data[data.index(b'{"id"') : data.rindex(b"}") + 1]


@contextlib.contextmanager
def _beside(what: str) -> Iterator[int]:
    port = free_port()
    with process(LOAD_CORE, [sys.executable, "-m", "tests.bench.servers", what, str(port)], port):
        yield port


@contextlib.contextmanager
def _ours(origin: int, sink: int, routes: int, source: Path = COMPILED) -> Iterator[Ours]:
    folder = Path(tempfile.mkdtemp(prefix="strangler-bench-"))
    try:
        port, url = free_port(), f"http://127.0.0.1:{origin}"
        places = {"origin": url, "port": port, "admin": free_port(), "sink": sink}
        (folder / "strangler.toml").write_text(_TOML.format(**places))
        shape = decide.table(routes)
        upstreams = {MONOLITH: (url,), "service": (url,)}
        table = RoutingTable(version=1, upstreams=upstreams, capabilities=shape.capabilities)
        (folder / "state").mkdir()
        (folder / "state" / "table").write_bytes(seal(table, Keys.derive(SECRET).table))
        nowhere = f"127.0.0.1:{free_port()}"
        env = {"DATABASE": f"postgresql://x@{nowhere}/x", "REDIS": f"redis://{nowhere}/0", "SECRET": SECRET}
        env["PYTHONPATH"] = str(source)
        command = [sys.executable, "-P", "-c", _SERVE, str(folder / "strangler.toml")]
        with process(PROXY_CORE, command, port, env) as supervisor:
            yield Ours(port, _worker_of(supervisor.pid))
    finally:
        shutil.rmtree(folder)


def _worker_of(supervisor: int) -> psutil.Process:
    found: Callable[[], list[psutil.Process]] = psutil.Process(supervisor).children
    until(lambda: bool(found()), "there is a worker")
    return found()[0]
