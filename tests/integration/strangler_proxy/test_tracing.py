"""Spans arrive at a collector in OpenTelemetry's own words."""

from __future__ import annotations

import socket
import threading

import pytest

from strangler_proxy.settings import Tracing
from strangler_proxy.tracing import Tracer
from tests.fixtures.collector import PARENT, READ, SPAN, TRACE, Collector, values
from tests.fixtures.waiting import until


def test_a_span_as_the_collector_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    with Collector() as collector:
        tracer = Tracer(Tracing(endpoint=collector.endpoint))
        tracer.span(READ)
        tracer.span(READ._replace(parent_id=None, status=502, failure="reset"))
        tracer.close()
    (headers,) = collector.headers
    assert headers["path"] == "/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["x-tenant"] == "shop"
    resource = values(list(collector.requests[0].resource_spans[0].resource.attributes))
    assert resource["service.name"] == "strangler-proxy"
    assert resource["deployment.environment.name"] == "test"
    read, failed = collector.spans
    assert (read.trace_id.hex(), read.span_id.hex(), read.parent_span_id.hex()) == tuple(
        each.decode() for each in (TRACE, SPAN, PARENT)
    )
    assert (read.name, read.kind, read.status.code) == ("GET /api/catalog", read.SPAN_KIND_SERVER, 0)
    assert (read.start_time_unix_nano, read.end_time_unix_nano) == (READ.start, READ.end)
    assert values(list(read.attributes))["http.response.status_code"] == 200
    assert values(list(read.attributes))["strangler.stack"] == "service"
    assert (failed.parent_span_id, failed.status.code) == (b"", failed.status.STATUS_CODE_ERROR)
    assert values(list(failed.attributes))["error.type"] == "reset"


def test_a_full_queue_drops_and_counts_and_nobody_waits() -> None:
    """A collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracer = Tracer(Tracing(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"))
        for _ in range(5_000):
            tracer.span(READ)
        counts = dict(tracer.counts())
        assert counts["exported"] == 0
        assert 5_000 - 2_048 - 64 <= counts["dropped"] <= 5_000 - 2_048
        tracer.close()


def test_spans_arrive_again_after_the_collector_was_away() -> None:
    with Collector() as collector:
        collector.status = 400
        tracer = Tracer(Tracing(endpoint=collector.endpoint))
        for _ in range(40):
            tracer.span(READ)
        until(lambda: dict(tracer.counts())["failed"] >= 32, "the first are refused")
        collector.status = 200
        for _ in range(40):
            tracer.span(READ)
        until(lambda: dict(tracer.counts())["exported"] >= 32, "the others are taken")
        tracer.close()
    assert len(collector.spans) == dict(tracer.counts())["exported"]


def test_no_thread_is_left() -> None:
    with Collector() as collector:
        tracer = Tracer(Tracing(endpoint=collector.endpoint))
        tracer.close()
    assert "spans" not in [thread.name for thread in threading.enumerate()]
