"""What the requests of a lane must pass before they go anywhere; a lane with nothing of the kind has none of it.

Which those are is settled when a lane is made, so that a proxy which limits nothing asks one question a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from time import monotonic_ns
from typing import TYPE_CHECKING

from strangler_proxy.rates import SECOND, Answer, Meter, client_of, limit_lines

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


@dataclass(frozen=True, slots=True)
class Admission:
    """What stands before one lane."""

    tally: Tally
    meters: Sequence[Meter]
    session_cookie: bytes
    holds: Holds
    parking: Parking | None

    def admit(self, exchange: Exchange) -> bool:
        """Let ``exchange`` go on; False when it waits, or is over."""
        return (not self.meters or self._pays(exchange)) and (
            self.parking is None or self._goes(exchange, self.parking)
        )

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
        if exchange.paid:  # it was held, and is decided anew
            return True
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
            exchange.pay(limit_lines(answers, now))
        return True


def turned_away() -> Refusal:
    """Return what is told to those whose write can wait no longer."""
    detail = "Changes of this kind have to wait for a moment, and too many do; ask again."
    return Refusal(reason="hold", status=503, detail=detail, retry_after=1)


def _too_often(answer: Answer, lines: bytes) -> Refusal:
    seconds = ceil(answer.wait / SECOND)
    detail = f"You ask too often; ask again in {seconds} second{'s' * (seconds > 1)}."
    return Refusal(reason="rate", status=429, detail=detail, retry_after=seconds, lines=lines)
