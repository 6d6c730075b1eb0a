"""What happened between two readings of metrics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from strangler.cli.frame import Frame, Reading, Row, Side, frame, parse, quantile, to_json

FIRST = """\
# HELP strangler_proxy_requests_total Requests answered, by where they went and why
# TYPE strangler_proxy_requests_total counter
strangler_proxy_requests_total{capability="catalog",method="GET",stack="service",status_class="2xx",why="share"} 100.0
strangler_proxy_requests_total{capability="catalog",method="GET",stack="monolith",status_class="2xx",why="share"} 300.0
strangler_proxy_requests_total{capability="",method="GET",stack="monolith",status_class="2xx",why="unrouted"} 7.0
strangler_proxy_request_duration_seconds_bucket{capability="catalog",le="0.01",stack="service"} 50.0
strangler_proxy_request_duration_seconds_bucket{capability="catalog",le="0.1",stack="service"} 100.0
strangler_proxy_request_duration_seconds_bucket{capability="catalog",le="+Inf",stack="service"} 100.0
strangler_proxy_capability_stage{capability="catalog",owner="monolith",service="shop",stage="canary"} 1.0
strangler_proxy_capability_share_ratio{capability="catalog"} 0.25
strangler_proxy_capability_killed{capability="catalog"} 0.0
strangler_proxy_capability_in_flight{capability="catalog"} 3.0
strangler_proxy_breaker_workers{circuit="closed",upstream="shop"} 1.0
strangler_proxy_breaker_workers{circuit="open",upstream="shop"} 1.0
strangler_proxy_routing_table_version{worker="a:1:0"} 17.0
strangler_proxy_routing_table_version{worker="a:1:1"} 16.0
strangler_proxy_routing_table_age_seconds{worker="a:1:0"} 60.0
strangler_proxy_connections 12.0
strangler_proxy_in_flight 4.0
strangler_proxy_link_workers{link="postgres"} 2.0
strangler_proxy_link_workers{link="valkey"} 1.0
unrelated_total 9.0
"""
SECOND = (
    FIRST.replace('2xx",why="share"} 100.0', '2xx",why="share"} 130.0')
    .replace('le="0.01",stack="service"} 50.0', 'le="0.01",stack="service"} 65.0')
    .replace('le="0.1",stack="service"} 100.0', 'le="0.1",stack="service"} 140.0')
    .replace('le="+Inf",stack="service"} 100.0', 'le="+Inf",stack="service"} 140.0')
    + """\
