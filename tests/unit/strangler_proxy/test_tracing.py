"""Which requests are traced, and what is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler_proxy.http1.hygiene import is_traceparent
from strangler_proxy.settings import Tracing
from strangler_proxy.tracing import (
    NO_PARENT,
    Span,
    Tracer,
    attributes_of,
    flags_of,
    name_of,
    parent_of,
    traceparent,
)
from tests.fixtures.collector import READ, SPAN, TRACE
from tests.fixtures.waiting import until


class Kept:
    """An exporter that keeps spans, and takes none while ``full``."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.takes = True
        self.ended = False

    def export(self, spans: Sequence[Span]) -> bool:
        if self.takes:
            self.spans += spans
        return self.takes

    def shutdown(self) -> None:
        self.ended = True


def tracer(sample: float = 0.01) -> tuple[Tracer, Kept]:
    kept = Kept()
    return Tracer(Tracing(endpoint="http://collector.test/v1/traces", sample=sample), kept), kept


def test_the_caller_decides_where_it_says_so() -> None:
    one, _ = tracer(sample=0.5)
    assert [one.sampled(flags, chance) for flags in (0, 1, 2, 3) for chance in (0.0, 0.9)] == [
        *(False, False, True, True),
        *(False, False, True, True),
    ]
    one.close()


@pytest.mark.parametrize("sample", [0.0, 0.01, 0.5, 1.0])
def test_chance_decides_where_nobody_said_anything(sample: float) -> None:
    one, _ = tracer(sample)
    random = Random(4)
    found = sum(one.sampled(NO_PARENT, random.random()) for _ in range(20_000)) / 20_000
    assert found == pytest.approx(sample, abs=0.01)
    one.close()


@given(st.integers(0, 255), st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
def test_a_parent_is_read_as_it_was_written(flags: int, trace: int, span: int) -> None:
    header = b"00-%032x-%016x-%02x" % (trace, span, flags)
    assert (flags_of(header), parent_of(header)) == (flags, b"%016x" % span)
    assert is_traceparent(traceparent(b"%032x" % trace, b"%016x" % span, sampled=True))


def test_what_is_passed_on() -> None:
    assert traceparent(TRACE, SPAN, sampled=True) == b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert traceparent(TRACE, SPAN, sampled=False) == b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    assert (flags_of(None), parent_of(None)) == (NO_PARENT, None)


def test_a_read_by_share() -> None:
    assert name_of(READ) == "GET /api/catalog"
    assert attributes_of(READ) == {
        "http.request.method": "GET",
        "http.route": "/api/catalog",
        "http.response.status_code": 200,
        "url.path": "/api/catalog/7",
        "url.scheme": "https",
        "server.address": "shop.test",
        "client.address": "192.0.2.7",
        "strangler.capability": "catalog",
        "strangler.stack": "service",
        "strangler.why": "share",
        "strangler.upstream": "catalog",
        "strangler.upstream.seconds": 0.019,
        "strangler.routing_table.version": 17,
    }


def test_methods_that_clients_make_up_make_no_names() -> None:
    odd = READ._replace(method="BREW" * 30, route="")
    assert name_of(odd) == "HTTP"
    found = attributes_of(odd)
    assert found["http.request.method"] == "_OTHER"
    assert found["http.request.method_original"] == ("BREW" * 30)[:64]


@pytest.mark.parametrize(
    ("status", "failure", "kind", "told"),
    [
        (200, "", None, 200),
        (404, "", None, 404),
        (500, "", "500", 500),
        (502, "reset", "reset", 502),
        (499, "", "client_left", None),
    ],
)
def test_what_went_wrong(status: int, failure: str, kind: str | None, told: int | None) -> None:
    found = attributes_of(READ._replace(status=status, failure=failure))
    assert (found.get("error.type"), found.get("http.response.status_code")) == (kind, told)


def test_what_waits_goes_out_at_the_end() -> None:
    one, kept = tracer()
    for _ in range(3):
        one.span(READ)
    one.close()
    assert kept.spans == [READ] * 3
    assert kept.ended
    assert dict(one.counts()) == {"exported": 3, "failed": 0, "dropped": 0}


def test_a_batch_goes_out_before_its_time() -> None:
    one, kept = tracer()
    for _ in range(300):
        one.span(READ)
    until(lambda: len(kept.spans) >= 256, "a batch is exported", 3)
    one.close()


def test_a_collector_that_is_away_costs_spans_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    one, kept = tracer()
    kept.takes = False
    for _ in range(300):
        one.span(READ)
    until(lambda: sum(dict(one.counts()).values()) == 300, "a batch is refused, and what was behind it dropped", 3)
    kept.takes = True
    one.span(READ)
    one.close()
    assert dict(one.counts()) == {"exported": 1, "failed": 256, "dropped": 44}
    assert [record.getMessage() for record in caplog.records] == [
        "http://collector.test/v1/traces does not take spans; until it does, they are dropped",
        "http://collector.test/v1/traces takes spans again",
    ]
