"""What a worker tells of itself, as metrics have it."""

from __future__ import annotations

import json
from typing import Any

from strangler.capability import Stack, Stage, State
from strangler.routing.protect import Protect
from strangler.routing.table import Capability, Route
from strangler_proxy.exposition import Total, families
from strangler_proxy.lag import Lag
from strangler_proxy.report import report
from strangler_proxy.settings import Links
from strangler_proxy.subscription import Subscription
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import SETTINGS, Origin, Proxy, routing_table

CATALOG = Capability(
    name="catalog",
    service="shop",
    routes=(Route(path="/api/catalog"),),
    state=State(stage=Stage.SERVICE, owner=Stack.SERVICE, share=10_000),
    protect=Protect(bulkhead=7),
)


def told(proxy: Proxy) -> dict[str, Any]:
    def words() -> dict[str, Any]:
        lag = Lag()
        lag.stop()
        return report(proxy.board, Subscription(proxy.board, "w", Links()), lag)

    return proxy.call(words)


def exposed(found: dict[str, Any]) -> dict[str, dict[tuple[str, ...], float]]:
    total = Total()
    total.add(found["tally"])
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in families(total, [{"worker": "w", **found}], 0, 0.0):
        for sample in family.samples:
            name = sample.name.removeprefix("strangler_proxy_")
            samples.setdefault(name, {})[tuple(sample.labels.values())] = sample.value
    return samples


def test_a_service_that_is_gone_shows() -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    with Origin() as origin, Proxy(SETTINGS, routing_table(origin.url, [CATALOG], version=17, shop=gone)) as proxy:
        with proxy.client() as client:
            statuses = [client.get("/api/catalog").status for _ in range(12)]
            client.get("/")
        found = exposed(told(proxy))
    assert statuses[0] == 502
    assert statuses[-1] == 503
    assert found["breaker_workers"] == {("shop", "open"): 1}
    assert found["breaker_opened_total"] == {("shop",): 1}
    refused = sum(status == 503 for status in statuses)
    assert found["refusals_total"][("breaker", "shop")] == refused
    assert found["refusals_total"][("bulkhead", "catalog")] == 0
    assert found["upstream_failures_total"][("shop", "open")] == refused
    assert found["endpoint_workers"][(gone, "refusing")] == 1
    assert found["capability_stage"] == {("catalog", "service", "service", "shop"): 1}
    assert found["capability_share_ratio"] == {("catalog",): 1.0}
    assert found["routing_table_version"] == {("w",): 17}
    assert found["loop_lag_seconds"] == {("w",): 0}
    assert found["requests_total"][("", "monolith", "unrouted", "GET", "2xx")] == 1
    assert found["request_duration_seconds_count"][("", "monolith")] == 1


def test_it_travels_as_json() -> None:
    with Origin() as origin, Proxy(SETTINGS, routing_table(origin.url, [CATALOG], shop=origin.url)) as proxy:
        found = told(proxy)
    assert exposed(json.loads(json.dumps(found))) == exposed(found)
