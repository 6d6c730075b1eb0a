"""Prometheus' text format is read as Prometheus reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from strangler.conforming.answer import Answer
from strangler.conforming.exposition import Page, Unreadable, judge_metrics, read
from strangler.conforming.finding import Verdict

PAGE = """\
# HELP shop_requests_total Requests
# TYPE shop_requests_total counter
shop_requests_total{route="/a"} %d
# TYPE shop_request_seconds histogram
shop_request_seconds_bucket{le="+Inf"} 1
shop_request_seconds_sum 0.5
shop_request_seconds_count 1
"""


def page(text: str) -> Answer:
    headers = (("content-type", "text/plain; version=0.0.4"),)
    return Answer(status=200, headers=headers, body=text.encode())


def verdicts(before: str, after: str, *, asked: int = 3, told: str = "word") -> dict[str, Verdict]:
    return {each.rule: each.verdict for each in judge_metrics(page(before), page(after), asked=asked, told=told)}


@given(st.text(max_size=20), st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_what_the_client_library_writes_is_read(label: str, value: float) -> None:
    registry = CollectorRegistry()
    Counter("a", "A\nb", ["l"], registry=registry).labels(label).inc(value)
    Gauge("g", "g", registry=registry).set(float("nan"))
    Histogram("h_seconds", "h", registry=registry).observe(value)
    found = read(generate_latest(registry).decode())
    assert found.total("a_total") == value
    assert found.types["h_seconds"] == "histogram"
    assert found.family("h_seconds_bucket") == "h_seconds"


@given(st.text(alphabet='ab_{}="\\,\n #1.eE+-NaInf', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read(text)
    except Unreadable:
        return
    assert isinstance(found, Page)


@pytest.mark.parametrize(
    "text",
    [
        "a 1",
        "a\n",
        "a x\n",
        'a{b="c} 1\n',
        "a 1\na 2\n",
        "# TYPE a nonsense\n",
        "1a 1\n",
        "a 0x1\n",
        "a 1_0\n",
        "a nan\n",
    ],
)
def test_what_is_none_of_it_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read(text)


def test_a_page_that_is_well_passes() -> None:
    assert verdicts(PAGE % 1, PAGE % 4) == dict.fromkeys(
        ("metrics.format", "metrics.requests", "metrics.units", "metrics.labels"), Verdict.PASS
    )


@pytest.mark.parametrize(
    ("after", "rule"),
    [
        (PAGE % 3, "metrics.requests"),
        (PAGE.replace("_seconds", "_ms") % 4, "metrics.units"),
        (PAGE.replace("_seconds", "") % 4, "metrics.units"),
        (PAGE.replace("shop_requests_total", "shop_requests") % 4 + "x_request_total 9\n", "metrics.units"),
        (PAGE % 4 + "shop_size_kb 1\n", "metrics.units"),
        (PAGE % 4 + 'shop_requests_total{route="/word"} 1\n', "metrics.labels"),
    ],
)
def test_a_page_that_is_not_fails_by_its_rule(after: str, rule: str) -> None:
    found = verdicts(PAGE % 1, after)
    assert [each for each, verdict in found.items() if verdict is Verdict.FAIL] == [rule]
