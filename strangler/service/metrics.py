"""What the service measures of itself, in Prometheus' format, with labels that cannot grow without bound.

A route label is the template of the matched route (``/products/{id}``), never a path; an unknown method counts as
``other``. A service with R routes has at most 8 x R x (statuses it uses) series.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

UNMATCHED: Final = "unmatched"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# From well under a millisecond (a row by its key) to the statement timeout's order of magnitude.
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The instruments of one service, in a registry of their own so that two services may share a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.in_flight = Gauge(
            "strangler_service_requests_in_flight", "Requests being answered now", registry=self.registry
        )
        self._requests = Counter(
            "strangler_service_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "strangler_service_request_seconds",
            "Time from a request's head to the end of its answer",
            ["route", "method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def answered(self, *, route: str, method: str, status: int, seconds: float) -> None:
        method = method if method in _METHODS else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)
