"""Routing tables reach every worker, by whichever way is open, and are told to have."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Self, cast

import psycopg
import pytest
import redis
import redis.asyncio

from strangler.capability import Data, Stage, State
from strangler.ledger.schema import upgrade
from strangler.local import Postgres, Valkey
from strangler.routing.hold import Hold
from strangler.routing.protect import Protect
from strangler.routing.table import MONOLITH, Capability, Route, RoutingTable, seal, unseal
from strangler_proxy.settings import Links
from strangler_proxy.subscription import Subscription
from strangler_proxy.switchboard import Switchboard
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import KEYS, SECRET, Client, Origin, ProxyProcess, Served
from tests.fixtures.waiting import until

PUT = """
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[1])
return redis.call('PUBLISH', ARGV[3], ARGV[2])
"""
TOML = """
[monolith]
endpoints = ["{monolith}"]
database = "$CONTROL"
[control]
database = "$CONTROL"
redis = "$REDIS"
secret = "$SECRET"
[proxy]
listen = ["127.0.0.1:{listen}"]
admin = "127.0.0.1:{admin}"
workers = 2
state = "state"
[service.catalog]
endpoints = ["{service}"]
database = "$CONTROL"
"""
WRITE = b"POST /api/catalog/1 HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n"
CAPABILITY = 'service = "catalog"\n[[route]]\npath = "/api/catalog"\n'


@dataclass
class Shop:
    """A project on disk, two stacks, and the hand that publishes for it."""

    folder: Path
    database: str
    redis: str
    monolith: Origin
    service: Origin

    @contextmanager
    def proxy(self, database: str | None = None, valkey: str | None = None) -> Iterator[ProxyProcess]:
        """A proxy of this project; both engines can be put elsewhere."""
        env = {"CONTROL": database or self.database, "REDIS": valkey or self.redis, "SECRET": SECRET}
        with ProxyProcess.project(self.folder / "strangler.toml", env) as proxy:
            yield proxy

    def table(self, version: int, share: int, hold: Hold | None = None, lease: float | None = None) -> bytes:
        capability = Capability(
            name="catalog",
            service="catalog",
            routes=(Route(path="/api/catalog"),),
            state=State(data=Data.NONE, share=share, stage=Stage.CANARY, epoch=version),
            protect=Protect(lease=lease),
            hold=hold,
        )
        upstreams = {MONOLITH: (self.monolith.url,), "catalog": (self.service.url,)}
        published = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=version)
        return seal(
            RoutingTable(version=version, upstreams=upstreams, capabilities=(capability,), published_at=published),
            KEYS.table,
        )

    def push(self, version: int, sealed: bytes) -> None:
        with redis.Redis.from_url(self.redis) as client:
            client.eval(PUT, 2, "strangler:table", "strangler:table:version", version, sealed, "strangler:tables")

    def store(self, version: int, sealed: bytes) -> None:
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(
                "insert into strangler.routing_table (version, sealed) values (%s, %s)", [version, sealed]
            )

    def seen(self) -> dict[str, int]:
        """Return each worker's version as the control database has it."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            return dict(connection.execute("select id, version from strangler.worker").fetchall())

    def held_by_postgres(self) -> list[tuple[int, int]]:
        """Return what each worker acknowledges of the catalog's hold: its id, and the writes under way."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            return words_of(held for (held,) in connection.execute("select held from strangler.worker"))

    def held_by_valkey(self) -> list[tuple[int, int]]:
        with redis.Redis.from_url(self.redis) as client:
            return words_of(json.loads(word).get("held", {}) for word in client.hgetall("strangler:workers").values())


def words_of(held: Iterable[dict[str, dict[str, int]]]) -> list[tuple[int, int]]:
    words = [each["catalog"] for each in held if each]
    return sorted((word["id"], word["in_flight"]) for word in words)


@pytest.fixture
def shop(database_url: str, valkey_url: str, tmp_path: Path) -> Iterator[Shop]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        upgrade(connection)
    with Origin() as monolith, Origin(name="service") as service:
        ports = {"listen": free_port(), "admin": free_port()}
        (tmp_path / "strangler.toml").write_text(TOML.format(monolith=monolith.url, service=service.url, **ports))
        folder = tmp_path / "migrations" / "catalog"
        folder.mkdir(parents=True)
        (folder / "capability.toml").write_text(CAPABILITY)
        yield Shop(tmp_path, database_url, valkey_url, monolith, service)


def answers(proxy: ProxyProcess) -> bytes:
    with Client(proxy.port) as client:
        return client.get("/api/catalog/1").body


def versions(proxy: ProxyProcess) -> set[tuple[int, str]]:
    return {(worker["version"], worker["source"]) for worker in proxy.status()["workers"]}


def test_a_push_is_acknowledged_by_every_worker_within_milliseconds(shop: Shop) -> None:
    with shop.proxy() as proxy, redis.Redis.from_url(shop.redis) as client:
        acks = client.pubsub(ignore_subscribe_messages=True)
        acks.subscribe("strangler:acks")
        until(lambda: client.hlen("strangler:workers") == 2, "both workers are known")
        assert answers(proxy) == b"monolith"
        took: list[float] = []
        for version in range(1, 21):
            sealed = shop.table(version, 10_000 if version % 2 else 0)
            started = time.perf_counter()
            shop.push(version, sealed)
            heard: set[str] = set()
            while len(heard) < 2:
                message = acks.get_message(timeout=5)
                if message is not None:
                    word = json.loads(message["data"])
                    if word["version"] == version:
                        heard.add(word["worker"])
            took.append(time.perf_counter() - started)
            assert answers(proxy) == (b"service" if version % 2 else b"monolith")
        assert sorted(took)[len(took) // 2] < 0.1
        acks.close()
        words = [json.loads(word) for word in client.hgetall("strangler:workers").values()]
        assert [word["version"] for word in words] == [20, 20]
        assert all(abs(word["seen_at"] - time.time()) < 60 for word in words)
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.end() == 0
        assert client.hlen("strangler:workers") == 0
        assert shop.seen() == {}


def test_a_lost_push_is_repaired_from_postgres(shop: Shop) -> None:
    with shop.proxy() as proxy:
        shop.store(1, shop.table(1, 10_000))
        until(lambda: versions(proxy) == {(1, "postgres")}, "both workers have looked")
        assert answers(proxy) == b"service"
        until(lambda: set(shop.seen().values()) == {1}, "both have said so")


def test_starts_with_the_newest_that_was_published(shop: Shop) -> None:
    shop.push(3, shop.table(3, 0))
    shop.store(4, shop.table(4, 10_000))
    with shop.proxy() as proxy:
        assert {version for version, _ in versions(proxy)} == {4}
        assert answers(proxy) == b"service"


def test_older_and_forged_tables_are_refused(shop: Shop) -> None:
    with shop.proxy() as proxy:
        shop.push(5, shop.table(5, 10_000))
        until(lambda: versions(proxy) == {(5, "valkey")}, "the table is in force")
        forged = seal(RoutingTable(version=6, upstreams={MONOLITH: (shop.monolith.url,)}), b"another key")
        shop.push(4, shop.table(4, 0))
        shop.push(6, forged)
        shop.push(6, shop.table(6, 0)[:-1])
        until(
            lambda: proxy.metric("strangler_proxy_routing_tables_refused_total") == {"": 4}, "both workers refuse both"
        )
        assert versions(proxy) == {(5, "valkey")}
        assert answers(proxy) == b"service"
        assert set(proxy.metric("strangler_proxy_routing_table_version").values()) == {5}
        proxy.process.send_signal(signal.SIGTERM)
        proxy.end()
        assert proxy.errors.count("was refused, version 5 stays: the seal does not match") == 4


def test_goes_on_without_valkey_then_without_postgres_then_from_disk(
    shop: Shop, postgres: Postgres, tmp_path: Path
) -> None:
    valkey_folder = tmp_path / "valkey"
    with Valkey(folder=valkey_folder, port=free_port()) as valkey, shop.proxy(valkey=valkey.url) as proxy:
        shop.redis = valkey.url
        shop.push(1, shop.table(1, 10_000))
        until(lambda: versions(proxy) == {(1, "valkey")}, "the table is in force")
        valkey.stop()
        until(lambda: proxy.status()["valkey"] is False, "it is noticed")
        assert answers(proxy) == b"service"
        shop.store(2, shop.table(2, 0))
        until(lambda: versions(proxy) == {(2, "postgres")}, "the other way is open")
        assert answers(proxy) == b"monolith"
        shop.store(3, shop.table(3, 10_000))
        until(lambda: versions(proxy) == {(3, "postgres")}, "and stays so")
        until(lambda: (tmp_path / "state" / "table").read_bytes() == shop.table(3, 10_000), "it is kept")
    nowhere = f"127.0.0.1:{free_port()}"
    with shop.proxy(database=f"postgresql://x@{nowhere}/x", valkey=f"redis://{nowhere}/0") as proxy:
        assert versions(proxy) == {(3, "disk")}
        status = proxy.status()
        assert (status["valkey"], status["postgres"]) == (False, False)
        assert answers(proxy) == b"service"


def test_an_engine_that_hangs_is_noticed_and_delays_nobody(shop: Shop, tmp_path: Path) -> None:
    with Valkey(folder=tmp_path / "valkey", port=free_port()) as valkey, shop.proxy(valkey=valkey.url) as proxy:
        until(lambda: proxy.status()["valkey"], "it is reached")
        assert valkey.process is not None
        os.kill(valkey.process.pid, signal.SIGSTOP)
        try:
            assert answers(proxy) == b"monolith"
            until(lambda: proxy.status()["valkey"] is False, "it is noticed")
            shop.store(1, shop.table(1, 10_000))
            until(lambda: answers(proxy) == b"service", "the other way is open")
        finally:
            os.kill(valkey.process.pid, signal.SIGCONT)
        until(lambda: proxy.status()["valkey"], "it is back")


def test_a_ledger_set_up_anew_wins_over_the_copy_on_disk(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "table").write_bytes(shop.table(50, 10_000))
    shop.store(1, shop.table(1, 0))
    with shop.proxy() as proxy:
        assert {version for version, _ in versions(proxy)} == {1}
        assert answers(proxy) == b"monolith"


def test_of_many_tables_in_a_burst_the_last_is_kept_on_disk(shop: Shop) -> None:
    with shop.proxy() as proxy:
        until(lambda: len(shop.seen()) == 2, "both workers are known")
        for version in range(1, 101):
            shop.push(version, shop.table(version, version))
        until(lambda: {version for version, _ in versions(proxy)} == {100}, "both route by the last")
        file = shop.folder / "state" / "table"
        until(lambda: unseal(file.read_bytes(), KEYS.table).version == 100, "the last is on disk")
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.end() == 0
        assert proxy.errors == ""
    assert [path.name for path in (shop.folder / "state").iterdir()] == ["table"]


@pytest.mark.parametrize("way", ["valkey", "postgres"])
def test_a_hold_is_acknowledged_when_the_last_write_has_ended(shop: Shop, way: str) -> None:
    """Whoever moves the owner waits for this, and everybody who writes waits for it meanwhile."""
    finish = threading.Event()

    def slowly(origin: Origin, served: Served) -> None:
        origin.heads.append(served.head())
        assert finish.wait(10)
        served.answer(b"done")

    shop.monolith.script = slowly
    held = shop.held_by_valkey if way == "valkey" else shop.held_by_postgres
    with shop.proxy() as proxy, Client(proxy.port) as client, Client(proxy.port) as late:
        until(lambda: len(shop.seen()) == 2, "both workers are known")
        client.send(WRITE)
        until(lambda: shop.monolith.heads, "a write is under way")
        if way == "valkey":
            shop.push(1, shop.table(1, 0, Hold(id=7)))
        else:
            shop.store(1, shop.table(1, 0, Hold(id=7)))
        until(lambda: held() == [(7, 0), (7, 1)], "one worker has nothing under way, the other has")
        late.send(WRITE)
        until(lambda: sum(proxy.metric("strangler_proxy_held").values()) == 1, "the next write waits")
        finish.set()
        assert client.response("POST").body == b"done"
        ended = time.monotonic()
        until(lambda: held() == [(7, 0), (7, 0)], "nothing is under way")
        assert time.monotonic() - ended < 0.5  # a beat would take up to a second
        shop.push(2, shop.table(2, 0))
        assert late.response("POST").body == b"done"
        until(lambda: held() == [], "there is nothing to acknowledge")
        assert proxy.metric("strangler_proxy_holds_total") == {'{capability="catalog",outcome="released"}': 1}


def waits(proxy: ProxyProcess) -> bool:
    """Return whether a write is not answered at once."""
    with Client(proxy.port) as client:
        client.send(WRITE)
        return not select.select([client.sock], [], [], 0.3)[0]


def test_a_worker_that_nobody_answers_holds_writes_by_its_own_clock(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "table").write_bytes(shop.table(1, 0, lease=3.0))
    nowhere = f"postgresql://x@127.0.0.1:{free_port()}/x"
    with Valkey(folder=tmp_path / "valkey", port=free_port()) as valkey:
        shop.redis = valkey.url
        valkey.stop()
        with shop.proxy(database=nowhere, valkey=shop.redis) as proxy, Client(proxy.port) as client:
            assert versions(proxy) == {(1, "disk")}
            client.send(WRITE)
            until(lambda: sum(proxy.metric("strangler_proxy_held").values()) == 1, "the write waits")
            assert answers(proxy) == b"monolith"
            valkey.start()
            until(lambda: proxy.status()["valkey"], "it is reached")
            assert waits(proxy)  # it was emptied, and knows of no table
            shop.push(2, shop.table(2, 0, lease=3.0))
            assert client.response("POST").status == 200
            until(lambda: not waits(proxy), "writes go on")
            valkey.stop()
            assert not waits(proxy)
            until(lambda: waits(proxy), "writes are held")


def test_a_proxy_that_ends_tells_those_whose_writes_wait(shop: Shop) -> None:
    shop.store(1, shop.table(1, 0, Hold(id=7)))
    with shop.proxy() as proxy, Client(proxy.port) as one, Client(proxy.port) as other:
        for client in (one, other):
            client.send(WRITE)
        until(lambda: sum(proxy.metric("strangler_proxy_held").values()) == 2, "both writes wait")
        proxy.process.send_signal(signal.SIGTERM)
        assert [client.response("POST").status for client in (one, other)] == [503, 503]
        assert proxy.end() == 0
    assert shop.monolith.heads == []


@dataclass
class LastWrites:
    """A worker's board with two writes under way: one ends a while after that was told, the other while it is told."""

    table: object = field(default_factory=lambda: SimpleNamespace(version=1))
    in_flight: int = 2
    told: int = 0
    ended_at: float = 0.0

    @property
    def holds(self) -> Self:
        return self

    def words(self) -> dict[str, dict[str, int]]:
        return {"catalog": {"id": 7, "in_flight": self.in_flight, "parked": 0}}

    def time(self) -> float:
        """Return the time, which is asked for as often as something is told."""
        loop = asyncio.get_running_loop()
        self.told += 1
        if self.told == 1:
            loop.call_later(0.2, self._end)
        elif self.in_flight == 1:
            loop.call_soon(self._end)
        return time.monotonic()

    def _end(self) -> None:
        self.in_flight -= 1
        self.ended_at = time.monotonic()


def test_a_last_write_that_ends_while_it_is_told_of_is_told_of_at_once(valkey_url: str) -> None:
    """Whoever moves the owner would else wait for the next beat, and all other writes with it."""
    assert asyncio.run(_seconds_until_told(valkey_url)) < 0.5


async def _seconds_until_told(valkey_url: str) -> float:
    board = LastWrites()
    subscription = Subscription(cast("Switchboard", board), "worker", Links(redis=valkey_url, secret=SECRET))
    async with redis.asyncio.Redis.from_url(valkey_url) as client, client.pubsub() as acks:
        await acks.subscribe("strangler:acks")
        await subscription.start(patience=10)
        try:
            async with asyncio.timeout(10):
                while (told := await acks.get_message(True, timeout=10)) is None or _in_flight(told["data"]):
                    pass
        finally:
            await subscription.stop()
        return time.monotonic() - board.ended_at


def _in_flight(word: bytes) -> int:
    return int(json.loads(word)["held"]["catalog"]["in_flight"])
