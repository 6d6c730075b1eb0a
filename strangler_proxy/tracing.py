"""Spans of a sampled share of requests, sent to an OpenTelemetry collector (OTLP over HTTP, in protobuf).

A request is sampled when whoever called says so in ``traceparent`` (parent-based sampling), and where nobody said
anything, by chance. A sampled request has a span here, and the stack gets ``traceparent`` with this span's id and
the flag set. Any other leaves no trace of the proxy: what came is passed on as it came, and where nothing came, the
stack gets a fresh one with the flag unset. So a trace is whole or is not there.

What is not sampled costs ``sampled`` alone: 0.04 us. What is sampled leaves a tuple of plain values in a queue
(1.5 us), from which a thread exports. The queue is bounded: when the collector is slow spans are dropped and
counted, and nothing waits. When it is away they are dropped before they cost anything, but for a few that are tried
after a pause that grows: to encode them all in vain, again and again, took half of a worker's throughput.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from strangler_proxy.settings import Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

_LOG: Final = logging.getLogger("strangler_proxy")
# The queue and the pause are those of the SDK's own processor, a batch is half of its. With 256 a span costs 60 us of
# the exporting thread, with 32 it costs 180.
_WAITING: Final = 2048
_BATCH: Final = 256
# While the thread encodes, the loop waits so long for the interpreter's lock, each time: with Python's own 5 ms, and
# 1,000 spans a second, one in a hundred of the loop's turns came 4.7 ms late; with this one 0.7 ms.
_SWITCH: Final = 0.0005
_PAUSE: Final = 5.0
_LAST: Final = 2.0  # seconds to send what is left when the worker ends
_TIMEOUT: Final = 5.0  # for one batch, attempts and pauses included
_PROBE: Final = 16  # spans that are tried on a collector that was away
_FIRST_ABSENCE: Final = 1.0
_LONGEST_ABSENCE: Final = 30.0
# nginx's code for a client that left before its answer: nothing was sent, and no status may be told.
_CLIENT_LEFT: Final = 499
NO_PARENT: Final = -1
"""The flags of a request that came without a ``traceparent`` to be believed."""


class Span(NamedTuple):
    """What is known of a request at its end. Times are in nanoseconds of Unix time, ids in lower-case hex.

    ``route`` is the path of the route that the capability has, ``server`` the host that was asked for, ``failure``
    what kept the stack from answering, empty where it did.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    start: int
    end: int
    method: str
    path: str
    scheme: str
    server: str
    client: str
    status: int
    why: str
    stack: str = ""
    capability: str = ""
    upstream: str = ""
    route: str = ""
    cohort: str = ""
    failure: str = ""
    version: int = 0  # of the routing table
    retries: int = 0
    fallback: bool = False
    upstream_seconds: float = 0.0


Value = str | int | float | bool
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))


def flags_of(traceparent: bytes | None) -> int:
    """Return the trace flags of a well-formed ``traceparent``, ``NO_PARENT`` without one."""
    return NO_PARENT if traceparent is None else int(traceparent[53:55], 16)


def parent_of(traceparent: bytes | None) -> bytes | None:
    """Return the id of the caller's span in a well-formed ``traceparent``."""
    return None if traceparent is None else traceparent[36:52]


def traceparent(trace_id: bytes, span_id: bytes, sampled: bool) -> bytes:
    """Return the header's value for the stack (W3C Trace Context, section 3.2)."""
    return b"00-%b-%b-%02x" % (trace_id, span_id, sampled)


def name_of(span: Span) -> str:
    """Return a span's name by the semantic conventions for HTTP servers: few, whatever clients ask for."""
    method = span.method if span.method in _METHODS else "HTTP"
    return f"{method} {span.route}" if span.route else method


