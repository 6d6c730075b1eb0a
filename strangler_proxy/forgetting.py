"""Whom to forget, told to all workers of all proxies through Valkey.

A message is marks between commas. A mark is a keyed hash that only the monolith and the proxies can make (question.py):
one that was made up stands for nobody, one that is sent again makes a worker ask again, and none tells who somebody is.
So a message needs no other proof. While Valkey is away each worker forgets what it sees itself, and after 15 s
everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

_LOG: Final = logging.getLogger("strangler_proxy")

FORGET: Final = "strangler:forget"

_PATIENCE: Final = 2.0
_AGAIN: Final = 0.5
# Whoever waits longer than that many others is forgotten by time.
_MOST_WAITING: Final = 1024
_MARK: Final = 32


class Forgetting:
    """Publishes marks, and calls ``forget`` with those that were published, also its own."""

    def __init__(self, url: str, forget: Callable[[Iterable[bytes]], None]) -> None:
        self._url = url
        self._forget = forget
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._some = asyncio.Event()
        self._away = False
        self._tasks = [asyncio.create_task(self._follow(way)) for way in (self._listen, self._publish)]

    def __repr__(self) -> str:
        return f"<Forgetting waiting={len(self._waiting)}{' alone' * self._away}>"

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    def tell(self, marks: Iterable[bytes]) -> None:
        """Have all workers forget for whom ``marks`` stand."""
        self._waiting.extend(each for each in marks if len(each) == _MARK)
        self._some.set()

    async def _follow(self, way: Callable[[redis.asyncio.Redis], Awaitable[None]]) -> None:
        while True:
            client = redis.asyncio.Redis.from_url(
                self._url,
                socket_connect_timeout=_PATIENCE,
                socket_timeout=_PATIENCE,
                health_check_interval=_PATIENCE,
                retry=Retry(NoBackoff(), 0),
            )
            try:
                await way(client)
            except (RedisError, OSError, TimeoutError) as exc:
                self._lost(exc)
            finally:
                with suppress(RedisError, OSError):
                    await client.aclose()
            await asyncio.sleep(_AGAIN)

    async def _listen(self, client: redis.asyncio.Redis) -> None:
        async with client.pubsub(ignore_subscribe_messages=True) as heard:
            await heard.subscribe(FORGET)
            while True:
                message = await heard.get_message(timeout=_PATIENCE)
                self._away = False
                if message is not None:
                    self._forget(message["data"].split(b",")[:_MOST_WAITING])

    async def _publish(self, client: redis.asyncio.Redis) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            marks = tuple(self._waiting)
            self._waiting.clear()
            try:
                await client.publish(FORGET, b",".join(marks))
            except (RedisError, OSError, TimeoutError):
                self.tell(marks)
                raise

    def _lost(self, exc: Exception) -> None:
        if not self._away:
            self._away = True
            _LOG.warning("Valkey cannot be reached, other workers are not told whom to forget: %s", exc)
