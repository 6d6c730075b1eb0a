"""Many workers' counts as one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from strangler_proxy.exposition import COUNTERS, LATENCIES, Total, families
from strangler_proxy.telemetry import BOUNDS, Tally

NAMES = st.sampled_from(("", "catalog", "reviews"))
SNAPSHOTS = st.fixed_dictionaries(
    {
        "latencies": st.lists(
            st.tuples(
                NAMES,
                st.sampled_from(("monolith", "service")),
                st.integers(0, 9),
                st.lists(st.integers(0, 9), min_size=len(BOUNDS) + 1, max_size=len(BOUNDS) + 1),
            ),
            unique_by=lambda row: row[:2],
            max_size=3,
        ),
        **{
            counter.key: st.integers(0, 9)
            if not counter.labels
            else st.lists(st.tuples(*[NAMES] * len(counter.labels), st.integers(0, 9)), max_size=3)
            for counter in COUNTERS
        },
    }
)


def samples(total: Total, *reports: dict[str, Any]) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name.removeprefix("strangler_proxy_"), tuple(sample.labels.values())): sample.value
        for family in families(total, reports, 3, 1000.0)
        for sample in family.samples
    }


def total(*snapshots: dict[str, Any]) -> Total:
    found = Total()
    for each in snapshots:
        found.add(each)
    return found


def test_tallies_add_up() -> None:
    one, other = Tally(), Tally()
    for tally in (one, other, other):
        tally.series("catalog", "service", "share").count("GET", 200, 0.0007)
    other.series("catalog", "service", "share").count("BREW", 404, 20.0)
    other.failure("catalog", "refused")
    other.identity("named")
    found = samples(total(one.snapshot(), other.snapshot()))
    assert found["requests_total", ("catalog", "service", "share", "GET", "2xx")] == 3
    assert found["requests_total", ("catalog", "service", "share", "other", "4xx")] == 1
    assert found["upstream_failures_total", ("catalog", "refused")] == 1
    assert found["identity_questions_total", ("named",)] == 1
    assert found["worker_restarts_total", ()] == 3
    counts = [value for (name, _), value in found.items() if name == "request_duration_seconds_count"]
    assert sum(counts) == 4


def test_latencies_are_of_a_capability_on_a_stack() -> None:
    buckets = [0, 3, *[0] * (len(BOUNDS) - 2), 1]
    found = samples(total({"latencies": [["catalog", "service", 20.0021, buckets]]}))
    name = "request_duration_seconds_bucket"
    assert found[name, ("catalog", "service", "0.0005")] == 0
    assert found[name, ("catalog", "service", "0.001")] == 3
    assert found[name, ("catalog", "service", "10.0")] == 3
    assert found[name, ("catalog", "service", "+Inf")] == 4
    assert found["request_duration_seconds_sum", ("catalog", "service")] == 20.0021


def test_what_protects_is_counted() -> None:
    found = samples(
        total(
            {
                "retries": [["catalog", "repeatable", 2]],
                "fallbacks": [["catalog", "fallback", 3]],
                "refusals": [["shed", "", 4], ["rate", "writers", 5]],
                "holds": [["catalog", "released", 6]],
                "opened": [["catalog", 7]],
                "spans": [["dropped", 8]],
            }
        )
    )
    assert found["retries_total", ("catalog", "repeatable")] == 2
    assert found["fallbacks_total", ("catalog", "fallback")] == 3
    assert found["refusals_total", ("shed", "")] == 4
    assert found["refusals_total", ("rate", "writers")] == 5
    assert found["holds_total", ("catalog", "released")] == 6
    assert found["breaker_opened_total", ("catalog",)] == 7
    assert found["spans_total", ("dropped",)] == 8


@given(st.lists(SNAPSHOTS, max_size=3))
def test_a_total_of_totals_is_the_total(snapshots: list[dict[str, Any]]) -> None:
    first = total(*snapshots)
    assert total(first.snapshot()) == first
    assert samples(total(*[total(each).snapshot() for each in snapshots])) == samples(first)


def test_nothing_that_a_report_lacks_is_missed() -> None:
    found = samples(total({}), {"worker": "w1", "version": 7})
    assert {name: value for (name, _), value in found.items() if value} == {
        "workers": 1,
        "routing_table_version": 7,
        "worker_restarts_total": 3,
    }


def test_every_key_and_name_is_there_once() -> None:
    keys = [counter.key for counter in (*COUNTERS, LATENCIES)]
    names = [family.name for family in families(Total(), (), 0, 0.0)]
    assert len(set(keys)) == len(keys)
    assert len(set(names)) == len(names)


def test_a_bound_belongs_to_its_bucket() -> None:
    tally = Tally()
    tally.series("", "monolith", "unrouted").count("GET", 200, BOUNDS[0])
    found = samples(total(tally.snapshot()))
    (first,) = [
        value
        for (name, labels), value in found.items()
        if name == "request_duration_seconds_bucket" and labels[-2:] == ("monolith", "0.0005")
    ]
    assert first == 1
