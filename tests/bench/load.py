"""Load from 32 connections: as fast as answers come (wrk), or at a fixed rate (h2load, which writes each time down).

Requests are those of an API's clients (a short head) or of browsers (thirteen headers), for 1,000 paths by 64
visitors, so that nothing is asked for twice in a row and no proxy gains by remembering the last. Only complete
responses of status 200 count.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from strangler.routing.keys import Keys, sign_visitor
from tests.bench.processes import LOAD_CORE

CONNECTIONS: Final = 32
PATHS: Final = 1000
VISITORS: Final = 64
SECRET: Final = "a secret for measurements, which protects nothing"


class LoadFailed(Exception):
    """Something else than a response of status 200 came: what was measured would be worth nothing."""


def missing() -> list[str]:
    """Return the programs that are needed and not installed."""
    return [program for program in ("wrk", "h2load", "taskset") if shutil.which(program) is None]


def cookies() -> list[str]:
    """Return the ``Cookie`` headers of the visitors."""
    keys = Keys.derive(SECRET)
    return [
        f"sessionid=session{number:04}; strangler_visitor={sign_visitor(f'a-visitor-number-{number:05}', keys)}"
        for number in range(VISITORS)
    ]


API: Final = ("Accept: application/json",)
BROWSER: Final = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Connection: keep-alive",
    "Referer: http://shop.example/en/products/",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Priority: u=0, i",
)
_LUA: Final = """
local visitors = {{{visitors}}}
local requests, turn = {{}}, 0
for number = 1, {paths} do
  local path = "/api/area" .. number % 50 .. "/products/" .. number .. "/"
  local cookie = "Cookie: " .. visitors[number % {count} + 1]
  requests[number] = "GET " .. path .. " HTTP/1.1\\r\\nHost: shop.example\\r\\n{headers}" .. cookie .. "\\r\\n\\r\\n"
end
request = function()
  turn = turn % {paths} + 1
  return requests[turn]
end
"""


def rate(port: int, seconds: int, headers: Sequence[str] = API) -> float:
    """Return requests a second over ``seconds``. Raises ``LoadFailed``."""
    lines = "".join(f"{header}\\r\\n" for header in headers)
    visitors = ", ".join(f'"{cookie}"' for cookie in cookies())
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_LUA.format(visitors=visitors, paths=PATHS, headers=lines, count=VISITORS))
        script.flush()
        out = _run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", script.name, _url(port)]
        )
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if found is None or "Non-2xx" in out or "Socket errors" in out:
        raise LoadFailed(out)
    return float(found[1])


def latencies(port: int, requests_a_second: float, seconds: float) -> list[float]:
    """Return the milliseconds that each request took, sorted, at a fixed rate. Raises ``LoadFailed``."""
    each = max(1, round(requests_a_second / CONNECTIONS))
    cookie = cookies()[0]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = ["h2load", "--h1", "-t1", f"-c{CONNECTIONS}", f"--rps={each}", f"-D{seconds:g}", f"--log-file={log}"]
        uris = [f"{_url(port)}{number}/" for number in range(100)]
        _run([*command, "-H", f"Cookie: {cookie}", "-H", "Accept: application/json", *uris])
        lines = [line.split("\t") for line in log.read_text().splitlines()]
    if not lines or any(status != "200" for _, status, _ in lines):
        raise LoadFailed(f"{len(lines)} answers, not all of them 200")
    return sorted(int(microseconds) / 1000 for _, _, microseconds in lines)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api/area7/products/"


def _run(command: Sequence[str]) -> str:
    pinned = ["taskset", "-c", str(LOAD_CORE), *command]
    return subprocess.run(pinned, capture_output=True, text=True, check=True).stdout
