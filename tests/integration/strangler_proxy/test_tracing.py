"""Spans arrive at a collector in OpenTelemetry's own words."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from strangler.capability import Stack, Stage, State
from strangler.routing.keys import sign_override
from strangler.routing.table import Capability, Route
from strangler_proxy.settings import Tracing
from strangler_proxy.tracing import Tracer
from tests.fixtures.collector import PARENT, READ, SPAN, TRACE, Collector, values
from tests.fixtures.ports import free_port
from tests.fixtures.project_files import ENV, STRANGLER
from tests.fixtures.proxy import KEYS, SETTINGS, Origin, Proxy, routing_table
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
        assert 5_000 - 2_048 - 256 <= counts["dropped"] <= 5_000 - 2_048
        tracer.close()


def test_spans_arrive_again_after_the_collector_was_away() -> None:
    with Collector() as collector, closing(Tracer(Tracing(endpoint=collector.endpoint))) as tracer:
        collector.status = 400
        for _ in range(300):
            tracer.span(READ)
        until(lambda: dict(tracer.counts())["failed"] >= 256, "the first are refused")
        collector.status = 200

        def are_taken() -> bool:
            for _ in range(20):  # what comes before it is known to be away is dropped with the rest
                tracer.span(READ)
            return dict(tracer.counts())["exported"] >= 256

        until(are_taken, "the others are taken", 30)
    assert len(collector.spans) == dict(tracer.counts())["exported"]


def test_a_collector_that_is_away_costs_next_to_nothing() -> None:
    before = set(threading.enumerate())
    with closing(Tracer(Tracing(endpoint=f"http://127.0.0.1:{free_port()}/v1/traces"))) as tracer:
        (thread,) = set(threading.enumerate()) - before
        assert thread.ident is not None
        is_cheap(tracer, time.pthread_getcpuclockid(thread.ident))


def is_cheap(tracer: Tracer, clock: int) -> None:
    """Find that the thread whose CPU ``clock`` measures does next to nothing."""
    for _ in range(256):
        tracer.span(READ)
    until(lambda: dict(tracer.counts())["failed"] == 256, "it is known to be away")
    cpu, began = time.clock_gettime(clock), time.monotonic()

    def a_while_goes_by() -> bool:
        for _ in range(100):  # some 5,000 a second
            tracer.span(READ)
        return time.monotonic() - began > 5

    until(a_while_goes_by, "five seconds are over")
    assert (time.clock_gettime(clock) - cpu) / (time.monotonic() - began) < 0.01
    counts = dict(tracer.counts())
    assert counts["exported"] == 0
    assert counts["failed"] <= 256 + 3 * 16
    assert counts["dropped"] > 2_000


def test_a_proxy_that_lacks_what_exports_says_so_and_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "strangler.toml").write_text(f'{STRANGLER}[proxy.tracing]\nendpoint = "http://127.0.0.1:4318"\n')
    (tmp_path / "migrations").mkdir()
    code = "import sys; sys.modules['opentelemetry'] = None; from strangler.cli import main; main()"
    command = [sys.executable, "-c", code, "--project", str(tmp_path / "strangler.toml"), "proxy"]
    found = subprocess.run(command, env={**os.environ, **ENV}, capture_output=True, text=True, timeout=30, check=False)
    assert found.returncode == 1
    assert found.stderr == ("strangler proxy: [proxy.tracing] wants more; run: pip install 'strangler[tracing]'\n")


def test_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    with Collector() as collector:
        Tracer(Tracing(endpoint=collector.endpoint)).close()
    assert "spans" not in [thread.name for thread in set(threading.enumerate()) - before]


# --- through a proxy ---

PARENT_SAYS = f"traceparent: 00-{TRACE.decode()}-{PARENT.decode()}-"
LATER = 4_000_000_000  # a year in which nobody runs this


@contextmanager
def traced(sample: float = 0.0) -> Iterator[tuple[Proxy, Origin, Collector]]:
    """A proxy that believes its clients, before a service that has the catalog's readers."""
    with Collector() as collector, Origin() as origin:
        settings = replace(
            SETTINGS,
            trusted=(ip_network("127.0.0.0/8"),),
            tracing=Tracing(endpoint=collector.endpoint, sample=sample),
        )
        catalog = Capability(
            name="catalog",
            service="shop",
            routes=(Route(path="/api/catalog"),),
            state=State(stage=Stage.CANARY, share=10_000),
        )
        with Proxy(settings, routing_table(origin.url, [catalog], version=17, shop=origin.url)) as proxy:
            yield proxy, origin, collector


