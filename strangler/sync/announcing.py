"""How far each stream is, told to the proxies: by it they know which stack has what a visitor has written.

Whoever applies notes each position when its transaction is committed, and a thread tells the latest through Valkey, no
more often than each 20 ms. An idle stream carries a heartbeat a second, so that there is always something to tell; who
hears of a stream for three seconds nothing knows nothing of it. Nobody waits for Valkey here, and what it does not get
is told again with the next position.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from strangler.capability import Stack
from strangler.project import Project, ProjectInvalid
from strangler.routing.causal import WATERMARKS, Watermarks, seal_watermarks
from strangler.routing.keys import Keys
from strangler.sync.direction import Direction

_LOG: Final = logging.getLogger("strangler.sync")
# A read that was diverted for 20 ms longer than need be does no harm; at a hundred streams these are 50 messages/s.
_PAUSE_S: Final = 0.02
_PATIENCE_S: Final = 1.0


class Announcing:
    """Tells how far the streams of ``project`` are, from ``begin`` to ``end``.

    Where the project names no Valkey, or no secret that signs, there are no proxies to tell.
    """

    def __init__(self, project: Project) -> None:
        self._way: tuple[redis.Redis, Keys] | None = None
        try:
            self._way = _connected(project.control.redis.reveal()), project.control.keys()
        except ProjectInvalid as exc:
            _LOG.warning("no proxy is told how far the streams are: %s", exc)
        self._lock = threading.Lock()
        self._news: dict[tuple[str, Stack], int] = {}
        self._some, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._tell, name="announcing", daemon=True)
        self._away = False

    def __repr__(self) -> str:
        return f"<Announcing{' to nobody' * self._away}>"

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._some.set()
        self._thread.join(2 * _PATIENCE_S)
        if self._way is not None:
            self._way[0].close()

    def note(self, direction: Direction, position: int) -> None:
        """Note that all of ``direction``'s source up to ``position`` is applied and visible."""
        with self._lock:
            self._news[direction.capability, direction.stack] = position
        self._some.set()

    def _tell(self) -> None:
        while not self._over.is_set():
            self._some.wait()
            self._some.clear()
            with self._lock:
                news, self._news = self._news, {}
            if news:
                self._publish(news)
            self._over.wait(_PAUSE_S)

    def _publish(self, news: Watermarks) -> None:
        if self._way is None:
            return
        client, keys = self._way
        try:
            client.publish(WATERMARKS, seal_watermarks(news, keys))
            self._away = False
        except redis.RedisError as exc:
            if not self._away:
                _LOG.warning("Valkey is away, and reads after writes go to the owner meanwhile: %s", exc)
            self._away = True


def _connected(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S, retry=Retry(NoBackoff(), 0)
    )
