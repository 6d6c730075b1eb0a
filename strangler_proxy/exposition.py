"""The workers' reports as one: summed, never going back when a worker is replaced, in Prometheus's words.

Every metric stands in a table: ``COUNTERS`` and ``LATENCIES``, which are summed over all workers that ever were, and
``GAUGES``, which are of those that live. What a report does not have counts as nothing, so a worker
may know less than its supervisor. Names of capabilities, stacks and upstreams come out of the routing table, all other
labels out of closed sets: nothing that a client says becomes a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from strangler_proxy.gauges import GAUGES, Gauge, Report
from strangler_proxy.telemetry import BOUNDS

PREFIX: Final = "strangler_proxy_"
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Counter:
    """What a tally counts under ``key``: a number, or a list of [*labels, number]."""

    key: str
    name: str
    text: str
    labels: tuple[str, ...] = ()


COUNTERS: Final = (
    Counter(
        "requests",
        "requests",
        "Requests answered, by where they went and why",
        ("capability", "stack", "why", "method", "status_class"),
    ),
    Counter("failures", "upstream_failures", "Failures of an upstream, by kind", ("upstream", "kind")),
    Counter(
        "retries",
        "retries",
        "Requests that failed on their way and were sent once more, by what allowed it",
        ("upstream", "verdict"),
    ),
    Counter(
        "fallbacks",
        "fallbacks",
        "Reads that a service failed, by whether the monolith answered them",
        ("capability", "verdict"),
    ),
    Counter(
        "refusals",
        "refusals",
        "Requests that were not let through, to protect the proxy or a stack, by what held them back and for whom",
        ("reason", "name"),
    ),
    Counter("holds", "holds", "Writes that were held, by how that ended", ("capability", "outcome")),
    Counter(
        "causal_reads",
        "causal_reads",
        "Reads whose stack might have lacked what their visitors had written, by how they went on",
        ("capability", "outcome"),
    ),
    Counter(
        "shared_rates", "shared_rates", "Words to Valkey of what clients asked, by what became of them", ("outcome",)
    ),
    Counter("opened", "breaker_opened", "Times that a worker's breaker opened", ("upstream",)),
    Counter("identities", "identity_questions", "Questions to the monolith who a visitor is", ("outcome",)),
    Counter("spans", "spans", "Spans of sampled requests, by what became of them", ("outcome",)),
    Counter("accepted", "connections_accepted", "Connections of clients, ever"),
    Counter("pauses", "accept_pauses", "Times that a worker let no clients in, since descriptors were running out"),
    Counter("log_lines_dropped", "access_log_lines_dropped", "Lines of the access log that were not written"),
    Counter("refused_tables", "routing_tables_refused", "Tables whose seal or content was bad"),
)

LATENCIES: Final = Counter(
    "latencies",
    "request_duration_seconds",
    "From a request's head to its response's last byte",
    ("capability", "stack"),
)
"""Tallied as a list of [*labels, sum of seconds, [number a bucket]]."""


@dataclass(slots=True)
class Total:
    """What is counted over all workers, those that are gone included."""

    counts: dict[str, dict[Key, float]] = field(default_factory=lambda: {counter.key: {} for counter in COUNTERS})
    latencies: dict[Key, tuple[float, list[int]]] = field(default_factory=dict)

    def add(self, tally: Report) -> None:
        """Add what one worker, or another total, has counted."""
        for counter in COUNTERS:
            counts = self.counts[counter.key]
            for *labels, number in _rows(tally.get(counter.key, ())):
                counts[tuple(labels)] = counts.get(tuple(labels), 0) + number
        for *labels, seconds, buckets in tally.get(LATENCIES.key, ()):
            before, known = self.latencies.get(tuple(labels), (0.0, [0] * len(buckets)))
            summed = [one + other for one, other in zip(known, buckets, strict=True)]
            self.latencies[tuple(labels)] = (before + seconds, summed)

    def snapshot(self) -> dict[str, Any]:
        """Return everything as a tally's JSON values."""
        counted = {key: [[*labels, number] for labels, number in rows.items()] for key, rows in self.counts.items()}
        timed = [[*labels, seconds, [*buckets]] for labels, (seconds, buckets) in self.latencies.items()]
        return {**counted, LATENCIES.key: timed}


def _rows(raw: Any) -> Iterable[Sequence[Any]]:
    return ((raw,),) if isinstance(raw, int | float) else raw


def families(total: Total, reports: Iterable[Report], restarts: int, now: float) -> Iterator[Metric]:
    """Yield everything that is exposed; ``reports`` are those of the workers that live, ``now`` is Unix time."""
    live = list(reports)
    for counter in COUNTERS:
        yield _counter(counter, total.counts[counter.key])
    yield _histogram(total)
    for gauge in GAUGES:
        yield _gauge(gauge, live, now)
    yield CounterMetricFamily(PREFIX + RESTARTS.name, RESTARTS.text, restarts)


RESTARTS: Final = Counter("", "worker_restarts", "Workers that ended and were replaced")


def _counter(counter: Counter, counts: Mapping[Key, float]) -> Metric:
    if not counter.labels:
        return CounterMetricFamily(PREFIX + counter.name, counter.text, counts.get((), 0))
    family = CounterMetricFamily(PREFIX + counter.name, counter.text, labels=counter.labels)
    for labels, number in sorted(counts.items()):
        family.add_metric([_label(each) for each in labels], number)
    return family


def _label(value: object) -> str:
    """Return a label's value; the only number among them is the first digit of a status."""
    return f"{value}xx" if isinstance(value, int) else str(value)


def _histogram(total: Total) -> Metric:
    family = HistogramMetricFamily(PREFIX + LATENCIES.name, LATENCIES.text, labels=LATENCIES.labels)
    for labels, (seconds, buckets) in sorted(total.latencies.items()):
        family.add_metric(labels, _cumulated(buckets), seconds)
    return family


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
        seen += count
        found.append((bound, seen))
    return found


def _gauge(gauge: Gauge, live: Sequence[Report], now: float) -> Metric:
    family = GaugeMetricFamily(PREFIX + gauge.name, gauge.text, labels=gauge.labels)
    for labels, value in sorted(gauge.read(live, now)):
        family.add_metric(labels, value)
    return family
