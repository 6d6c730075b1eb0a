"""Replicas under load: the proxy finds those that were added, and misses none of those that go."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.compose.running import COMPOSE, Running
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow


@contextmanager
def readers(address: str, number: int = 4) -> Iterator[Counter[str]]:
    """Have clients read products, and count what they are told: a status, or an error's name."""
    over, told = threading.Event(), Counter[str]()

    def read(first: int) -> None:
        with httpx.Client(base_url=address, timeout=10) as client:
            product = first
            while not over.wait(0.02):
                product = product % 400 + 1
                try:
                    told[str(client.get(f"/api/catalog/products/{product}/").status_code)] += 1
                except httpx.HTTPError as exc:
                    told[type(exc).__name__] += 1

    reading = [threading.Thread(target=read, args=(each * 100,)) for each in range(number)]
    for each in reading:
        each.start()
    try:
        yield told
    finally:
        over.set()
        for each in reading:
            each.join()


def answered(running: Running, container: str) -> int:
    """Return how many requests for products a container has logged."""
    said = running.engine.call("logs", container)
    return (said.stdout + said.stderr).count("/api/catalog/products/")


def test_replicas_are_found_and_one_that_is_stopped_costs_no_request(running: Running) -> None:
    with running.shares("catalog", "100%"), readers(running.address) as told:
        before = set(running.engine.containers("catalog"))
        running.engine.up([COMPOSE], ["catalog"], "--no-deps", "--scale", "catalog=3")
        replicas = running.engine.containers("catalog")
        assert len(replicas) == 3
        until(lambda: all(answered(running, each) > 20 for each in replicas), "all three answer", seconds=40)
        added = sorted(set(replicas) - before)
        for replica in added:
            running.engine.call("stop", "--time", "30", replica)
        stopped = told.total()
        until(lambda: told.total() > stopped + 100, "the one that is left answers", seconds=30)
    for replica in added:
        running.engine.call("rm", "--force", replica)
    # A product that is not for sale has none.
    assert set(told) <= {"200", "404"}, told
    assert told["200"] > 300