def attributes_of(span: Span) -> dict[str, Value]:
    """Return a span's attributes by the semantic conventions for HTTP, and the proxy's own; the query never is one."""
    known = span.method in _METHODS
    found: dict[str, Value | None] = {
        "http.request.method": span.method if known else "_OTHER",
        "http.request.method_original": None if known else span.method[:64],
        "http.route": span.route or None,
        "http.response.status_code": None if span.status == _CLIENT_LEFT else span.status,
        "error.type": _error_type(span),
        "url.path": span.path,
        "url.scheme": span.scheme,
        "server.address": span.server or None,
        "client.address": span.client,
        "strangler.capability": span.capability or None,
        "strangler.stack": span.stack or None,
        "strangler.why": span.why,
        "strangler.cohort": span.cohort or None,
        "strangler.upstream": span.upstream or None,
        "strangler.upstream.seconds": span.upstream_seconds or None,
        "strangler.routing_table.version": span.version,
        "strangler.retries": span.retries or None,
        "strangler.fallback": span.fallback or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _error_type(span: Span) -> str | None:
    if span.status == _CLIENT_LEFT:
        return "client_left"
    if span.failure:
        return span.failure
    return str(span.status) if span.status >= 500 else None


class Exporter(Protocol):
    """Sends spans somewhere; False when they did not get there."""

    def export(self, spans: Sequence[Span]) -> bool: ...
    def shutdown(self) -> None:
        """Give up what is under way; another thread calls it."""
        ...


class Tracer:
    """Samples requests, and has a thread that exports their spans."""

    def __init__(self, tracing: Tracing, exporter: Exporter | None = None) -> None:
        self._share = tracing.sample
        self._endpoint = tracing.endpoint
        self._exporter = exporter or OtlpExporter(tracing.endpoint)
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._end = threading.Event()
        self._absence = 0.0  # seconds until a collector that is away is asked again
        self._exported = self._failed = self._dropped = self._discarded = 0
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Tracer of {self._share:.2%} waiting={len(self._waiting)} {dict(self.counts())}>"

    def sampled(self, flags: int, chance: float) -> bool:
        """Return whether a request is traced. ``flags`` are those of its ``traceparent``, ``chance`` is in [0, 1)."""
        return chance < self._share if flags < 0 else flags & 1 == 1

    def span(self, span: Span) -> None:
        """Take the span of a sampled request that has ended."""
        if len(self._waiting) >= _WAITING:
            self._dropped += 1
            return
        self._waiting.append(span)
        if len(self._waiting) >= _BATCH:
            self._wake.set()

    def counts(self) -> list[tuple[str, int]]:
        """Return how many spans were exported, tried in vain, and dropped: the queue full, or the collector away."""
        dropped = self._dropped + self._discarded
        return [("exported", self._exported), ("failed", self._failed), ("dropped", dropped)]

    def close(self) -> None:
        """Export what waits, for two seconds at most, and end the thread."""
        self._end.set()
        self._wake.set()
        self._thread.join(_LAST)
        self._exporter.shutdown()

    # --- the thread ---

    def _run(self) -> None:
        sys.setswitchinterval(_SWITCH)
        while not self._end.is_set():
            if self._absence:
                self._end.wait(self._absence)
            else:
                self._wake.wait(_PAUSE)
            self._wake.clear()
            self._export_waiting()
        self._export_waiting()

    def _export_waiting(self) -> None:
        until = monotonic() + _LAST
        while self._waiting and not (self._end.is_set() and monotonic() > until):
            most = _PROBE if self._absence else _BATCH
            batch = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            if not self._exporter.export(batch):
                self._failed += len(batch)
                self._leave_alone()
                return
            self._exported += len(batch)
            if self._absence:
                _LOG.warning("%s takes spans again", self._endpoint)
            self._absence = 0.0

    def _leave_alone(self) -> None:
        """Ask the collector again later, and drop what waits: when it is back, what is new is asked for."""
        if not self._absence:
            _LOG.warning("%s does not take spans; until it does, they are dropped", self._endpoint)
        self._absence = min(max(2 * self._absence, _FIRST_ABSENCE), _LONGEST_ABSENCE)
        while self._waiting:
            self._waiting.popleft()
            self._discarded += 1


def can_export() -> bool:
    """Return whether the extra ``strangler[tracing]`` is installed."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


class OtlpExporter:
    """Exports through OpenTelemetry's SDK, whose environment variables hold, as ``OTEL_EXPORTER_OTLP_HEADERS``.

    Raises ``ImportError`` without the extra ``strangler[tracing]``.
    """

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource

        # It says every attempt that fails, with its traceback.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        self._resource = Resource.create({SERVICE_NAME: "strangler-proxy"})
        self._exporter = OTLPSpanExporter(endpoint, timeout=_TIMEOUT)

    def export(self, spans: Sequence[Span]) -> bool:
        from opentelemetry.sdk.trace.export import SpanExportResult

        return self._exporter.export([self._readable(span) for span in spans]) is SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _readable(self, span: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        trace_id, flags = int(span.trace_id, 16), TraceFlags(TraceFlags.SAMPLED)
        parent = None
        if span.parent_id is not None:
            parent = SpanContext(trace_id, int(span.parent_id, 16), is_remote=True, trace_flags=flags)
        return ReadableSpan(
            name_of(span),
            context=SpanContext(trace_id, int(span.span_id, 16), is_remote=False, trace_flags=flags),
            parent=parent,
            resource=self._resource,
            attributes=attributes_of(span),
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if span.status >= 500 else StatusCode.UNSET),
            start_time=span.start,
            end_time=span.end,
        )
