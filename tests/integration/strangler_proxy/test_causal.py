"""Visitors who write and read through a real proxy, between two real databases whose streams lag by up to two seconds.

A stack is a server here that keeps each visitor's last number in a book's title, and tells the position of what it
writes. Lag is made by locks that the applier waits for, and readers do not.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import pytest

from strangler.ledger import Publisher
from strangler.project import load
from strangler.sync.fencing import STATE
from tests.fixtures.books import Shop
from tests.fixtures.command import printed_json
from tests.fixtures.moving import UNSEEN
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import Client, Origin, ProxyProcess, Served
from tests.fixtures.waiting import until

WHY: Final = ("--reason", "trying")
VISITORS: Final = 16
FOR_S: Final = 10.0
LAG_S: Final = 2.0
FIRST: Final = 10_000  # the ids of the visitors' books


class Stack:
    """Answers ``GET /books/ID`` with the number in the book's title, and ``POST /books/ID`` by setting it."""

    def __init__(self, database: str, *, tells: bool = True) -> None:
        self._database = database
        self._tells = tells
        self._own = threading.local()

    def __call__(self, origin: Origin, served: Served) -> None:
        with psycopg.connect(self._database, autocommit=True) as connection:
            while True:
                head = served.head()
                method, target = head.split(b" ", 2)[:2]
                number = int(target.rpartition(b"/")[2])
                assert b"strangler_" not in head
                assert b"Strangler-Position" not in head
                if method == b"GET":
                    served.answer(self._read(connection, number), f"X-Stack: {origin.name}")
                else:
                    self._write(connection, number, served.body(head).decode(), served)

    def _read(self, connection: psycopg.Connection, book: int) -> bytes:
        row = connection.execute("select title from book where id = %s", [book]).fetchone()
        return b"0" if row is None else str(row[0]).rpartition(" ")[2].encode()

    def _write(self, connection: psycopg.Connection, book: int, number: str, served: Served) -> None:
        try:
            connection.execute(
                "insert into book values (%s, 1, %s) on conflict (id) do update set title = excluded.title",
                [book, f"Of {book} {number}"],
            )
        except psycopg.Error as exc:
            if exc.sqlstate != STATE:
                raise
            served.answer(b"", status="503 Fenced")
            return
        [position] = connection.execute("select pg_current_wal_insert_lsn()").fetchone() or ("",)
        served.answer(b"", *([f"Strangler-Position: {position}"] if self._tells else []))


