"""When a stack is not asked at all, and how many requests it is asked at a time: pure, the caller brings the time.

A circuit breaker (M. Nygard, Release It!) stands before each stack. While it is closed it counts; when too much fails
it opens, and requests are refused or answered by somebody else at once, where they would have waited to fail; after
a while it is half open: a few requests try, and by them it closes or opens again. A bulkhead lets so many requests
through at a time, so that what one slow part of the application holds up is bounded.

What speaks against a stack is that nobody answered in time, or that somebody answered in its place (``FAILURES``). A
500 and a 4xx are the application's own answers: it is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

FAILURES: Final = frozenset({502, 503, 504})
"""Statuses that count as failures, as do no connection, a reset and a timeout."""

# The window moves on by a tenth of it: it is never longer than said, and at most two tenths shorter.
_BUCKETS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a breaker opens, and how it closes. Times in seconds.

    It opens when of at least ``requests`` in the last ``window`` the part ``ratio`` failed, or ``consecutive`` in a
    row; it stays so for ``open_time``, then ``trials`` may try at a time, and it closes when as many succeeded. The
    names are this proxy's own: what Envoy calls circuit breakers are its bounds (see ``Bulkhead``).
    """

    window: float = 10.0
    requests: int = 20
    ratio: float = 0.5
    consecutive: int = 10
    open_time: float = 5.0
    trials: int = 3

    def __post_init__(self) -> None:
        if self.window <= 0 or self.open_time <= 0:
            raise ValueError("window and open_time lie above 0")
        if min(self.requests, self.consecutive, self.trials) < 1:
            raise ValueError("requests, consecutive and trials are at least 1")
        if not 0 < self.ratio <= 1:
            raise ValueError("ratio lies above 0 and not above 1")


USUAL: Final = BreakerPolicy()