def export(proxy: Proxy) -> None:
    """Have all that waits exported, and nothing after."""
    tracer = proxy.board.tracer
    assert tracer is not None
    proxy.call(tracer.close)


def passed_on(origin: Origin) -> list[str]:
    return [re.search(r"traceparent: (\S+)", head.decode())[1] for head in origin.heads]  # type: ignore[index]


def test_a_sampled_request_has_a_span_between_its_caller_and_its_stack() -> None:
    with traced() as (proxy, origin, collector):
        with proxy.client() as client:
            client.get("/api/catalog/7?secret=1", PARENT_SAYS + "01")
        export(proxy)
        (span,) = collector.spans
        (sent,) = passed_on(origin)
    assert sent == f"00-{TRACE.decode()}-{span.span_id.hex()}-01"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE.decode(), PARENT.decode())
    found = values(list(span.attributes))
    assert found.pop("strangler.upstream.seconds") > 0  # type: ignore[operator]
    assert found == {
        "http.request.method": "GET",
        "http.route": "/api/catalog",
        "http.response.status_code": 200,
        "url.path": "/api/catalog/7",
        "url.scheme": "http",
        "server.address": "shop.test",
        "client.address": "127.0.0.1",
        "strangler.capability": "catalog",
        "strangler.stack": "service",
        "strangler.why": "share",
        "strangler.upstream": "shop",
        "strangler.routing_table.version": 17,
    }
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 10e9


def test_what_is_not_sampled_leaves_no_trace_of_the_proxy() -> None:
    with traced(sample=1.0) as (proxy, origin, collector):
        with proxy.client() as client:
            client.get("/api/catalog", PARENT_SAYS + "00")
        export(proxy)
        assert passed_on(origin) == [f"00-{TRACE.decode()}-{PARENT.decode()}-00"]
        assert collector.spans == []


@pytest.mark.parametrize(("sample", "flag", "spans"), [(1.0, "01", 1), (0.0, "00", 0)])
def test_chance_decides_and_is_passed_on_where_the_caller_said_nothing(sample: float, flag: str, spans: int) -> None:
    with traced(sample) as (proxy, origin, collector):
        with proxy.client() as client:
            client.get("/")
        export(proxy)
        (sent,) = passed_on(origin)
        assert sent.endswith(f"-{flag}")
        assert len(collector.spans) == spans
        if spans:
            assert collector.spans[0].span_id.hex() == sent.split("-")[2]
            assert collector.spans[0].parent_span_id == b""


def test_testers_learn_why_and_how_long_and_nobody_else_does() -> None:
    with traced() as (proxy, _, _), proxy.client() as client:
        plain = client.get("/api/catalog")
        assert (plain.header("strangler-why"), plain.header("server-timing")) == (None, None)
        forged = client.get("/api/catalog", f"X-Strangler-Override: catalog~monolith~{LATER}.forged")
        assert (forged.header("strangler-why"), forged.header("server-timing")) == (None, None)
        wish = sign_override("catalog", Stack.MONOLITH, LATER, KEYS)
        told = client.get("/api/catalog", f"X-Strangler-Override: {wish}")
        assert told.header("strangler-why") == (
            'capability="catalog", stack=monolith, why=override, share=10000, version=17, upstream="monolith"'
        )
        timing = told.header("server-timing") or ""
        assert re.fullmatch(r'strangler;dur=\d+\.\d, upstream;dur=\d+\.\d;desc="monolith"', timing)
