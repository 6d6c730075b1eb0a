"""Which of a stack's endpoints to ask: pure, the caller brings the time (seconds that never go back).

Three witnesses speak of an endpoint, and each has a say of its own:

- a refusal to connect: nobody is there. It is skipped at once, for a pause that doubles with each refusal in a row,
  so that a dead one costs few requests a moment and a restarted one is found within seconds;
- answers in the stack's place (502, 503, 504, a reset, a timeout): several in a row and it is ejected, each time for
  longer (Envoy's outlier detection). A 500 is the application's own answer, which every endpoint would give;
- probes (Envoy's health checking): some failed in a row and it is out until some passed in a row.

Whoever returns is asked little at first, and all of its part after ``slow_start_window``: caches are cold, workers are
still starting. When all are skipped, all are asked: a wrong verdict must not turn a working stack away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final, Protocol, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPolicy:
    """When an endpoint is skipped, and how it returns. Envoy's names and defaults; times in seconds."""

    consecutive_gateway_failure: int = 5
    base_ejection_time: float = 30.0
    max_ejection_time: float = 300.0
    max_ejection_percent: int = 50  # Envoy says 10, and ejects one of two all the same; here half must stay
    unhealthy_threshold: int = 3
    healthy_threshold: int = 2
    slow_start_window: float = 10.0
    min_weight: float = 0.1  # Envoy's min_weight_percent
    refused_first: float = 0.25
    refused_longest: float = 8.0

    def __post_init__(self) -> None:
        if min(self.consecutive_gateway_failure, self.unhealthy_threshold, self.healthy_threshold) < 1:
            raise ValueError("a threshold is at least 1")
        if not 0 < self.base_ejection_time <= self.max_ejection_time:
            raise ValueError("base_ejection_time lies above 0, and max_ejection_time not below it")
        if not 0 < self.refused_first <= self.refused_longest:
            raise ValueError("refused_first lies above 0, and refused_longest not below it")
        if not 0 <= self.max_ejection_percent <= 100:
            raise ValueError("max_ejection_percent lies between 0 and 100")
        if self.slow_start_window <= 0 or not 0 < self.min_weight <= 1:
            raise ValueError("slow_start_window lies above 0, and min_weight above 0 and not above 1")


USUAL: Final = HealthPolicy()


class Condition(StrEnum):
    """What is to be said of an endpoint: the first that applies."""

    DRAINING = "draining"  # it has left; what it still does is let end
    UNHEALTHY = "unhealthy"  # by its probes
    EJECTED = "ejected"  # by its answers
    REFUSING = "refusing"  # by its connections
    RETURNING = "returning"
    WHOLE = "whole"


