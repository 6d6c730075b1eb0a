"""Many workers' counts as one."""

from __future__ import annotations

from strangler_proxy.exposition import Total, families
from strangler_proxy.telemetry import BOUNDS, Tally


def _samples(total: Total, *reports: dict[str, object]) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families(total, reports, 3)
        for sample in family.samples
    }


def test_tallies_add_up() -> None:
    one, other = Tally(), Tally()
    for tally in (one, other, other):
        tally.request("catalog", "service", "share", "GET", 200, 0.0007)
    other.request("catalog", "service", "share", "BREW", 404, 20.0)
    other.failure("catalog", "refused")
    other.identity("named")
    total = Total()
    total.add(one.snapshot())
    total.add(other.snapshot())
    found = _samples(total)
    assert found["strangler_proxy_requests_total", ("catalog", "service", "share", "GET", "2xx")] == 3
    assert found["strangler_proxy_requests_total", ("catalog", "service", "share", "other", "4xx")] == 1
    assert found["strangler_proxy_upstream_failures_total", ("catalog", "refused")] == 1
    assert found["strangler_proxy_identity_questions_total", ("named",)] == 1
    assert found["strangler_proxy_request_duration_seconds_bucket", ("service", "0.0005")] == 0
    assert found["strangler_proxy_request_duration_seconds_bucket", ("service", "0.001")] == 3
    assert found["strangler_proxy_request_duration_seconds_bucket", ("service", "10.0")] == 3
    assert found["strangler_proxy_request_duration_seconds_bucket", ("service", "+Inf")] == 4
    assert found["strangler_proxy_worker_restarts_total", ()] == 3


def test_gauges_are_of_the_living() -> None:
    tally = Tally()
    tally.in_flight = 2
    report = {
        "worker": "w1",
        "tally": tally.snapshot(),
        "connections": 5,
        "upstreams": {"http://a": [3, 1]},
        "version": 7,
    }
    found = _samples(Total(), report, {**report, "worker": "w2"})
    assert found["strangler_proxy_in_flight", ()] == 4
    assert found["strangler_proxy_connections", ()] == 10
    assert found["strangler_proxy_upstream_connections", ("http://a", "busy")] == 4
    assert found["strangler_proxy_upstream_connections", ("http://a", "idle")] == 2
    assert found["strangler_proxy_routing_table_version", ("w2",)] == 7


def test_a_bound_belongs_to_its_bucket() -> None:
    tally = Tally()
    tally.request("", "monolith", "unrouted", "GET", 200, BOUNDS[0])
    assert tally.durations["monolith"][0] == 1