class Circuit(StrEnum):
    """Whether a stack is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(StrEnum):
    """What may change that."""

    TRIPPED = "tripped"  # too much failed
    COOLED = "cooled"  # open_time is over, and there is a request
    PROVEN = "proven"  # as many trials succeeded as are needed
    DISPROVEN = "disproven"  # a trial failed


TRANSITIONS: Final[Mapping[tuple[Circuit, Event], Circuit]] = MappingProxyType(
    {
        (Circuit.CLOSED, Event.TRIPPED): Circuit.OPEN,
        (Circuit.OPEN, Event.COOLED): Circuit.HALF_OPEN,
        (Circuit.HALF_OPEN, Event.PROVEN): Circuit.CLOSED,
        (Circuit.HALF_OPEN, Event.DISPROVEN): Circuit.OPEN,
    }
)

_CLOSED: Final = Circuit.CLOSED


class Breaker:
    """Counts how the requests of one stack end. ``opened`` tells how often it opened, ``refused`` how many it refused.

    A request counts once, by how it ended after it was repeated, if it was. It carries the ticket that ``admit`` gave
    it; with every transition tickets begin anew, and the end of a request from before counts for nothing. Else a
    thousand requests that hang since before the breaker opened would time out after it closed, and open it again.
    """

    __slots__ = (
        "_bucket_until",
        "_failures",
        "_marks",
        "_policy",
        "_requests",
        "_row",
        "_since",
        "_ticket",
        "_trials",
        "_trials_passed",
        "circuit",
        "opened",
        "refused",
    )

    _since: float  # this circuit
    _trials: int  # under way
    _trials_passed: int
    _row: int  # failures in a row
    _requests: int
    _failures: int
    _bucket_until: float

    def __init__(self, policy: BreakerPolicy = USUAL) -> None:
        self._policy = policy
        self.circuit = Circuit.CLOSED
        self.opened = 0
        self.refused = 0
        self._ticket = 0
        self._marks: deque[tuple[float, int, int]] = deque()
        self._begin(0.0)

    def __repr__(self) -> str:
        requests, failures = self._counted()
        return f"Breaker({self.circuit}, {failures} of {requests} failed, opened={self.opened}, refused={self.refused})"

    def admit(self, now: float) -> int:
        """Return the ticket of a request that may go to the stack, 0 for one that may not."""
        if self.circuit is _CLOSED:
            return self._ticket
        return self._admit_trial(now)

    def succeeded(self, ticket: int, now: float) -> None:
        """Note that the application answered. Measured on a closed breaker: 0.07 us."""
        if ticket != self._ticket:
            return
        if self.circuit is not _CLOSED:
            self._trial_passed(now)
            return
        if now >= self._bucket_until:
            self._slide(now)
        self._requests += 1
        self._row = 0

    def failed(self, ticket: int, now: float) -> bool:
        """Note that nobody answered, or somebody in the application's place; return whether that opens the breaker."""
        if ticket != self._ticket:
            return False
        if self.circuit is not _CLOSED:
            self._turn(Event.DISPROVEN, now)
            return True
        if now >= self._bucket_until:
            self._slide(now)
        self._requests += 1
        self._failures += 1
        self._row += 1
        if not self._too_much():
            return False
        self._turn(Event.TRIPPED, now)
        return True

    def abandoned(self, ticket: int) -> None:
        """Note that a request ended without a word on the stack: its client left, or it was never sent."""
        if ticket == self._ticket:
            self._trials = max(0, self._trials - 1)

    def wait(self, now: float) -> float:
        """Return in how many seconds the next request may try, if none ends before: what to say as Retry-After."""
        if self.circuit is _CLOSED:
            return 0.0
        return max(0.0, self._since + self._policy.open_time - now)

    # --- half open ---

    def _admit_trial(self, now: float) -> int:
        over = now >= self._since + self._policy.open_time
        if over and self.circuit is Circuit.OPEN:
            self._turn(Event.COOLED, now)
        elif over:  # trials that have not ended in all this time hold nobody up
            self._since = now
            self._trials = 0
        elif self.circuit is Circuit.OPEN or self._trials + self._trials_passed >= self._policy.trials:
            self.refused += 1
            return 0
        self._trials += 1
        return self._ticket

    def _trial_passed(self, now: float) -> None:
        self._trials = max(0, self._trials - 1)
        self._trials_passed += 1
        if self._trials_passed >= self._policy.trials:
            self._turn(Event.PROVEN, now)

    def _turn(self, event: Event, now: float) -> None:
        self.circuit = TRANSITIONS[self.circuit, event]
        self.opened += self.circuit is Circuit.OPEN
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._ticket += 1
        self._since = now
        self._trials = 0
        self._trials_passed = 0
        self._row = 0
        self._requests = 0
        self._failures = 0
        self._bucket_until = 0.0
        self._marks.clear()

    # --- the sliding window: the counters only rise, and a mark holds what they were when a bucket began ---

    def _slide(self, now: float) -> None:
        policy, marks = self._policy, self._marks
        bucket = policy.window / _BUCKETS
        marks.append((now, self._requests, self._failures))
        while marks[0][0] + policy.window < now + bucket:
            marks.popleft()
        self._bucket_until = now + bucket

    def _counted(self) -> tuple[int, int]:
        _, requests, failures = self._marks[0] if self._marks else (0.0, 0, 0)
        return self._requests - requests, self._failures - failures

    def _too_much(self) -> bool:
        policy = self._policy
        requests, failures = self._counted()
        return self._row >= policy.consecutive or (requests >= policy.requests and failures >= policy.ratio * requests)


class Bulkhead:
    """Lets at most ``most`` requests through at a time: those of a capability, or Envoy's max_requests of a stack.

    ``most`` may change at any time; who is through stays so.
    """

    __slots__ = ("in_flight", "most", "refused")

    def __init__(self, most: int) -> None:
        self.most = most
        self.in_flight = 0
        self.refused = 0

    def __repr__(self) -> str:
        return f"Bulkhead({self.in_flight} of {self.most}, refused={self.refused})"

    def enter(self) -> bool:
        """Let a request through, or return False. Whoever came through says ``leave`` once."""
        if self.in_flight >= self.most:
            self.refused += 1
            return False
        self.in_flight += 1
        return True

    def leave(self) -> None:
        self.in_flight -= 1
