"""What the requests of a lane must pass before they go anywhere; a lane with nothing of the kind has none of it.

Which those are is settled when a lane is made, so that a proxy which limits nothing asks one question a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from random import randint, random
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from strangler.routing.decide import SAFE, Why
from strangler_proxy.identity import credential_of
from strangler_proxy.rates import SECOND, Answer, Meter, client_of, limit_lines
from strangler_proxy.shed import Importance, Shedding

if TYPE_CHECKING:
    from strangler_proxy.forward import Exchange
    from strangler_proxy.hold import Holds, Parking
    from strangler_proxy.telemetry import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the proxy does not let a request through, and what the client is told."""

    reason: str
    status: int
    detail: str
    retry_after: int
    lines: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What stands before one lane."""

    tally: Tally
    shedding: Shedding | None
    health: frozenset[bytes]
    meters: Sequence[Meter]
    session_cookie: bytes
    holds: Holds
    parking: Parking | None

    def admit(self, exchange: Exchange) -> bool:
        """Let ``exchange`` go on; False when it waits, or is over."""
        if not exchange.admitted:  # what was held is decided anew, and has been here
            if self.shedding is not None and self._is_shed(exchange, self.shedding):
                return False
            if self.meters and not self._pays(exchange):
                return False
            exchange.admitted = True
        return self.parking is None or self._goes(exchange, self.parking)

    def _is_shed(self, exchange: Exchange, shedding: Shedding) -> bool:
        if exchange.head.target in self.health or not shedding.sheds(self._importance(exchange), random()):  # noqa: S311
            return False
        self.tally.refusal("shed", "")
        exchange.refuse(_too_busy())
        return True

    def _importance(self, exchange: Exchange) -> Importance:
        head, decision = exchange.head, exchange.decision
        if decision is None or decision.why is Why.WRITE or (decision.why is Why.UNROUTED and head.method not in SAFE):
            return Importance.WRITE
        known = head.authorization is not None or credential_of(head, self.session_cookie) is not None
        return Importance.KNOWN if known else Importance.STRANGER

    def _goes(self, write: Exchange, parking: Parking) -> bool:
        if not self.holds.closed(parking):
            return True
        outcome = self.holds.park(parking, write, write.waiting)
        if outcome is None:
            write.wait(parking)
        else:
            write.turn_away(outcome)
        return False

    def _pays(self, exchange: Exchange) -> bool:
        """Take the request from all allowances that it falls under, or from none and refuse it."""
        head, now = exchange.head, monotonic_ns()
        answers: list[tuple[Meter, Answer]] = []
        spent: list[tuple[Meter, str, Answer]] = []
        for meter in self.meters:
            if meter.rate.methods and head.method not in meter.rate.methods:
                continue
            client = client_of(meter.rate, head, exchange.facts.client, self.session_cookie)
            answer = meter.ask(client, now)
            answers.append((meter, answer))
            if not answer.allowed:
                self.tally.refusal("rate", meter.name)
                exchange.refuse(_too_often(answer, limit_lines(answers, now)))
                return False
            spent.append((meter, client, answer))
        for meter, client, answer in spent:
            meter.spend(client, answer)
        if answers:
            exchange.add(limit_lines(answers, now))
        return True


_SHED_FOR: Final = 5  # seconds, at most: those who are turned away at once should not come back at once


def _too_busy() -> Refusal:
    detail = "There is more to do than can be done at the moment; ask again."
    return Refusal(reason="shed", status=503, detail=detail, retry_after=randint(1, _SHED_FOR))  # noqa: S311 -- no secret


def turned_away() -> Refusal:
    """Return what is told to those whose write can wait no longer."""
    detail = "Changes of this kind cannot be made for a moment; ask again."
    return Refusal(reason="hold", status=503, detail=detail, retry_after=1)


def read_only() -> Refusal:
    """Return what is told to those whose write is refused until somebody takes that back."""
    detail = "Nothing of this kind can be changed at present, only read; ask again later."
    return Refusal(reason="hold", status=503, detail=detail, retry_after=30)


def _too_often(answer: Answer, lines: bytes) -> Refusal:
    seconds = ceil(answer.wait / SECOND)
    detail = f"You ask too often; ask again in {seconds} second{'s' * (seconds > 1)}."
    return Refusal(reason="rate", status=429, detail=detail, retry_after=seconds, lines=lines)