@dataclass
class Visitor:
    """Writes and reads its own book, and keeps cookies as a browser does, but for those it is told to forget."""

    port: int
    book: int
    forgets: bool = False
    cookies: dict[str, str] = field(default_factory=dict)
    written: int = 0
    reads: int = 0
    stale: list[str] = field(default_factory=list)

    def visit(self, until_s: float) -> Visitor:
        chance = random.Random(self.book)
        with Client(self.port) as client:
            while time.monotonic() < until_s:
                if chance.random() < 0.2:
                    self.write(client)
                self.read(client)
        return self

    def write(self, client: Client) -> None:
        answer = client.post(f"/books/{self.book}", str(self.written + 1).encode(), *self._lines())
        assert answer.status in (200, 503), answer
        self._keep(answer.all("set-cookie"))
        self.written += answer.status == 200
        assert answer.header("strangler-position") is None

    def read(self, client: Client) -> None:
        answer = client.get(f"/books/{self.book}", *self._lines())
        assert answer.status == 200, answer
        self._keep(answer.all("set-cookie"))
        self.reads += 1
        if int(answer.body) < self.written:
            self.stale.append(f"{int(answer.body)} of {self.written} from {answer.header('x-stack')}")

    def _lines(self) -> list[str]:
        return ["Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items())] * bool(self.cookies)

    def _keep(self, lines: list[str]) -> None:
        for line in lines:
            name, _, value = line.partition(";")[0].partition("=")
            if name.startswith("strangler_causal_") and self.forgets:
                continue
            self.cookies.pop(name, None)
            if "Max-Age=0" not in line:
                self.cookies[name] = value


@dataclass
class Site:
    """A proxy before both stacks, in stage canary at a share of 50 %."""

    shop: Shop
    proxy: ProxyProcess

    def visitors(self, count: int, *, forget: bool = False, seconds: float = FOR_S) -> list[Visitor]:
        until_s = time.monotonic() + seconds
        chosen = [Visitor(self.proxy.port, FIRST + number, forgets=forget) for number in range(count)]
        with ThreadPoolExecutor(count) as hands:
            return list(hands.map(lambda each: each.visit(until_s), chosen))

    def counted(self, outcome: str) -> float:
        found = self.proxy.metric("strangler_proxy_causal_reads_total")
        return sum(number for labels, number in found.items() if f'outcome="{outcome}"' in labels)


@contextmanager
def lagging(*databases: str) -> Iterator[None]:
    """Have streams into ``databases`` wait for a lock, again and again, for up to two seconds."""
    over = threading.Event()

    def lag(database: str) -> None:
        chance = random.Random(database)
        with psycopg.connect(database) as connection:
            while not over.is_set():
                with connection.transaction():
                    connection.execute("lock table book in exclusive mode")  # readers pass
                    over.wait(chance.uniform(0, LAG_S))
                over.wait(0.2)

    threads = [threading.Thread(target=lag, args=(each,)) for each in databases]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def site(shop: Shop, *, tells: bool = True) -> Iterator[Site]:
    forward = shop.pair.forward
    ports = free_port(), free_port()
    with (
        Origin(Stack(forward.source_url, tells=tells), "monolith") as monolith,
        Origin(Stack(forward.target_url, tells=tells), "service") as service,
    ):
        text = (
            shop.file.read_text().replace("http://127.0.0.1:1", monolith.url).replace("http://127.0.0.1:2", service.url)
        )
        listen = f'[proxy]\nlisten = ["127.0.0.1:{ports[0]}"]\nadmin = "127.0.0.1:{ports[1]}"\nworkers = 2\n'
        shop.file.write_text(text.replace("[proxy]\n", listen))
        project = load(shop.file)
        with Publisher.open(project) as publisher:
            publisher.enrol(project, who="ann", reason="stacks", wait_s=None)
        shop("start")
        with shop.running():
            assert shop("backfill", "--inline")[0] == 0
            with ProxyProcess.project(shop.file, {}) as proxy:
                until(lambda: len(proxy.workers()) == 2, "both workers are there")
                assert shop.say("set", "books", "--reads", "50%", *WHY)[0] == 0
                yield Site(shop, proxy)


@pytest.mark.slow
def test_nobody_reads_what_is_older_than_their_own_last_write(shop: Shop) -> None:
    forward = shop.pair.forward
    with site(shop) as found:
        with lagging(forward.target_url):
            careless = found.visitors(VISITORS, forget=True, seconds=3)
            assert any(each.stale for each in careless), "the lag shows where nothing is carried"
            visitors = found.visitors(VISITORS)
        assert [each.stale for each in visitors if each.stale] == []
        assert all(each.written and each.reads > each.written for each in visitors)
        diverted = found.counted("diverted")
        assert 0 < diverted < sum(each.reads for each in visitors)
        by_causal = found.proxy.metric("strangler_proxy_requests_total")
        assert sum(number for labels, number in by_causal.items() if 'why="causal"' in labels) == diverted
        moved = _while_it_moves(found)
        assert [each.stale for each in moved if each.stale] == []


def _while_it_moves(found: Site) -> list[Visitor]:
    """Have the owner move there and back while everybody writes and reads, and the stream away from it lags."""
    shop = found.shop
    with ThreadPoolExecutor(1) as hand:
        visits: Any = hand.submit(found.visitors, VISITORS, seconds=12)
        for verb in ("cutover", "rollback"):
            moved = printed_json(shop.say(verb, "books", *WHY, *UNSEEN[verb], "--json"))
            assert moved["end"] == "moved", json.dumps(moved)
            into = shop.pair.forward.source_url if verb == "cutover" else shop.pair.forward.target_url
            assert shop.say("set", "books", "--reads", "50%", *WHY)[0] == 0
            with lagging(into):
                time_is_up = time.monotonic() + LAG_S
                until(lambda end=time_is_up: time.monotonic() > end, "they wrote and read", 5)  # type: ignore[misc]
        done: list[Visitor] = visits.result()
        return done