class Health:
    """What is known of one endpoint. It is skipped until ``skipped_until``, and whole again from ``whole_at`` on."""

    __slots__ = (
        "_ejected_until",
        "_paused_until",
        "_policy",
        "_probes",
        "draining",
        "ejections",
        "failures",
        "refusals",
        "skipped_until",
        "unhealthy",
        "whole_at",
    )

    def __init__(self, policy: HealthPolicy = USUAL) -> None:
        self._policy = policy
        self._paused_until = 0.0
        self._ejected_until = 0.0
        self._probes = 0  # in a row, that contradict the verdict
        self.draining = False
        self.unhealthy = False
        self.ejections = 0
        self.failures = 0
        self.refusals = 0
        self.skipped_until = 0.0
        self.whole_at = 0.0

    def __repr__(self) -> str:
        marks = "".join(f", {name}" for name in ("draining", "unhealthy") if getattr(self, name))
        return (
            f"Health(refusals={self.refusals}, failures={self.failures}, ejections={self.ejections}, "
            f"skipped_until={self.skipped_until:.3f}{marks})"
        )

    def condition(self, now: float) -> Condition:
        """Return what is to be said of the endpoint at ``now``."""
        if self.draining:
            return Condition.DRAINING
        if self.unhealthy:
            return Condition.UNHEALTHY
        if self._ejected_until > now:
            return Condition.EJECTED
        if self._paused_until > now:
            return Condition.REFUSING
        return Condition.RETURNING if self.whole_at > now else Condition.WHOLE

    def weight(self, now: float) -> float:
        """Return the part of its usual requests that it is asked now that it is back: it rises to 1 by time."""
        policy = self._policy
        return min(1.0, max(policy.min_weight, 1.0 - (self.whole_at - now) / policy.slow_start_window))

    def refused(self, now: float) -> None:
        """Note that a connection was not made."""
        policy = self._policy
        self._paused_until = now + min(policy.refused_first * 2.0**self.refusals, policy.refused_longest)
        self.refusals = min(self.refusals + 1, 16)
        self._skip()

    def connected(self) -> None:
        """Note that a connection was made."""
        if self.refusals:
            self.refusals = 0
            self._paused_until = 0.0
            self.skipped_until = self._skipped()  # the slow start goes on from when the pause would have ended

    def succeeded(self) -> None:
        """Note an answer of the application, whatever its status."""
        self.failures = 0

    def failed(self, now: float, among: Sequence[Choice]) -> bool:
        """Note an answer in the application's place, or none; return whether that ejects the endpoint.

        ``among`` are the stack's endpoints, itself included: at most ``max_ejection_percent`` of them are skipped.
        """
        if self.skipped_until > now:  # asked before, or because all are skipped
            return False
        self.failures += 1
        if self.failures < self._policy.consecutive_gateway_failure or not self._may_go(now, among):
            return False
        self._eject(now)
        return True

    def probed(self, passed: bool, now: float) -> bool:
        """Note the result of a probe; return whether it changes the verdict."""
        if passed is not self.unhealthy:
            self._probes = 0
            return False
        self._probes += 1
        policy = self._policy
        if self._probes < (policy.healthy_threshold if passed else policy.unhealthy_threshold):
            return False
        self._probes = 0
        self.unhealthy = not passed
        self._skip(now)
        return True

    def leave(self) -> None:
        """Ask no more: its address is no longer the stack's."""
        self.draining = True
        self._skip()

    def join(self, now: float) -> None:
        """Begin to ask slowly: its address has become the stack's."""
        self.draining = False
        self._skip(now)

    def _may_go(self, now: float, among: Sequence[Choice]) -> bool:
        gone = sum(each.health.skipped_until > now for each in among)
        return (gone + 1) * 100 <= self._policy.max_ejection_percent * len(among)

    def _eject(self, now: float) -> None:
        policy = self._policy
        calm = int((now - self._ejected_until) / policy.base_ejection_time)  # each such time without one forgives one
        self.ejections = max(0, self.ejections - calm) + 1
        self.failures = 0
        self._ejected_until = now + min(policy.base_ejection_time * self.ejections, policy.max_ejection_time)
        self._skip()

    def _skip(self, now: float = 0.0) -> None:
        self.skipped_until = self._skipped()
        self.whole_at = max(self.skipped_until, now) + self._policy.slow_start_window

    def _skipped(self) -> float:
        return inf if self.draining or self.unhealthy else max(self._paused_until, self._ejected_until)


class Choice(Protocol):
    """An endpoint as far as choosing goes; ``pending`` counts its requests without an answer."""

    health: Health
    pending: int


T = TypeVar("T", bound=Choice)

# Multiples of these, modulo 2 ** 16, fill a square evenly (the R2 sequence, M. Roberts 2018): draws for nothing.
_DRAW_SECOND: Final = 49471
_DRAW_WEIGHT: Final = 37345


def choose(endpoints: Sequence[T], turn: int, now: float) -> T:
    """Return the endpoint to ask: of two the one with fewer pending requests, among equals the next by ``turn``.

    The power of two choices (M. Mitzenmacher 2001) is nearly as even as looking at all, and does not send everybody
    to the one that looks idle at the moment. Measured while the two are whole, whatever their
    number: 0.2 us; else 0.5 us for two to eight endpoints, 1 us for sixteen.
    """
    count = len(endpoints)
    if count == 1:
        return endpoints[0]
    one = endpoints[turn % count]
    two = endpoints[(turn + 1 + ((turn * _DRAW_SECOND & 0xFFFF) * (count - 1) >> 16)) % count]
    if one.health.whole_at <= now and two.health.whole_at <= now:
        return one if one.pending <= two.pending else two
    return _choose_with_care(endpoints, turn, now)


def _choose_with_care(endpoints: Sequence[T], turn: int, now: float) -> T:
    able = [each for each in endpoints if each.health.skipped_until <= now]
    able = able or [each for each in endpoints if not each.health.draining] or list(endpoints)
    count = len(able)
    one = able[turn % count]
    if count == 1:
        return one
    two = able[(turn + 1 + ((turn * _DRAW_SECOND & 0xFFFF) * (count - 1) >> 16)) % count]
    if two.pending < one.pending:
        one, two = two, one
    if one.health.whole_at <= now or (turn * _DRAW_WEIGHT & 0xFFFF) < one.health.weight(now) * 0x10000:
        return one
    return two
