"""A worker that has more to do than it can, over real connections."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strangler.project.limits import Shed
from strangler.routing.protect import Reach
from strangler.routing.table import MONOLITH, RoutingTable
from strangler_proxy.lag import Lag
from strangler_proxy.settings import Settings
from tests.fixtures.proxy import Origin, Proxy, proxied
from tests.fixtures.waiting import until

SETTINGS = Settings(worker="test", table="", shed=Shed(lateness=0.05))


@contextmanager
def busy(proxy: Proxy) -> Iterator[None]:
    """Have the proxy's loop do little but something else, until the context ends."""
    ending = False

    def block() -> None:
        if not ending:
            time.sleep(0.2)
            loop.call_later(0.001, block)  # lets others have one turn

    loop = proxy._loop
    proxy.call(block)
    try:
        yield
    finally:
        ending = True


def get(proxy: Proxy, *headers: str, method: str = "GET", target: str = "/") -> int:
    with proxy.client() as client:
        return client.get(target, *headers, method=method).status


def test_a_worker_that_is_late_turns_strangers_away_and_comes_back() -> None:
    with proxied(settings=SETTINGS) as (proxy, _):
        lag = proxy.call(lambda: Lag(proxy.board.late))
        assert get(proxy) == 200
        with busy(proxy):
            until(lambda: get(proxy) == 503, "strangers are turned away")
            assert proxy.call(lambda: proxy.board.shedding.pressure) > 0
        until(lambda: get(proxy) == 200, "they are let in again")
        until(lambda: proxy.call(lambda: proxy.board.shedding.pressure) == 0, "nobody is turned away", 20)
        assert get(proxy) == 200
        lanes = proxy.call(lambda: [lane.admission for lane in proxy.board.lanes.values()])
        assert lanes == [None]
        proxy.call(lag.stop)


def test_what_is_turned_away_is_told_counted_and_logged(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with proxied(settings=Settings(worker="test", table="", access_log=str(log))) as (proxy, origin):
        proxy.call(lambda: press(proxy, 1.0))
        with proxy.client() as client:
            answer = client.get("/")
            assert (answer.status, answer.header("Content-Type")) == (503, "application/problem+json")
            assert 1 <= int(answer.header("Retry-After") or 0) <= 5
            assert client.get("/", "Cookie: sessionid=known").status == 200
        assert len(origin.heads) == 1
        assert proxy.call(lambda: proxy.board.tally.counted("refusals")) == {("shed", ""): 1}
    assert [json.loads(line)["why"] for line in log.read_text().splitlines()] == ["shed", "unrouted"]


def press(proxy: Proxy, pressure: float) -> None:
    proxy.board.shedding.pressure = pressure
    proxy.board.lanes.clear()


def test_requests_go_in_the_order_of_their_importance() -> None:
    with proxied() as (proxy, _):
        for pressure, expected in [
            (0.0, [200, 200, 200, 200]),
            (1.0, [503, 200, 200, 200]),
            (2.0, [503, 503, 503, 200]),
            (3.0, [503, 503, 503, 503]),
        ]:
            proxy.call(lambda: press(proxy, pressure))  # noqa: B023
            shown = ["Cookie: sessionid=known", "Authorization: Basic a25vd246"]
            found = [get(proxy), *(get(proxy, each) for each in shown), get(proxy, method="DELETE")]
            assert found == expected


def test_probes_are_always_answered() -> None:
    with Origin() as origin:
        table = RoutingTable(
            version=1,
            upstreams={MONOLITH: (origin.url,)},
            reach={MONOLITH: Reach(health="/health", health_interval=60)},
        )
        with Proxy(SETTINGS, table) as proxy:
            proxy.call(lambda: press(proxy, 3.0))
            assert [get(proxy, target="/health"), get(proxy, target="/healthy")] == [200, 503]
