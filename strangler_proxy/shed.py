"""Turning requests away before a worker serves nobody any more: pure, the caller brings the time and the dice.

A worker whose loop is late has more to do than it can: each request waits for all others, and soon everybody waits
longer than they will. So the least important requests are answered with 503, which costs a twentieth of passing one on:
first reads of people that nobody knows, then reads of those who show a credential, then writes.

What counts is the delay that stands: the least within a second (as CoDel looks at queues, RFC 8289). One long pause
turns nobody away. The pressure rises by a class of requests in a second and falls by one in five seconds, or in fifty
between the delay that is too much and half of it: so it settles where what is let through can be served, and goes away
by itself even where as much as that is usual.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Final

from strangler.project.limits import Shed

_STANDING: Final = 1.0
_RISE: Final = 1.0
_FALL: Final = 0.2
_SLOW_FALL: Final = 0.02
_EASED: Final = 0.5


class Importance(IntEnum):
    """Which requests go first: the lower, the sooner."""

    STRANGER = 0
    KNOWN = 1
    WRITE = 2


_MOST: Final = float(len(Importance))


class Shedding:
    """How much one worker turns away. ``pressure`` is 0 for nothing, and rises by 1 with each class that is, whole."""

    __slots__ = ("_looked_at", "_looks", "_policy", "pressure")

    def __init__(self, policy: Shed) -> None:
        self._policy = policy
        self._looks: deque[tuple[float, float]] = deque()
        self._looked_at: float | None = None
        self.pressure = 0.0

    def __repr__(self) -> str:
        return f"Shedding({self.pressure:.2f} of {_MOST:.0f})"

    def look(self, now: float, late: float, in_flight: int) -> None:
        """Take it that the loop was ``late`` seconds, with so many requests under way."""
        elapsed = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        standing = self._standing(now, late)
        lateness, most = self._policy.lateness, self._policy.in_flight
        eased = lateness == 0 or late <= lateness * _EASED
        if standing > lateness > 0 or (most is not None and in_flight > most):
            self.pressure = min(_MOST, self.pressure + elapsed * _RISE)
        else:
            fall = _FALL if eased and (most is None or in_flight <= most * _EASED) else _SLOW_FALL
            self.pressure = max(0.0, self.pressure - elapsed * fall)

    def _standing(self, now: float, late: float) -> float:
        """Return the least delay of the last second; nothing while there is no second to look at."""
        looks = self._looks
        looks.append((now, late))
        while len(looks) > 1 and looks[1][0] <= now - _STANDING:
            looks.popleft()
        return min(late for _, late in looks) if looks[0][0] <= now - _STANDING else 0.0

    def sheds(self, importance: Importance, dice: float) -> bool:
        """Return whether a request is turned away; ``dice`` lies from 0 to below 1."""
        return dice < self.pressure - importance
