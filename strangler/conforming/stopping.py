"""How a service ends when it is asked to: judged by what was seen from SIGTERM on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from strangler.conforming.answer import Answer, Asked, Silence
from strangler.conforming.finding import Finding, failed, passed, untold

# Whoever balances asks about every second; a service that goes on saying "ready" for longer than this means it.
NOTICE_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What ready said, and how many seconds after SIGTERM it was asked."""

    at: float
    came: Asked

    @property
    def away(self) -> bool:
        """Whether nobody sends requests any more to who answers so."""
        return isinstance(self.came, Silence) or self.came.status == 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What was seen: ``flights`` are the requests that were under way to ``target``; ``code`` None never came."""

    target: str
    ready: Sequence[Ready]
    flights: Sequence[Asked]
    code: int | None
    seconds: float
    grace: float


def judge_stop(seen: Stop) -> Iterator[Finding]:
    """Say whether it said so first, lost nothing, and ended well."""
    yield _judge_ready(seen.ready)
    yield _judge_flights(seen)
    rule, asked = "stop.ends", f"SIGTERM, and {seen.grace:g} s"
    if seen.code is None:
        yield failed(rule, asked, "it still runs, and was killed", "end when the requests under way are answered")
    elif seen.code != 0:
        wanted = "end with 0: what was asked for is no failure"
        yield failed(rule, asked, f"exit code {seen.code} after {seen.seconds:.1f} s", wanted)
    else:
        yield passed(rule, asked, f"exit code 0 after {seen.seconds:.1f} s")


def _judge_ready(ready: Sequence[Ready]) -> Finding:
    rule, asked = "stop.ready", "ready, from SIGTERM on"
    first = next((each for each in ready if each.away), None)
    stubborn = [each for each in ready if not each.away and each.at > NOTICE_S]
    if stubborn:
        told = f"{stubborn[-1].came} {stubborn[-1].at:.1f} s after SIGTERM"
        return failed(rule, asked, told, "answer 503 from SIGTERM on, and go on serving for a moment")
    if first is None:
        return untold(rule, asked, "it could not be asked in that time")
    return passed(rule, asked, f"{first.came} after {first.at:.2f} s")


def _judge_flights(seen: Stop) -> Finding:
    rule = "stop.requests"
    asked = f"{len(seen.flights)} x GET {seen.target} under way at SIGTERM"
    whole = [each for each in seen.flights if isinstance(each, Answer) and each.status < 500]
    if not seen.flights:
        return untold(rule, "nothing", "there is no GET to have under way", "document one")
    if len(whole) == len(seen.flights):
        return passed(rule, asked, "all are answered whole")
    lost = next(each for each in seen.flights if each not in whole)
    told = f"{len(seen.flights) - len(whole)} are not answered: {lost}"
    return failed(rule, asked, told, "finish what is under way before the process ends")
