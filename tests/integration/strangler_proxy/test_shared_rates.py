"""Workers that count together what clients ask."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from strangler.local import Valkey
from strangler.project.limits import Rate
from strangler_proxy.settings import Links, Settings
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import SECRET, Origin, Proxy, routing_table
from tests.fixtures.waiting import until

RATE = Rate(name="slow", requests=1, per=3600.0, burst=10, shared=True)


@contextmanager
def two(url: str, rate: Rate = RATE) -> Iterator[tuple[Proxy, Proxy]]:
    settings = Settings(worker="test", table="", rates=(rate,), links=Links(redis=url, secret=SECRET))
    with Origin() as origin:
        table = routing_table(origin.url)
        with Proxy(settings, table) as one, Proxy(settings, table) as other:
            yield one, other


def get(proxy: Proxy) -> int:
    with proxy.client() as client:
        return client.get("/").status


def words(proxy: Proxy, outcome: str) -> int:
    counted: dict[tuple[str, ...], int] = proxy.call(lambda: proxy.board.tally.counted("shared_rates"))
    return counted.get((outcome,), 0)


def get_and_tell(proxy: Proxy) -> int:
    """Return the status of a request, when all may know of it."""
    before = words(proxy, "told")
    status = get(proxy)
    if status == 200:
        until(lambda: words(proxy, "told") > before, "it is told")
    return status


def test_two_workers_let_a_client_through_as_often_as_one(valkey_url: str) -> None:
    with two(valkey_url) as (one, other):
        found = [get_and_tell(proxy) for _ in range(10) for proxy in (one, other)]
    # Each learns with its own request what the other has let through: the last one may be too much.
    assert found.count(200) in (10, 11)
    assert found[:10] == [200] * 10
    assert set(found[11:]) == {429}


def test_whoever_was_let_through_too_often_owes_it(valkey_url: str) -> None:
    with two(valkey_url) as (one, other):
        assert [get(one) for _ in range(10)] == [200] * 10
        until(lambda: words(one, "told"), "it is told")
        assert get_and_tell(other) == 200  # it knew nothing of it
        until(lambda: get(other) == 429, "it knows")
        with other.client() as client:
            assert int(client.get("/").header("Retry-After") or 0) > 3600  # the eleventh is paid before


def test_what_valkey_keeps_is_nobodys_address_and_does_not_stay(valkey_url: str) -> None:
    with two(valkey_url) as (one, _), redis.Redis.from_url(valkey_url) as client:
        get_and_tell(one)
        (key,) = client.keys("strangler:rate:*")
        assert key.startswith(b"strangler:rate:slow:")
        assert b"127.0.0.1" not in key
        assert 3_500_000 < client.pttl(key) <= 3_600_000


def test_while_valkey_is_away_each_counts_for_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        Valkey(folder=tmp_path / "valkey", port=free_port()) as valkey,
        caplog.at_level(logging.WARNING),
        two(valkey.url) as (one, other),
    ):
        assert get_and_tell(one) == 200
        assert valkey.process is not None
        valkey.process.kill()
        valkey.process.wait(10)
        found = [get(proxy) for _ in range(12) for proxy in (one, other)]
        assert [found[::2].count(200), found[1::2].count(200)] == [9, 10]
        until(lambda: words(one, "failed"), "it is counted")
        valkey.stop()
        valkey.start()
        other.call(lambda: other.board.meters[0].spend("192.0.2.1", other.board.meters[0].ask("192.0.2.1", 0)))
        until(lambda: words(other, "told"), "they count together again")
    said = [record.getMessage() for record in caplog.records]
    assert len([each for each in said if "each worker counts for itself" in each]) == 2  # once in each


def test_a_worker_with_nothing_to_tell_does_not_ask(valkey_url: str) -> None:
    with two(valkey_url, Rate(name="alone", requests=1, per=3600.0)) as (one, _):
        assert get(one) == 200
        with redis.Redis.from_url(valkey_url) as client:
            assert client.keys("*") == []
