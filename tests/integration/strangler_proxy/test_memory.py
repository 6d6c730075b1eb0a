"""A worker's memory does not grow with what has gone through it."""

from __future__ import annotations

from tests.bench.soak import soak


def test_memory_stays_as_it_is_over_requests_and_connections() -> None:
    found = soak(50_000, 5_000)
    assert found.failed == 0
    assert found.growth < 2 << 20, str(found)
