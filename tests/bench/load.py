"""Load from 32 connections that each send the next request when the last is answered.

``wrk`` where it is installed, else a generator of our own. Both count only complete responses of status 200.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final, cast

import uvloop

CONNECTIONS: Final = 32


class LoadFailed(Exception):
    """Something else than a response of status 200 came: what was measured would be worth nothing."""


def generator() -> str:
    """Return which generator is used."""
    return "wrk" if shutil.which("wrk") else "tests.bench.load"


def rate(port: int, path: str, headers: Sequence[str], seconds: float, core: int) -> float:
    """Return requests a second over ``seconds``. Raises ``LoadFailed``."""
    if shutil.which("wrk"):
        return _wrk(port, path, headers, seconds, core)
    command = [sys.executable, "-m", "tests.bench.load", str(port), path, str(seconds), *headers]
    out = subprocess.run([*_pinned(core), *command], capture_output=True, text=True, check=True).stdout
    return float(out)


def _wrk(port: int, path: str, headers: Sequence[str], seconds: float, core: int) -> float:
    extra = [part for header in headers for part in ("-H", header)]
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds:g}s",
        "--timeout",
        "10s",
        *extra,
        f"http://127.0.0.1:{port}{path}",
    ]
    out = subprocess.run([*_pinned(core), *command], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if found is None or "Non-2xx" in out or "Socket errors" in out:
        raise LoadFailed(out)
    return float(found[1])


def _pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


class _Visitor(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._left = 0
        self.answered = 0
        self.failed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._left:
            head, _, rest = data.partition(b"\r\n\r\n")
            found = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            if not head.startswith(b"HTTP/1.1 200") or found is None:
                self.failed = True
                return
            self._left = int(found[1])
            data = rest
        self._left -= len(data)
        if self._left == 0:
            self.answered += 1
            self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed = True


async def _visit(port: int, path: str, seconds: float, headers: Sequence[str]) -> float:
    lines = "".join(f"{header}\r\n" for header in headers)
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}\r\n".encode()
    loop = asyncio.get_running_loop()
    visitors = [_Visitor(request) for _ in range(CONNECTIONS)]
    started = time.perf_counter()
    for visitor in visitors:
        await loop.create_connection(lambda visitor=visitor: visitor, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.sleep(seconds)
    took = time.perf_counter() - started
    if any(visitor.failed for visitor in visitors):
        raise LoadFailed("a response was not 200, or a connection ended")
    return sum(visitor.answered for visitor in visitors) / took


if __name__ == "__main__":
    print(uvloop.run(_visit(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4:])))
