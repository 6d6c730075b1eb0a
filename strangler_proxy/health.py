"""Which of a stack's endpoints to ask: pure, the caller brings the time.

An endpoint that refuses connections is skipped for a while that doubles with each refusal in a row, from 0.25 s to
8 s, so that a dead one costs few requests a moment and a restarted one is found within seconds. When all are
skipped, all are asked again: a wrong verdict must not turn a working stack away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

_FIRST: Final = 0.25
_LONGEST: Final = 8.0


class Health:
    """What the last attempts to connect tell of one endpoint."""

    __slots__ = ("refusals", "skipped_until")

    def __init__(self) -> None:
        self.refusals = 0
        self.skipped_until = 0.0

    def __repr__(self) -> str:
        return f"Health(refusals={self.refusals}, skipped_until={self.skipped_until:.3f})"

    def refused(self, now: float) -> None:
        """Note that a connection was not made."""
        self.skipped_until = now + min(_FIRST * 2**self.refusals, _LONGEST)
        self.refusals = min(self.refusals + 1, 16)

    def connected(self) -> None:
        """Note that a connection was made."""
        self.refusals = 0
        self.skipped_until = 0.0


class Choice(Protocol):
    """An endpoint as far as choosing goes; ``pending`` counts its requests without an answer."""

    health: Health
    pending: int


T = TypeVar("T", bound=Choice)


def choose(endpoints: Sequence[T], turn: int, now: float) -> T:
    """Return the endpoint with the fewest pending requests; among equals the next by ``turn``."""
    able = [endpoint for endpoint in endpoints if endpoint.health.skipped_until <= now] or endpoints
    start = turn % len(able)
    best = able[start]
    for endpoint in (*able[start:], *able[:start]):
        if endpoint.pending < best.pending:
            best = endpoint
    return best
