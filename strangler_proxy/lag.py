"""How late a worker's loop is: what every request that it has waits, whatever it does.

A timer every tenth of a second looks how much later it came than it was meant to. The longest of the last half minute
to minute is told, so that whoever looks every fifteen seconds misses none. It costs some 15 us a second. Whoever must
act on it hears of each look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_EVERY: Final = 0.1
_REMEMBERED: Final = 30.0


class Lag:
    """The longest delay of the running loop, in seconds; ``heard`` is told each."""

    def __init__(self, heard: Callable[[float], None] | None = None) -> None:
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._now = self._before = 0.0
        self._turn = self._loop.time() + _REMEMBERED
        self._due = 0.0
        self._wait()

    def __repr__(self) -> str:
        return f"Lag({self.longest:.4f} s)"

    @property
    def longest(self) -> float:
        return max(self._now, self._before)

    def stop(self) -> None:
        self._timer.cancel()

    def _wait(self) -> None:
        self._due = self._loop.time() + _EVERY
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        self._now = max(self._now, now - self._due)
        if now >= self._turn:
            self._before, self._now = self._now, 0.0
            self._turn = now + _REMEMBERED
        late = now - self._due
        self._wait()
        if self._heard is not None:
            self._heard(late)
