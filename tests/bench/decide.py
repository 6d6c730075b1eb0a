"""What a decision costs, and that more routes do not make it dearer."""

from __future__ import annotations

import time
from typing import Final

from strangler.capability import Data, Stack, Stage, State
from strangler.routing.decide import Ambiguous, decide
from strangler.routing.table import MONOLITH, Capability, Route, RoutingTable
from tests.bench.row import Row, row

ROUNDS: Final = 7
DECISIONS: Final = 20_000


# More than the table remembers: each decision looks its path up anew.
_PATHS: Final = [b"/api/area%d/products/%d/" % (number % 50, number) for number in range(10_000)]


class _Facts:
    method = "GET"
    path = b""
    host = "shop.test"
    client = "192.0.2.1"
    override = None
    token = None
    visitor = "a-visitor-of-22-chars-"

    def header(self, name: str) -> str | None:
        return None

    cookie = query_value = header

    def applied(self, capability: str, stack: Stack) -> int | None:
        return None


def table(routes: int) -> RoutingTable:
    """Return a table of 50 capabilities with ``routes`` between them, each at a share of 50 %."""
    each = routes // 50
    capabilities = tuple(
        Capability(
            name=f"area{number}",
            service="service",
            routes=tuple(Route(path=f"/api/area{number}" + (f"/part{part}" if part else "")) for part in range(each)),
            state=State(data=Data.NONE, share=5000, stage=Stage.CANARY),
        )
        for number in range(50)
    )
    upstreams = {MONOLITH: ("http://127.0.0.1:1",), "service": ("http://127.0.0.1:2",)}
    return RoutingTable(version=1, upstreams=upstreams, capabilities=capabilities)


def measure() -> list[Row]:
    few, many = table(50), table(5000)
    rounds = [(_rate(many), _rate(few)) for _ in range(ROUNDS)]
    return [row("decide with 5,000 routes", "decisions/s", "itself with 50 routes", 0.95, rounds)]


def _rate(found: RoutingTable) -> float:
    facts = _Facts()
    started = time.perf_counter()
    for number in range(DECISIONS):
        facts.path = _PATHS[number % len(_PATHS)]
        decision = decide(found, facts)
    seconds = time.perf_counter() - started
    assert not isinstance(decision, Ambiguous)
    assert decision.stack in Stack
    return DECISIONS / seconds
