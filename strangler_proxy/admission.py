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

    def admit(self, exchange: Exchange) -> bool:
        """Let ``exchange`` go on, or see to its end."""
        return self._pays(exchange)

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


def _too_often(answer: Answer, lines: bytes) -> Refusal:
    seconds = ceil(answer.wait / SECOND)
    detail = f"You ask too often; ask again in {seconds} second{'s' * (seconds > 1)}."
    return Refusal(reason="rate", status=429, detail=detail, retry_after=seconds, lines=lines)
