"""What is read out of the reports of living workers."""

from __future__ import annotations

from typing import Any

from strangler.capability import Stack, Stage, State
from strangler.routing.table import Capability, Route, RoutingTable
from strangler_proxy.gauges import GAUGES, standing

UPSTREAMS = {"monolith": ("http://a",), "catalog": ("http://b",)}


def read(name: str, *reports: dict[str, Any], now: float = 1000.0) -> dict[tuple[str, ...], float]:
    (gauge,) = [gauge for gauge in GAUGES if gauge.name == name]
    return dict(gauge.read(reports, now))


def test_what_is_under_way_is_summed() -> None:
    one = {"connections": 5, "tally": {"in_flight": 2, "tunnels": 1, "in_flight_by": [["catalog", 2]]}}
    other = {"connections": 1, "tally": {"in_flight": 3, "in_flight_by": [["catalog", 1], ["reviews", 2]]}}
    assert read("connections", one, other) == {(): 6}
    assert read("in_flight", one, other) == {(): 5}
    assert read("tunnels", one, other) == {(): 1}
    assert read("capability_in_flight", one, other) == {("catalog",): 3, ("reviews",): 2}
    assert read("held", one, {"tally": {"held": [["catalog", 4]]}}) == {("catalog",): 4}


def test_connections_are_busy_or_idle() -> None:
    reports = [{"upstreams": {"http://a": [3, 1]}}, {"upstreams": {"http://a": [2, 0, 7]}}]
    assert read("upstream_connections", *reports) == {("http://a", "busy"): 4, ("http://a", "idle"): 1}
    assert read("upstream_pending", *reports) == {("http://a",): 7}


def test_workers_that_say_the_same_are_counted() -> None:
    reports = [{"breakers": {"catalog": word}} for word in ("open", "closed", "open")]
    assert read("breaker_workers", *reports) == {("catalog", "open"): 2, ("catalog", "closed"): 1}
    assert read("endpoint_workers", {"conditions": {"http://a": "ejected"}}) == {("http://a", "ejected"): 1}


def test_each_worker_has_its_table_and_its_lag() -> None:
    one = {"worker": "w1", "version": 7, "published_at": 940.0, "lag": 0.02, "resident": 1 << 20}
    other = {"worker": "w2", "version": 6, "published_at": None}
    assert read("routing_table_version", one, other) == {("w1",): 7, ("w2",): 6}
    assert read("routing_table_age_seconds", one, other) == {("w1",): 60.0}
    assert read("loop_lag_seconds", one, other) == {("w1",): 0.02}
    assert read("worker_resident_bytes", one, other) == {("w1",): 1 << 20}


def test_links_count_the_workers_that_reach_them() -> None:
    reports = [{"valkey": True, "postgres": None}, {"valkey": False, "postgres": None}]
    assert read("link_workers", *reports) == {("valkey",): 1}
    assert read("link_workers") == {}


def test_capabilities_stand_as_the_newest_table_has_them() -> None:
    def at(version: int, share: int) -> dict[str, Any]:
        state = State(stage=Stage.CANARY, share=share)
        catalog = Capability(name="catalog", service="catalog", routes=(Route(path="/c"),), state=state)
        table = RoutingTable(version=version, upstreams=UPSTREAMS, capabilities=(catalog,))
        return {"version": version, "capabilities": standing(table)}

    reports = at(6, 1000), at(7, 2500)
    assert read("capability_share_ratio", *reports) == {("catalog",): 0.25}
    assert read("capability_killed", *reports) == {("catalog",): 0}
    assert read("capability_stage", *reports) == {("catalog", "canary", "monolith", "catalog"): 1}
    assert read("capability_stage") == {}


def test_a_kill_is_told() -> None:
    state = State(killed="it answers nonsense")
    catalog = Capability(name="catalog", service="catalog", routes=(Route(path="/c"),), state=state)
    table = RoutingTable(version=1, upstreams=UPSTREAMS, capabilities=(catalog,))
    known = {"stage": "monolith", "owner": str(Stack.MONOLITH), "service": "catalog", "share": 0, "killed": True}
    assert standing(table) == {"catalog": known}
    assert read("capability_killed", {"version": 1, "capabilities": standing(table)}) == {("catalog",): 1}
