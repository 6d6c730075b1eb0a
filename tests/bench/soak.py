"""One worker's memory over many requests and connections: ``make soak``.

A million requests on kept connections, and a hundred thousand connections with one request each, go through one worker
over the loopback interface. Paths, cookies and headers differ from request to request, so that whatever is remembered
is remembered as much as it ever will be. Memory is read when that is so, and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, cast

import psutil
import uvloop

from strangler.capability import Stage, State
from strangler.routing.table import Capability, Route, seal
from strangler_proxy.settings import PIPE, Entry, Links, Settings
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import SECRET, ProxyProcess, routing_table
from tests.fixtures.waiting import until

_CLIENTS: Final = 32
# Until what may be remembered is: 4,096 paths, lines and spellings are the most of each.
_WARM_REQUESTS: Final = 30_000
_WARM_CONNECTIONS: Final = 2_000
_PATIENCE: Final = 600.0
_RUN: Final = (
    "import json\nfrom strangler_proxy import main\nfrom strangler_proxy.settings import Settings\n"
    "sys.exit(main._run(Settings.from_json(json.loads(sys.argv[1])), '127.0.0.1:0', 1))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """What came of it; memory in bytes, times in seconds."""

    requests: int
    connections: int
    failed: int
    seconds: float
    warm: int
    end: int

    @property
    def growth(self) -> int:
        return self.end - self.warm

    def __str__(self) -> str:
        mb = 1 << 20
        return (
            f"{self.requests:,} requests and {self.connections:,} connections in {self.seconds:.0f} s, "
            f"{self.failed} failed; resident {self.warm / mb:.1f} MB when warm, {self.end / mb:.1f} MB at the end: "
            f"{self.growth / mb:+.2f} MB"
        )


@dataclass(slots=True)
class _Left:
    """What is still to be asked. ``asked`` numbers the requests, so that none is like another."""

    count: int
    asked: int
    failed: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def next(self, close: bool) -> bytes | None:
        if self.count == 0:
            return None
        self.count -= 1
        self.asked += 1
        number = self.asked
        kind = ("catalog", "reviews", "pages")[number % 3]
        last = "Connection: close" if close else "Accept: */*"
        return (
            f"GET /api/{kind}/{number}?page={number % 7} HTTP/1.1\r\nHost: shop.test\r\n"
            f"X-Odd-{number % 5000}: {number}\r\nCookie: sessionid={number}; seen={number % 11}\r\n{last}\r\n\r\n"
        ).encode()


class _Client(asyncio.Protocol):
    """Asks one request after the other, or on ``close`` one only."""

    def __init__(self, left: _Left, over: asyncio.Future[None], *, close: bool) -> None:
        self._left, self._over, self._close = left, over, close
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        request = self._left.next(self._close)
        self._came = b""
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._came += data
        if not self._came.endswith(b'x"}'):
            return
        self._left.failed += not self._came.startswith(b"HTTP/1.1 200 ")
        if self._close:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over.done():
            self._over.set_result(None)


async def _ask(port: int, left: _Left, *, close: bool) -> None:
    loop = asyncio.get_running_loop()

    async def visit() -> None:
        while left.count:
            over: asyncio.Future[None] = loop.create_future()
            try:
                await loop.create_connection(lambda: _Client(left, over, close=close), "127.0.0.1", port)  # noqa: B023
            except OSError:
                left.failed += 1
                left.count -= 1
                continue
            await over

    async with asyncio.timeout(_PATIENCE):
        await asyncio.gather(*(visit() for _ in range(_CLIENTS)))


@contextmanager
def _origin() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.servers", "origin", str(port)])
    try:
        until(lambda: any(each.laddr.port == port for each in psutil.Process(process.pid).net_connections("tcp")), "up")
        yield port
    finally:
        process.terminate()
        process.wait()


def _settings(origin: str) -> Settings:
    """Two capabilities at half of the readers, signed cookies, an access log: what a shop has."""
    capabilities = [
        Capability(
            name=name,
            service=name,
            routes=(Route(path=f"/api/{name}"),),
            state=State(stage=Stage.CANARY, share=5_000),
        )
        for name in ("catalog", "reviews")
    ]
    table = routing_table(origin, capabilities, catalog=origin, reviews=origin)
    return Settings(
        worker="",
        table=seal(table, PIPE).decode(),
        access_log="/dev/null",
        entry=Entry(addresses=("127.0.0.1:0",)),
        links=Links(secret=SECRET),
    )


def soak(requests: int, connections: int) -> Soaked:
    """Send so many requests on kept connections, then so many connections, through one worker."""
    with _origin() as origin:
        settings = _settings(f"http://127.0.0.1:{origin}")
        with ProxyProcess(_RUN, json.dumps(settings.to_json())) as proxy:
            worker = psutil.Process(proxy.workers()[0])
            asked, failed = 0, 0

            def send(count: int, *, close: bool) -> None:
                nonlocal asked, failed
                left = _Left(count, asked)
                uvloop.run(_ask(proxy.port, left, close=close))
                asked, failed = left.asked, failed + left.failed

            send(_WARM_REQUESTS, close=False)
            send(_WARM_CONNECTIONS, close=True)
            warm, began = _memory(worker), time.monotonic()
            send(requests, close=False)
            send(connections, close=True)
            seconds = time.monotonic() - began
            until(lambda: proxy.metric("strangler_proxy_connections")[""] == 0, "all have left")
            assert [worker.pid] == proxy.workers()
            end = _memory(worker)
    return Soaked(requests=requests, connections=connections, failed=failed, seconds=seconds, warm=warm, end=end)


def _memory(worker: psutil.Process) -> int:
    memory: int = worker.memory_info().rss
    return memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=100_000)
    asked = parser.parse_args()
    found = soak(asked.requests, asked.connections)
    print(found)
    return 0 if not found.failed and found.growth < 4 << 20 else 1


if __name__ == "__main__":
    sys.exit(main())
