"""Counting: cheap where it happens, summed and shown elsewhere.

A worker counts in plain dictionaries whose keys are bounded: names of capabilities and stacks out of the routing
table, and closed sets. ``snapshot`` is what travels to the supervisor.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

# Prometheus's own default buckets, with finer ones below where a proxy's answers lie.
BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WRITE: Final = "write"  # strangler.routing.decide.Why.WRITE
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

RequestKey = tuple[str, str, str, str, int]
"""Capability, stack, why, method, status class."""


class Tally:
    """What one worker has counted since it started."""

    __slots__ = (
        "_counts",
        "_latencies",
        "_series",
        "accepted",
        "in_flight",
        "pauses",
        "refused_tables",
        "tunnels",
    )

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str], Series] = {}
        self._latencies: dict[tuple[str, str], Histogram] = {}
        self._counts: dict[tuple[str, ...], int] = {}
        self.refused_tables = 0
        self.accepted = 0
        self.pauses = 0  # in letting clients in
        self.in_flight = 0
        self.tunnels = 0

    def __repr__(self) -> str:
        return f"Tally(requests={sum(self.requests().values())}, in_flight={self.in_flight})"

    def series(self, capability: str, stack: str, why: str) -> Series:
        """Return what counts the requests that were decided alike; the same, whenever it is asked for."""
        key = (capability, stack, why)
        found = self._series.get(key)
        if found is None:
            histogram = self._latencies.setdefault((capability, stack), Histogram())
            found = self._series[key] = Series(histogram)
        return found

    def failure(self, upstream: str, kind: str) -> None:
        """Count a failure of an upstream; ``kind`` is one of a closed set."""
        self._count("failures", upstream, kind)

    def retry(self, upstream: str, verdict: str) -> None:
        """Count a request that failed on its way and was sent once more, by what allowed it."""
        self._count("retries", upstream, verdict)

    def fallback(self, capability: str, verdict: str) -> None:
        """Count a read that a service failed, by whether the monolith answered it."""
        self._count("fallbacks", capability, verdict)

    def refusal(self, reason: str, name: str) -> None:
        """Count a request that was refused to protect the proxy or a stack, by what refused and for whom."""
        self._count("refusals", reason, name)

    def hold(self, capability: str, outcome: str) -> None:
        """Count a write that was held, by how it went on."""
        self._count("holds", capability, outcome)

    def causal_read(self, capability: str, outcome: str) -> None:
        """Count a read whose stack might have lacked what its visitor has written, by how it went on."""
        self._count("causal_reads", capability, outcome)

    def shared_rate(self, outcome: str) -> None:
        """Count a word to Valkey of what clients spent, by what became of it."""
        self._count("shared_rates", outcome)

    def identity(self, outcome: str) -> None:
        """Count a question who a visitor is; ``outcome`` is one of a closed set."""
        self._count("identities", outcome)

    def _count(self, *key: str) -> None:
        self._counts[key] = self._counts.get(key, 0) + 1

    def counted(self, family: str) -> dict[tuple[str, ...], int]:
        """Return what was counted under ``family``, by its labels."""
        return {key[1:]: count for key, count in self._counts.items() if key[0] == family}

    def requests(self) -> dict[RequestKey, int]:
        """Return the requests that were answered."""
        found: dict[RequestKey, int] = {}
        for (capability, stack, why), series in self._series.items():
            for (method, status), count in series.counts.items():
                key = (capability, stack, why, method if method in METHODS else "other", status // 100)
                found[key] = found.get(key, 0) + count
        return found

    def _in_flight_by(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for (capability, _, why), series in self._series.items():
            if why != "refused":  # which is told when it is over, and never begins
                found[capability] = found.get(capability, 0) + series.begun - sum(series.counts.values())
        return found

    def writes(self, capability: str) -> int:
        """Return how many writes of ``capability`` are under way, those that wait included."""
        found = [series for key, series in self._series.items() if key[0] == capability and key[2] == _WRITE]
        return sum(series.begun - sum(series.counts.values()) for series in found)

    def snapshot(self) -> dict[str, Any]:
        """Return everything as JSON values: a list of [*labels, count] for each family."""
        found: dict[str, list[Any]] = {family: [] for family in FAMILIES}
        for (family, *labels), count in self._counts.items():
            found[family].append([*labels, count])
        return {
            **found,
            "requests": [[*key, count] for key, count in self.requests().items()],
            "latencies": [[*key, each.seconds, [*each.buckets]] for key, each in self._latencies.items()],
            "refused_tables": self.refused_tables,
            "accepted": self.accepted,
            "pauses": self.pauses,
            "in_flight": self.in_flight,
            "in_flight_by": [[capability, count] for capability, count in self._in_flight_by().items()],
            "tunnels": self.tunnels,
        }


class Series:
    """Counts requests by method and status. Both are closed sets: methods that are read, statuses of three digits."""

    __slots__ = ("begun", "counts", "histogram")

    def __init__(self, histogram: Histogram) -> None:
        self.begun = 0  # of those that were counted, and those under way
        self.counts: dict[tuple[str, int], int] = {}
        self.histogram = histogram

    def count(self, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered. Measured: 0.4 us."""
        key = (method, status)
        self.counts[key] = self.counts.get(key, 0) + 1
        histogram = self.histogram
        histogram.buckets[bisect_left(BOUNDS, seconds)] += 1
        histogram.seconds += seconds


class Histogram:
    """How many requests ended within each bound, and after how many seconds in all."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0


FAMILIES: Final = (
    "failures",
    "retries",
    "fallbacks",
    "refusals",
    "holds",
    "causal_reads",
    "shared_rates",
    "identities",
)
