"""Whatever clients and stacks do, and whenever they leave: afterwards nothing is left, and everybody is served."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from strangler.capability import Data, Stage, State
from strangler.project.limits import Limits, Timeouts
from strangler.routing.protect import Protect
from strangler.routing.table import Capability, Route
from strangler_proxy.switchboard import Switchboard
from strangler_proxy.tls import client_context, server_context
from tests.fixtures.certificates import Authority
from tests.fixtures.proxy import SETTINGS, Origin, Proxy, routing_table
from tests.fixtures.unruly import answering_at_random, behave_at_random
from tests.fixtures.waiting import until

CLIENTS = 12
SECONDS = 2.5
TIGHT = replace(
    SETTINGS,
    timeouts=Timeouts(
        request_headers=0.5, idle=0.5, connect=0.5, first_byte=0.3, stream_idle=0.5, pool_idle=0.3, drain_idle=0.1
    ),
    limits=Limits(connections=6, pending=4, requests=9, buffer=20_000),
)
SHELF = Capability(
    name="shelf",
    service="shelf",
    routes=(Route(path="/shelf"),),
    state=State(stage=Stage.CANARY, share=10_000, data=Data.NONE),
    protect=Protect(bulkhead=3, fallback=True, timeout=1.0),
)


def left_behind(board: Switchboard) -> dict[str, object]:
    """Return what is not as if nobody had ever come."""
    guard = board.guards["shelf"]
    assert guard.bulkhead is not None
    found: dict[str, object] = {
        "requests": board.tally.in_flight,
        "tunnels": board.tally.tunnels,
        "watched": len(board.watched),
        "clients": dict(board.clients),
        "bulkhead": guard.bulkhead.in_flight,
    }
    for name, cluster in board.pool.clusters.items():
        found[f"requests to {name}"] = cluster.requests.in_flight
        found[f"retries of {name}"] = cluster.budget.in_flight
        if cluster.breaker is not None:
            found[f"trials of {name}"] = cluster.breaker._trials
        for endpoint in cluster.endpoints:
            found[f"pending at {name}"] = endpoint.pending
            found[f"open to {name} and not idle"] = endpoint.open - len(endpoint.idle)
            found[f"waiting for {name}"] = len(endpoint.waiting)
            found[f"connecting to {name}"] = len(endpoint._tasks)
    return {what: much for what, much in found.items() if much}


@pytest.mark.parametrize(("seed", "encrypted"), [(0, False), (1, False), (2, True)])
def test_nothing_is_left_behind(seed: int, encrypted: bool, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.give("shop.test")
    shown = server_context(pair.certificate, pair.key) if encrypted else None
    believed = client_context(authority.ca)
    with (
        Origin(answering_at_random(seed)) as monolith,
        Origin(answering_at_random(seed + 100), name="shelf") as shelf,
        Proxy(TIGHT, routing_table(monolith.url, [SHELF], shelf=shelf.url), tls=shown) as proxy,
    ):

        def connect() -> socket.socket:
            sock = socket.create_connection(("127.0.0.1", proxy.port), 1)
            return believed.wrap_socket(sock, server_hostname="shop.test") if encrypted else sock

        with ThreadPoolExecutor(CLIENTS) as pool:
            made = list(pool.map(lambda each: behave_at_random(connect, seed * 100 + each, SECONDS), range(CLIENTS)))
        assert sum(made) > 100
        left: dict[str, object] = {"not": "looked yet"}

        def nothing() -> bool:
            nonlocal left
            left = proxy.call(lambda: left_behind(proxy.board))
            return not left

        try:
            until(nothing, "nothing is left behind", 8)
        except AssertionError as exc:
            raise AssertionError(f"left behind: {left}") from exc
        kinds = {kind for _, kind in proxy.call(lambda: proxy.board.tally.counted("failures"))}
        assert {"reset", "truncated", "garbled", "timeout", "overload"} <= kinds, "it was too tame"
        assert proxy.errors == []
