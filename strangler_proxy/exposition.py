"""The workers' reports as one: summed, never going back when a worker is replaced, in Prometheus's words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from strangler_proxy.telemetry import BOUNDS

_COUNTED: Final = ("requests", "failures", "identities")


@dataclass(slots=True)
class Total:
    """What is counted over all workers, those that are gone included."""

    requests: dict[tuple[Any, ...], int] = field(default_factory=dict)
    failures: dict[tuple[Any, ...], int] = field(default_factory=dict)
    identities: dict[tuple[Any, ...], int] = field(default_factory=dict)
    durations: dict[str, list[int]] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    refused_tables: int = 0
    accepted: int = 0

    def add(self, tally: dict[str, Any]) -> None:
        """Add what one worker has counted."""
        for name in _COUNTED:
            counts: dict[tuple[Any, ...], int] = getattr(self, name)
            for *key, count in tally[name]:
                counts[tuple(key)] = counts.get(tuple(key), 0) + count
        for stack, buckets in tally["durations"].items():
            known = self.durations.setdefault(stack, [0] * len(buckets))
            self.durations[stack] = [one + other for one, other in zip(known, buckets, strict=True)]
            self.sums[stack] = self.sums.get(stack, 0.0) + tally["sums"][stack]
        self.refused_tables += tally["refused_tables"]
        self.accepted += tally["accepted"]


def families(total: Total, reports: Iterable[dict[str, Any]], restarts: int) -> Iterator[Metric]:
    """Yield everything that is exposed; ``reports`` are those of the workers that live."""
    live = list(reports)
    yield from _requests(total)
    yield from _connections(total, live)
    yield from _tables(total, live)
    yield CounterMetricFamily("strangler_proxy_worker_restarts", "Workers that ended and were replaced", restarts)


def _requests(total: Total) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "strangler_proxy_requests",
        "Requests answered, by where they went and why",
        labels=["capability", "stack", "why", "method", "status_class"],
    )
    for (capability, stack, why, method, status), count in sorted(total.requests.items()):
        requests.add_metric([capability, stack, why, method, f"{status}xx"], count)
    yield requests
    durations = HistogramMetricFamily(
        "strangler_proxy_request_duration_seconds",
        "From a request's head to its response's last byte",
        labels=["stack"],
    )
    for stack, buckets in sorted(total.durations.items()):
        durations.add_metric([stack], _cumulated(buckets), total.sums[stack])
    yield durations
    failures = CounterMetricFamily(
        "strangler_proxy_upstream_failures", "Failures of an upstream, by kind", labels=["upstream", "kind"]
    )
    for (upstream, kind), count in sorted(total.failures.items()):
        failures.add_metric([upstream, kind], count)
    yield failures
    identities = CounterMetricFamily(
        "strangler_proxy_identity_questions", "Questions to the monolith who a visitor is", labels=["outcome"]
    )
    for (outcome,), count in sorted(total.identities.items()):
        identities.add_metric([outcome], count)
    yield identities


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
        seen += count
        found.append((bound, seen))
    return found


def _connections(total: Total, live: list[dict[str, Any]]) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "strangler_proxy_connections_accepted", "Connections of clients, ever", value=total.accepted
    )
    yield _gauge("connections", "Connections of clients, now", sum(each["connections"] for each in live))
    yield _gauge("in_flight", "Requests under way", sum(each["tally"]["in_flight"] for each in live))
    yield _gauge("tunnels", "Upgraded connections", sum(each["tally"]["tunnels"] for each in live))
    upstream = GaugeMetricFamily(
        "strangler_proxy_upstream_connections", "Connections to an endpoint", labels=["endpoint", "state"]
    )
    sums: dict[str, tuple[int, int]] = {}
    for each in live:
        for url, (opened, idle) in each["upstreams"].items():
            before = sums.get(url, (0, 0))
            sums[url] = (before[0] + opened, before[1] + idle)
    for url, (opened, idle) in sorted(sums.items()):
        upstream.add_metric([url, "busy"], opened - idle)
        upstream.add_metric([url, "idle"], idle)
    yield upstream


def _tables(total: Total, live: list[dict[str, Any]]) -> Iterator[Metric]:
    versions = GaugeMetricFamily(
        "strangler_proxy_routing_table_version", "Version of the routing table in force", labels=["worker"]
    )
    for each in live:
        versions.add_metric([each["worker"]], each["version"])
    yield versions
    yield CounterMetricFamily(
        "strangler_proxy_routing_tables_refused", "Tables whose seal or content was bad", value=total.refused_tables
    )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"strangler_proxy_{name}", text, value=value)
