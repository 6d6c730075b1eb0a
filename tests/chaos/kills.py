"""One part after the other is killed with SIGKILL under traffic, and its failures are counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psutil

from tests.chaos.traffic import Outcome, Traffic
from tests.fixtures.waiting import until

SETTLED_S: Final = 1.5
# Traffic goes on this long after each kill, also where nothing fails.
OBSERVED_S: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """What a kill did to one kind of request. Seconds count from the kill to the end of the last failure."""

    victim: str
    kind: str
    requests: int
    failures: Counter[str]
    seconds: float
    slowest_ms: float

    @property
    def row(self) -> str:
        what = ", ".join(f"{count} × {failure}" for failure, count in sorted(self.failures.items())) or "–"
        lasted = f"{self.seconds:.1f} s" if self.failures else "–"
        return f"| {self.victim} | {self.kind} | {self.requests} | {what} | {lasted} | {self.slowest_ms:.0f} ms |"


HEADER: Final = "| killed | requests of | sent | failed | for | slowest |\n|---|---|---|---|---|---|"


def kill(victim: str, process: psutil.Process, traffic: Traffic, settled: Callable[[], bool]) -> list[Kill]:
    """Kill ``process``, wait until ``settled`` and every kind of request succeeds again, and count."""
    _quiet(traffic)
    first, at = traffic.count(), time.monotonic()
    process.kill()
    until(lambda: time.monotonic() - at > OBSERVED_S, "it was observed long enough")
    until(settled, f"the family has healed from the death of {victim}", 60)
    until(lambda: _good_since(traffic, at), f"all requests succeed again after the death of {victim}", 60)
    _quiet(traffic)
    seen = traffic.outcomes[first:]
    return [_one(victim, kind, [each for each in seen if each.kind == kind], at) for kind in traffic.kinds]


def _one(victim: str, kind: str, outcomes: list[Outcome], at: float) -> Kill:
    failures = Counter(outcome.failure for outcome in outcomes if outcome.failure)
    ends = [outcome.at + outcome.seconds - at for outcome in outcomes if outcome.failure]
    return Kill(
        victim=victim,
        kind=kind,
        requests=len(outcomes),
        failures=failures,
        seconds=max(ends, default=0.0),
        slowest_ms=max((outcome.seconds for outcome in outcomes), default=0.0) * 1_000,
    )


def _good_since(traffic: Traffic, at: float) -> bool:
    lasts = [traffic.last(kind) for kind in traffic.kinds]
    return all(last is not None and last.failure is None and last.at > at for last in lasts)


def _quiet(traffic: Traffic) -> None:
    """Wait until nothing has failed for a while."""
    until(lambda: _unfailed(traffic), "no request has failed for a while", 60)


def _unfailed(traffic: Traffic) -> bool:
    since = time.monotonic() - SETTLED_S
    recent = [outcome for outcome in traffic.outcomes[-5_000:] if outcome.at > since]
    kinds = {outcome.kind for outcome in recent}
    return kinds == set(traffic.kinds) and not any(outcome.failure for outcome in recent)
