"""Clients that write and read through the proxy, and one that has Celery write: a process of its own.

``python -m tests.chaos.cutover.load``, with what it needs as a line of JSON on standard input; it ends when that is
closed. Each client does one thing after the other: it buys, takes back, counts its account up, and reads
what it wrote last.
A line is written before a change is sent and after its answer. What a stack says was not saved is sent again under the
same ref; what nobody knows of is left alone.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import redis.exceptions
from kombu.exceptions import OperationalError

from tests.chaos.cutover import tasks
from tests.chaos.cutover.log import Log

TIMEOUT_S: Final = 15.0
_AGAIN_S: Final = 0.05
_LONGEST_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the load is told: where to, how many clients, and how long each thinks between two requests at most."""

    proxy: str
    clients: int
    think_s: float
    seed: int
    log: str
    requests: str
    broker: str
    tasks_per_s: float


class Requests:
    """The file of all requests: when each began, its kind, how many ms it took, and its status (0: none came)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1 << 16)

    def note(self, began: float, kind: str, ms: float, status: int) -> None:
        self._file.write(f"{began:.4f} {kind} {ms:.2f} {status}\n")

    def close(self) -> None:
        self._file.close()


class Client:
    """One client, with cookies of its own."""

    def __init__(self, number: int, order: Order, log: Log, requests: Requests) -> None:
        self._number, self._order, self._log, self._requests = number, order, log, requests
        self._draw = random.Random(f"{order.seed} {number}")
        self._counter = self._acknowledged = self._value = 0
        self._last: tuple[str, int] | None = None  # ref and value of the purchase that was acknowledged last
        self._wrote_at = ""  # the stack that acknowledged a write last

    async def run(self, over: asyncio.Event) -> None:
        jar = aiohttp.CookieJar(unsafe=True)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(self._order.proxy, cookie_jar=jar, timeout=timeout) as session:
            self._session = session
            while not over.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), self._draw.random() * self._order.think_s)
                await self._draw.choices(
                    (self._buy, self._take_back, self._count, self._read, self._look), (6, 1, 4, 6, 3)
                )[0]()

    # --- writes ---

    async def _buy(self) -> None:
        self._value += 1
        ref, value = str(uuid.UUID(int=self._draw.getrandbits(128), version=4)), self._number * 1_000_000 + self._value
        words = {"ref": ref, "client": self._number, "value": value}
        if await self._write("POST", "/purchases", words, words):
            self._last = (ref, value)

    async def _take_back(self) -> None:
        """Take the purchase back that was acknowledged last."""
        if self._last is None:
            return
        ref, self._last = self._last[0], None
        await self._write("DELETE", f"/purchases/{ref}", None, {"ref": ref, "client": self._number, "back": True})

    async def _count(self) -> None:
        self._counter += 1
        words = {"client": self._number, "counter": self._counter}
        if await self._write("PUT", f"/accounts/{self._number}", {"counter": self._counter}, words):
            self._acknowledged = self._counter

    async def _write(self, method: str, path: str, body: Mapping[str, Any] | None, words: Mapping[str, Any]) -> bool:
        """Send a write until it is known what became of it; return whether it is acknowledged."""
        self._log.tell(what="sent", **words)
        wait = _AGAIN_S
        while True:
            status, answer, stack = await self._ask("write", method, path, json=body)
            if answer.get("saved") is True:
                self._log.tell(what="acknowledged", stack=stack, **words)
                self._wrote_at = stack
                return True
            if status == HTTPStatus.INTERNAL_SERVER_ERROR:
                self._log.tell(what="broken", why=answer.get("why"), **words)
            if answer.get("saved") is not False:
                self._log.tell(what="unknown", status=status, **words)
                return False
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_AGAIN_S)

    # --- reads ---

    async def _read(self) -> None:
        """Read the purchase that was acknowledged last."""
        if self._last is None:
            return
        ref, value = self._last
        status, answer, stack = await self._ask("read", "GET", f"/purchases/{ref}")
        if status == HTTPStatus.OK and answer.get("values") != [value]:
            self._stale(f"purchase {ref} of {value} is {answer.get('values')}", stack)

    async def _look(self) -> None:
        """Read the account."""
        acknowledged = self._acknowledged
        status, answer, stack = await self._ask("read", "GET", f"/accounts/{self._number}")
        if status == HTTPStatus.OK and max(answer.get("values") or [0]) < acknowledged:
            self._stale(f"the account of {self._number} is {answer.get('values')} after {acknowledged}", stack)

    def _stale(self, why: str, stack: str) -> None:
        self._log.tell(what="stale", why=why, stack=stack, wrote_at=self._wrote_at)

    # --- both ---

    async def _ask(self, kind: str, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any], str]:
        """Return status, body and who answered; status 0 where no answer came."""
        began = time.time()
        try:
            async with self._session.request(method, path, **more) as response:
                text = await response.text()
                found = response.status, _body(text), response.headers.get("Stack-Name", "")
        except (aiohttp.ClientError, TimeoutError):
            found = 0, {}, ""
        self._requests.note(began, kind, 1000 * (time.time() - began), found[0])
        if not found[0]:
            await asyncio.sleep(_AGAIN_S)  # a proxy that starts again is not to be run into
        return found


def _body(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def _submit(order: Order, over: asyncio.Event) -> None:
    """Have Celery write now and then. What the broker loses was never acknowledged."""
    celery, draw, value = tasks.producer(order.broker), random.Random(f"{order.seed} tasks"), 0
    loop = asyncio.get_running_loop()
    while not over.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), 1 / order.tasks_per_s)
        value += 1
        words = [str(uuid.UUID(int=draw.getrandbits(128), version=4)), tasks.CLIENT, tasks.CLIENT * 1_000_000 + value]
        with suppress(OperationalError, redis.exceptions.RedisError):
            await loop.run_in_executor(None, lambda words=words: celery.send_task(tasks.BUY, words, retry=False))  # type: ignore[misc]


async def run(order: Order) -> None:
    log, requests, over = Log(Path(order.log)), Requests(Path(order.requests)), asyncio.Event()
    loop = asyncio.get_running_loop()
    told = loop.run_in_executor(None, sys.stdin.read)
    clients = [Client(number, order, log, requests) for number in range(1, order.clients + 1)]
    running = [asyncio.create_task(client.run(over)) for client in clients]
    if order.tasks_per_s:
        running.append(asyncio.create_task(_submit(order, over)))
    broken = asyncio.gather(*running)
    await asyncio.wait([told, broken], return_when=asyncio.FIRST_COMPLETED)
    over.set()
    await broken
    requests.close()


if __name__ == "__main__":
    asyncio.run(run(Order(**json.loads(sys.stdin.readline()))))
