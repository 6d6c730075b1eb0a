"""Steady requests of several kinds, and which of them failed when."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field
from typing import Final

# Each kind has a connection of its own, so that a kind whose stack hangs delays no other.
_PAUSE_S: Final = 0.005
_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request: when it began and how long it took, in seconds; ``failure`` None is a 200."""

    kind: str
    at: float
    seconds: float
    failure: str | None


@dataclass(slots=True, kw_only=True)
class Traffic:
    """Requests of ``kinds`` (name to path) to 127.0.0.1:``port``, one after the other for each kind.

    They come from the address ``source``, another of this machine's where others are to be told from them.
    """

    port: int
    kinds: dict[str, str]
    source: str = "127.0.0.1"
    outcomes: list[Outcome] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Traffic:
        for kind, path in self.kinds.items():
            thread = threading.Thread(target=self._drive, args=[kind, path])
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * _TIMEOUT_S)

    def last(self, kind: str) -> Outcome | None:
        return next((outcome for outcome in reversed(self.outcomes) if outcome.kind == kind), None)

    def count(self) -> int:
        return len(self.outcomes)

    def _drive(self, kind: str, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, _TIMEOUT_S, (self.source, 0))
        while not self._stop.wait(_PAUSE_S):
            begun = time.monotonic()
            failure: str | None
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                response.read()
                failure = None if response.status == http.client.OK else f"status {response.status}"
            except (OSError, http.client.HTTPException) as exc:
                failure = type(exc).__name__
                connection.close()
            self.outcomes.append(Outcome(kind=kind, at=begun, seconds=time.monotonic() - begun, failure=failure))
        connection.close()
