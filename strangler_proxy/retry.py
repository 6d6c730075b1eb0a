"""Whether a request that failed is sent once more, and when: pure, the caller brings chance and the counts.

Two kinds are: one of which nothing was sent, whatever it is, for nobody can have acted on it; and a read without a body
that was lost before anything came back. What a stack answered is its answer, also when it says 503: an application
that asks for patience does not get the same again. What timed out is not repeated either: its client has waited long
enough, and who was slow would have it twice.

A retry costs little while few requests fail and ruins what is left when all do. So those of the second kind keep
within a budget (Envoy's retry_budget) and begin after a pause of random length (M. Brooker, Exponential Backoff And
Jitter, 2015): what failed together does not come again together. Of the first kind nobody has had any work yet; they
go to another endpoint at once, and pause only where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST: Final = 2
"""Retries of one request."""

_BASE: Final = 0.025  # Envoy's base_interval
_LONGEST: Final = 0.25  # Envoy's max_interval: ten times that


class Verdict(StrEnum):
    """Whether a request is sent once more, in a word for metrics."""

    UNSENT = "unsent"  # yes: nothing of it was sent
    REPEATABLE = "repeatable"  # yes: twice is the same as once
    ANSWERED = "answered"
    TIMED_OUT = "timed_out"
    WRITE = "write"
    UNREPEATABLE = "unrepeatable"
    EXHAUSTED = "exhausted"  # it was repeated often enough
    OVER_BUDGET = "over_budget"

    @property
    def again(self) -> bool:
        return self in _AGAIN


_AGAIN: Final = frozenset({Verdict.UNSENT, Verdict.REPEATABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How far a request came before it failed.

    ``repeatable`` says that its method is safe and that it has no body (RFC 9110 section 9.2.2 would allow more: a
    second DELETE answers 404 to whom the first one served). ``write`` is what the routing says of it, a GET included.
    """

    sent: bool  # any byte, to the stack
    heard: bool  # any byte, from the stack
    repeatable: bool
    write: bool
    timed_out: bool = False  # while it waited for an answer
    retries: int = 0  # before this attempt


def may_retry(attempt: Attempt, *, room: bool) -> Verdict:
    """Return whether the request of ``attempt`` is sent once more; ``room`` says that the budget has some left.

    Who was never sent anything is not burdened twice, and needs no room.
    """
    if attempt.heard:
        return Verdict.ANSWERED
    if attempt.sent and attempt.timed_out:
        return Verdict.TIMED_OUT
    if attempt.sent and attempt.write:
        return Verdict.WRITE
    if attempt.sent and not attempt.repeatable:
        return Verdict.UNREPEATABLE
    if attempt.retries >= MOST:
        return Verdict.EXHAUSTED
    if not attempt.sent:
        return Verdict.UNSENT
    return Verdict.REPEATABLE if room else Verdict.OVER_BUDGET


def backoff(retry: int, draw: float) -> float:
    """Return how many seconds to wait before the ``retry``-th retry, counted from 1; ``draw`` lies in [0, 1).

    As Envoy does: anything up to (2 ** retry - 1) times the base.
    """
    return draw * min(_BASE * (2.0**retry - 1), _LONGEST)


class RetryBudget:
    """Counts the retries under way of one stack: at most a part of its active requests, and always a few.

    ``budget_percent`` and ``min_retry_concurrency`` are Envoy's, with its defaults.
    """

    __slots__ = ("_budget_percent", "_min_retry_concurrency", "in_flight")

    def __init__(self, *, budget_percent: float = 20.0, min_retry_concurrency: int = 3) -> None:
        if not 0 <= budget_percent <= 100 or min_retry_concurrency < 0:
            raise ValueError(f"no budget has {budget_percent} % and at least {min_retry_concurrency} retries")
        self._budget_percent = budget_percent
        self._min_retry_concurrency = min_retry_concurrency
        self.in_flight = 0

    def __repr__(self) -> str:
        return f"RetryBudget(in_flight={self.in_flight})"

    def room(self, active: int) -> bool:
        """Return whether one more retry keeps within the budget of ``active`` requests, retries included."""
        return self.in_flight < max(self._min_retry_concurrency, int(self._budget_percent * active / 100))

    def begin(self) -> None:
        """Note that a repeatable request is sent once more."""
        self.in_flight += 1

    def end(self) -> None:
        """Note that it has ended, or failed again."""
        self.in_flight -= 1
