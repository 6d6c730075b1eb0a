"""What is written down of a request when it has ended: a line of the access log, a span where it was sampled."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING

from strangler.routing.decide import Decision, route_of
from strangler_proxy.tracing import Span

if TYPE_CHECKING:
    from strangler_proxy.forward import Exchange
    from strangler_proxy.switchboard import Switchboard


def account(board: Switchboard, exchange: Exchange, status: int, seconds: float) -> None:
    """Log and trace ``exchange``, which ended with ``status`` (499: its client left) after ``seconds``."""
    decision = exchange.decision
    if board.log is not None:
        board.log.line(**_line(exchange, decision, status, seconds))
    if exchange.trail.sampled and board.tracer is not None:
        board.tracer.span(_span(board, exchange, decision, status, seconds))


def _line(
    exchange: Exchange, decision: Decision | None, status: int, seconds: float
) -> dict[str, str | int | float | None]:
    trail = exchange.trail
    return {
        "method": exchange.head.method,
        "path": exchange.head.target.decode("latin-1"),
        "status": status,
        "stack": decision.stack if decision else None,
        "capability": decision.capability if decision else None,
        "why": exchange.refusal or (decision.why if decision else None),
        "upstream": exchange.asked,
        "request_id": trail.request_id.decode("ascii"),
        "trace_id": trail.trace_id.decode("ascii"),
        "ms": round(seconds * 1000, 3),
        "bytes": exchange.sent,
    }


def _span(board: Switchboard, exchange: Exchange, decision: Decision | None, status: int, seconds: float) -> Span:
    head, trail, end = exchange.head, exchange.trail, time_ns()
    route = route_of(board.table, exchange.facts)
    return Span(
        trace_id=trail.trace_id,
        span_id=trail.span_id,
        parent_id=trail.parent_id,
        start=end - int(seconds * 1e9),
        end=end,
        method=head.method,
        path=head.path.decode("latin-1"),
        scheme="https" if exchange.peer.secure(head) else "http",
        server=exchange.facts.host,
        client=exchange.facts.client,
        status=status,
        why=exchange.refusal or (decision.why if decision else "refused"),
        stack=decision.stack if decision else "",
        capability=(decision.capability or "") if decision else "",
        upstream=decision.upstream if decision else "",
        cohort=(decision.cohort or "") if decision else "",
        route=route.path if route else "",
        failure=exchange.failure,
        version=board.table.version,
        retries=exchange.retries,
        fallback=exchange.fell_back,
        upstream_seconds=max(0.0, exchange.began + seconds - exchange.asked_at) if exchange.asked_at else 0.0,
    )