strangler_proxy_requests_total{capability="catalog",method="GET",stack="service",status_class="5xx",why="share"} 10.0
strangler_proxy_fallbacks_total{capability="catalog",verdict="fallback"} 4.0
strangler_proxy_fallbacks_total{capability="catalog",verdict="off"} 9.0
strangler_proxy_retries_total{upstream="shop",verdict="repeatable"} 2.0
strangler_proxy_retries_total{upstream="monolith",verdict="unsent"} 2.0
strangler_proxy_refusals_total{name="",reason="shed"} 6.0
"""
)


def between(first: str, second: str, seconds: float = 2.0) -> Frame:
    one, other = Reading(at=10.0, series=parse(first)), Reading(at=10.0 + seconds, series=parse(second))
    return frame(["127.0.0.1:8900"], [one], [other])


def test_a_capability_as_it_moves() -> None:
    _, catalog = between(FIRST, SECOND).rows
    assert catalog == Row(
        capability="catalog",
        stage="canary",
        share=0.25,
        killed=False,
        monolith=Side(rate=0.0, errors=None),
        service=catalog.service,
        errors=0.25,
        in_flight=3.0,
        breaker="open",
        fallbacks=2.0,
        retries=1.0,
    )
    assert (catalog.service.rate, catalog.service.errors) == (20.0, 0.25)
    assert [catalog.service.p50, catalog.service.p99] == pytest.approx([0.028, 0.09856])


def test_what_belongs_to_no_capability_is_a_row_of_its_own() -> None:
    rest, _ = between(FIRST, SECOND.replace('why="unrouted"} 7.0', 'why="unrouted"} 9.0')).rows
    assert (rest.capability, rest.stage, rest.monolith.rate, rest.in_flight) == ("", None, 1.0, None)


def test_the_sum_and_what_was_refused() -> None:
    found = between(FIRST, SECOND)
    assert (found.total.service.rate, found.total.in_flight, found.total.fallbacks) == (20.0, 4.0, 2.0)
    assert found.refused == {"shed": 3.0}
    assert found.seconds == 2.0


def test_the_proxy_as_a_whole() -> None:
    (proxy,) = between(FIRST, SECOND).proxies
    assert (proxy.versions, proxy.age, proxy.workers, proxy.connections) == ((16, 17), 60.0, 2, 12)
    assert (proxy.without, proxy.resident, proxy.lag, proxy.away) == (("valkey",), None, None, None)


def test_a_counter_that_began_anew_counts_from_nothing() -> None:
    again = SECOND.replace('2xx",why="share"} 130.0', '2xx",why="share"} 8.0')
    _, catalog = between(FIRST, again, seconds=1.0).rows
    assert catalog.service.rate == 18.0


def test_several_proxies_are_summed_and_one_may_be_away() -> None:
    one, other = Reading(at=0.0, series=parse(FIRST)), Reading(at=2.0, series=parse(SECOND))
    gone = Reading(at=2.0, why="connection refused")
    found = frame(["a", "b", "c"], [one, one, gone], [other, other, gone])
    assert found.rows[1].service.rate == 40.0
    assert found.rows[1].in_flight == 6.0
    assert found.rows[1].share == 0.25
    assert [proxy.away for proxy in found.proxies] == [None, None, "connection refused"]


def test_a_proxy_that_comes_or_goes_between_has_no_rates_yet() -> None:
    there, gone = Reading(at=0.0, series=parse(FIRST)), Reading(at=1.0, why="connection refused")
    assert frame(["a"], [there], [gone]).rows == ()
    (_, catalog) = frame(["a"], [gone], [Reading(at=2.0, series=parse(FIRST))]).rows
    assert (catalog.service, catalog.share) == (Side(), 0.25)


def test_everybody_away() -> None:
    gone = Reading(at=0.0, why="connection refused")
    found = frame(["a"], [gone], [gone])
    assert (found.rows, found.refused, found.total) == ((), {}, Row(capability=""))


def test_labels_are_read_as_they_are_escaped() -> None:
    text = 'strangler_proxy_capability_killed{capability="a\\"b\\\\c\\nd"} 1.0\n'
    assert [row.capability for row in between(text, text).rows] == ['a"b\\c\nd']


@given(st.text(), st.floats(allow_nan=False))
def test_whatever_prometheus_writes_is_read(name: str, value: float) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("strangler_proxy_capability_share_ratio", "text", ["capability"], registry=registry)
    gauge.labels(name).set(value)
    text = generate_latest(registry).decode()
    (row,) = between(text, text).rows
    assert (row.capability, row.share) == (name, value)


def test_json_has_everything_but_what_a_sum_cannot_have() -> None:
    found = to_json(between(FIRST, SECOND))
    assert found["capabilities"][1]["service"]["rate"] == 20.0
    assert found["proxies"][0]["versions"] == (16, 17)
    assert "share" not in found["total"]
    assert found["refused"] == {"shed": 3.0}


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=8),
    st.lists(st.floats(0.001, 10), min_size=7, max_size=7, unique=True),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
)
def test_a_quantile_lies_in_its_bucket_and_rises(
    counts: list[int], bounds: list[float], one: float, two: float
) -> None:
    highs = [*sorted(bounds)[: len(counts) - 1], float("inf")]
    cumulated = [sum(counts[: index + 1]) for index in range(len(counts))]
    buckets = list(zip(highs, cumulated, strict=True))
    low, high = sorted((one, two))
    first, second = quantile(low, buckets), quantile(high, buckets)
    if not sum(counts):
        assert first is None
        return
    assert first is not None
    assert second is not None
    assert 0 <= first <= second <= (highs[-2] if len(highs) > 1 else 0)
    index = next(index for index, upto in enumerate(cumulated) if upto >= low * cumulated[-1] and counts[index])
    below = highs[index - 1] if index else 0.0
    assert below <= first <= max(below, min(highs[index], highs[-2]))


def test_what_lies_above_the_last_bound_is_told_as_that_bound() -> None:
    assert quantile(0.5, [(1.0, 0.0), (10.0, 0.0), (float("inf"), 5.0)]) == 10.0
