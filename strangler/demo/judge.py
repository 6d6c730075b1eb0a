"""What one step of a tour came to: the figures, and everything that did not hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import sqrt
from typing import Any, Final

from strangler.capability import WHOLE, Command, Stack
from strangler.demo.traffic import COHORT_EVERY, Ask, Crowd
from strangler.routing.bucket import bucket
from strangler.routing.keys import Keys, read_visitor

POINT: Final = 0.01
# Standard deviations: a right share is taken for a wrong one in 1 of 2,000 steps.
_DEVIATIONS: Final = 3.5
ENOUGH: Final = 20_000
"""From so many visitors on, a share that is off by more than a point is wrong; fewer cannot tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What work on the data came to, while visitors were there: in ``words``, and as ``figures`` for the report."""

    words: str
    holds: bool
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One step as it is planned: what is commanded, or what is done with the data; how many visitors come.

    ``first`` is done before they come, as what moves them is, ``work`` while they do. ``share`` is in basis points.
    """

    name: str
    command: Command | None = None
    first: Callable[[], Found] | None = None
    work: Callable[[], Found] | None = None
    share: int
    visitors: int
    cohort: bool = False

    @property
    def asked(self) -> float:
        """The part of the visitors that the service is to answer."""
        share = self.share / WHOLE
        return share + (1 - share) / COHORT_EVERY if self.cohort else share

    @property
    def variance(self) -> float:
        """How much chance there is in one visitor; the cohort's members leave it none."""
        share = self.share / WHOLE
        return share * (1 - share) * ((1 - 1 / COHORT_EVERY) if self.cohort else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The figures of one step, as the report has them; shares are fractions of 1, of the distinct visitors."""

    name: str
    asked_share: float
    observed_share: float
    tolerance: float
    requests: int
    visitors: int
    returned: int
    by_stack: Mapping[str, int]
    failures: int
    p50_ms: float
    p99_ms: float
    ack_ms: float
    found: Found | None = None

    @property
    def is_off(self) -> bool:
        return abs(self.observed_share - self.asked_share) > self.tolerance

    @property
    def holds(self) -> bool:
        """Whether no request failed, the share is what was asked, and what was found is as it should be."""
        return not self.failures and not self.is_off and (self.found is None or self.found.holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Knows by its cookie or credential where every visitor belongs."""

    capability: str
    keys: Keys

    def step(
        self, leg: Leg, crowd: Crowd, between: Crowd, answers: Mapping[Ask, Sequence[Stack]], ack_ms: float
    ) -> tuple[Step, list[str]]:
        """Return the figures of ``crowd``, and a sentence for each failure.

        ``between`` came while the routing changed: it may not fail either, but belongs to no share.
        """
        failures = [*between.failures, *crowd.failures, *self._astray(leg, crowd, answers)]
        first = [stacks for ask, stacks in answers.items() if ask.visit == 0]
        milliseconds = sorted([*between.milliseconds, *crowd.milliseconds])
        step = Step(
            name=leg.name,
            asked_share=leg.asked,
            observed_share=round(_part([stacks[-1] for stacks in first]), 4),
            tolerance=tolerance(leg.variance, len(first)),
            requests=between.requests + crowd.requests,
            visitors=len(first),
            returned=sum(ask.visit == 1 for ask in answers),
            by_stack={stack.value: sum(stacks.count(stack) for stacks in answers.values()) for stack in Stack},
            failures=len(failures),
            p50_ms=_quantile(milliseconds, 0.5),
            p99_ms=_quantile(milliseconds, 0.99),
            ack_ms=round(ack_ms, 2),
        )
        return step, failures

    def _astray(self, leg: Leg, crowd: Crowd, answers: Mapping[Ask, Sequence[Stack]]) -> list[str]:
        """Return a sentence for each request that is in no log or in two, or was answered by the wrong stack."""
        found = []
        for ask in crowd.answered:
            stacks = answers.get(ask, ())
            if len(stacks) != 1:
                found.append(f"visitor {ask.visitor} was answered, and stands in {len(stacks)} lines of the logs")
                continue
            belongs = self._belongs(leg, crowd, ask.visitor)
            before = answers.get(Ask(crowd=ask.crowd, visitor=ask.visitor, visit=0), ())
            if ask.visit and list(before) != list(stacks):
                found.append(f"visitor {ask.visitor} came back, and {stacks[0]} answered instead of {before[0]}")
            elif belongs is not None and stacks[0] is not belongs:
                found.append(f"visitor {ask.visitor} belongs to {belongs}, and {stacks[0]} answered")
        return found

    def _belongs(self, leg: Leg, crowd: Crowd, number: int) -> Stack | None:
        """Return the stack that a visitor belongs to; None when it is known by nothing."""
        if crowd.is_member(number):
            return Stack.SERVICE
        if leg.share in (0, WHOLE):
            return Stack.SERVICE if leg.share else Stack.MONOLITH
        visitor = self._visitor(crowd, number)
        if visitor is None:
            return None
        return Stack.SERVICE if bucket(self.capability, visitor) < leg.share else Stack.MONOLITH

    def _visitor(self, crowd: Crowd, number: int) -> str | None:
        credential, token = crowd.credentials.get(number), crowd.tokens.get(number)
        if credential is not None:
            return sha256(credential.encode()).hexdigest()
        return read_visitor(token, self.keys) if token is not None else None


def tolerance(variance: float, visitors: int) -> float:
    """Return how far an observed share may be from the one asked."""
    if visitors >= ENOUGH:
        return POINT
    return round(max(POINT, _DEVIATIONS * sqrt(variance / max(1, visitors))), 4)


def needed(variance: float, visitors: int) -> int:
    """Return how many visitors a step wants: ``visitors``, or more where a point would not be told from chance."""
    if visitors < ENOUGH:
        return visitors
    return max(visitors, round(variance * (_DEVIATIONS / POINT) ** 2))


def plain(steps: Sequence[Step]) -> dict[str, Any]:
    """Return a tour's report as JSON values."""
    return {
        "steps": [_plain(step) for step in steps],
        "requests": sum(step.requests for step in steps),
        "failures": sum(step.failures for step in steps),
    }


def _plain(step: Step) -> dict[str, Any]:
    told = {name: value for name, value in asdict(step).items() if name != "found"}
    if step.found is not None:
        told["found"] = {"holds": step.found.holds, **step.found.figures}
    return told


def _part(stacks: Sequence[Stack]) -> float:
    return stacks.count(Stack.SERVICE) / len(stacks) if stacks else 0.0


def _quantile(ordered: Sequence[float], part: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 2) if ordered else 0.0
