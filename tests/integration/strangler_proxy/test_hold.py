"""Writes that wait while their owner moves, over real connections."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from time import monotonic

import pytest

from strangler.capability import BORN, State
from strangler.project.limits import Limits, Rate
from strangler.routing.hold import Hold
from strangler.routing.protect import Protect
from strangler.routing.table import Capability, Kind, Route, RoutingTable
from strangler_proxy.settings import Settings
from tests.fixtures.proxy import (
    SETTINGS,
    Client,
    Origin,
    Proxy,
    Response,
    Script,
    Served,
    keep_answering,
    routing_table,
)
from tests.fixtures.waiting import until


@dataclass
class Stage:
    """Both stacks of one capability, and two workers before them."""

    monolith: Origin
    service: Origin
    workers: list[Proxy]
    version: int = 1

    def table(
        self, hold: Hold | None = None, state: State | None = None, protect: Protect | None = None
    ) -> RoutingTable:
        capability = Capability(
            name="catalog",
            service="catalog",
            routes=(Route(path="/api/catalog"), Route(path="/api/catalog/live", kind=Kind.WRITES)),
            state=state or State(),
            protect=protect or Protect(),
            hold=hold,
        )
        other = Capability(name="reviews", service="catalog", routes=(Route(path="/api/reviews"),))
        return routing_table(self.monolith.url, [capability, other], self.version, catalog=self.service.url)

    def publish(self, hold: Hold | None = None, state: State | None = None, protect: Protect | None = None) -> None:
        self.version += 1
        table = self.table(hold, state, protect)
        for worker in self.workers:
            assert worker.call(lambda worker=worker: worker.board.adopt(table))  # type: ignore[misc]

    def words(self) -> list[dict[str, dict[str, int]]]:
        return [worker.call(worker.board.holds.words) for worker in self.workers]

    def outcomes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for worker in self.workers:
            for (_, outcome), count in worker.call(lambda: worker.board.tally.counted("holds")).items():  # noqa: B023
                found[outcome] = found.get(outcome, 0) + count
        return found

    def parked(self) -> int:
        return sum(count for worker in self.workers for _, count in worker.call(worker.board.holds.waiting))


@contextmanager
def staged(script: Script = keep_answering, settings: Settings = SETTINGS, workers: int = 2) -> Iterator[Stage]:
    with Origin(script) as monolith, Origin(name="service") as service, ExitStack() as stack:
        stage = Stage(monolith, service, [])
        for _ in range(workers):
            stage.workers.append(stack.enter_context(Proxy(settings, stage.table())))
        yield stage


class Asking(threading.Thread):
    """A client that posts, and waits for the answer in a thread of its own."""

    def __init__(self, worker: Proxy, target: str = "/api/catalog/1", body: bytes = b"price=1") -> None:
        super().__init__()
        self.client = worker.client()
        self._target, self._body = target, body
        self.response: Response | None = None
        self.start()

    def run(self) -> None:
        with self.client:
            self.response = self.client.post(self._target, self._body)

    def answer(self) -> Response:
        self.join(10)
        assert self.response is not None
        return self.response


HOLD = Hold(id=7, seconds=30.0)


def test_held_writes_wait_and_go_to_the_owner_of_then() -> None:
    with staged() as stage:
        stage.publish(HOLD)
        asking = [Asking(worker) for worker in stage.workers]
        until(lambda: stage.parked() == 2, "both writes wait")
        assert stage.monolith.heads == []
        assert stage.words() == [{"catalog": {"id": 7, "in_flight": 0, "parked": 1}}] * 2
        stage.publish(state=BORN)
        assert [each.answer().body for each in asking] == [b"service", b"service"]
        assert stage.service.bodies == [b"price=1", b"price=1"]
        assert stage.monolith.heads == []
        assert (stage.words(), stage.outcomes()) == ([{}, {}], {"released": 2})
        in_flight = [worker.call(lambda: worker.board.tally.snapshot())["in_flight_by"] for worker in stage.workers]  # noqa: B023
        assert [dict(each)["catalog"] for each in in_flight] == [0, 0]


class Writing(threading.Thread):
    """A client that writes one thing after the other until it is told to stop, and notes what was answered."""

    def __init__(self, worker: Proxy, who: str, stop: threading.Event) -> None:
        super().__init__()
        self._worker, self._who, self._until = worker, who, stop
        self.answered: list[tuple[bytes, bytes]] = []
        self.start()

    def run(self) -> None:
        with self._worker.client() as client:
            while not self._until.is_set():
                body = f"{self._who}-{len(self.answered)}".encode()
                response = client.post("/api/catalog/1", body)
                assert response.status == 200
                self.answered.append((body, response.body))


def test_under_traffic_nothing_is_lost_or_doubled_or_comes_to_the_former_owner() -> None:
    stop = threading.Event()
    with staged() as stage:
        writing = [Writing(stage.workers[number % 2], str(number), stop) for number in range(6)]
        until(lambda: len(stage.monolith.bodies) > 100, "writes go to the monolith")
        stage.publish(HOLD)
        until(lambda: [word["catalog"]["in_flight"] for word in stage.words()] == [0, 0], "none is under way")
        before = len(stage.monolith.bodies)
        until(lambda: stage.parked() == 6, "all wait")
        stage.publish(state=BORN)
        until(lambda: len(stage.service.bodies) > 100, "writes go to the service")
        stop.set()
        for each in writing:
            each.join(10)
        assert len(stage.monolith.bodies) == before
    answered = sorted(answer for each in writing for answer in each.answered)
    came = [(body, b"monolith") for body in stage.monolith.bodies] + [
        (body, b"service") for body in stage.service.bodies
    ]
    assert answered == sorted(came)


def test_a_hold_that_is_given_up_sends_them_where_they_would_have_gone() -> None:
    with staged() as stage:
        stage.publish(HOLD)
        asking = Asking(stage.workers[0])
        until(lambda: stage.parked() == 1, "the write waits")
        stage.publish()
        assert asking.answer().body == b"monolith"


def test_reads_and_other_capabilities_go_on() -> None:
    with staged() as stage:
        stage.publish(HOLD)
        with stage.workers[0].client() as client:
            assert client.get("/api/catalog/1").body == b"monolith"
            assert client.post("/api/reviews", b"fine").body == b"monolith"
            assert client.post("/elsewhere", b"fine").body == b"monolith"


def test_a_worker_acknowledges_when_its_last_write_has_ended() -> None:
    answer = threading.Event()

    def slowly(origin: Origin, served: Served) -> None:
        head = served.head()
        origin.heads.append(head)
        served.body(head)
        assert answer.wait(10)
        served.answer(b"done")

    with staged(slowly) as stage:
        writing = Asking(stage.workers[0])
        until(lambda: stage.monolith.heads, "the write is under way")
        stage.publish(HOLD)
        assert [word["catalog"]["in_flight"] for word in stage.words()] == [1, 0]
        late = Asking(stage.workers[0])
        until(lambda: stage.parked() == 1, "the next one waits")
        assert stage.words()[0]["catalog"] == {"id": 7, "in_flight": 1, "parked": 1}
        answer.set()
        assert writing.answer().body == b"done"
        until(lambda: stage.words()[0]["catalog"]["in_flight"] == 0, "nothing is under way")
        stage.publish(state=BORN)
        assert late.answer().body == b"service"


def test_a_tunnel_that_a_write_has_opened_is_under_way_until_it_ends() -> None:
    agreed = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    def agree(origin: Origin, served: Served) -> None:
        served.head()
        served.send(agreed)
        while served.sock.recv(65536):
            pass

    with staged(agree, workers=1) as stage:
        stage.publish()
        with stage.workers[0].client() as client:
            client.send(
                b"GET /api/catalog/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Key: k\r\n\r\n"
            )
            assert client.line().startswith(b"HTTP/1.1 101")
            stage.publish(HOLD)
            assert stage.words()[0]["catalog"]["in_flight"] == 1
        until(lambda: stage.words()[0]["catalog"]["in_flight"] == 0, "it has ended")


def test_a_hold_that_another_follows_goes_on() -> None:
    with staged() as stage:
        stage.publish(HOLD)
        asking = Asking(stage.workers[0])
        until(lambda: stage.parked() == 1, "the write waits")
        stage.publish(Hold(id=9))
        assert stage.words()[0] == {"catalog": {"id": 9, "in_flight": 0, "parked": 1}}
        stage.publish()
        assert asking.answer().status == 200


def problem(response: Response) -> tuple[int, str | None, str]:
    return response.status, response.header("Retry-After"), json.loads(response.body)["title"]


def test_whoever_is_too_many_is_told_to_come_again() -> None:
    with staged(workers=1) as stage:
        stage.publish(Hold(id=7, count=1, seconds=30.0))
        first = Asking(stage.workers[0])
        until(lambda: stage.parked() == 1, "the first waits")
        with stage.workers[0].client() as client:
            assert problem(client.post("/api/catalog/1", b"")) == (503, "1", "Service Unavailable")
        stage.publish()
        assert first.answer().status == 200
        assert stage.outcomes() == {"overflow": 1, "released": 1}
        board = stage.workers[0].board
        assert stage.workers[0].call(lambda: board.tally.counted("refusals")) == {("hold", "catalog"): 1}


def test_whoever_writes_to_what_is_read_only_is_told_so_at_once() -> None:
    with staged(workers=1) as stage:
        stage.publish(Hold(id=7, count=0))
        with stage.workers[0].client() as client:
            refused = client.post("/api/catalog/1", b"")
            assert problem(refused) == (503, "30", "Service Unavailable")
            assert b"only read; ask again later" in refused.body
            assert client.get("/api/catalog/1").status == 200
        stage.publish()
        with stage.workers[0].client() as client:
            assert client.post("/api/catalog/1", b"").status == 200


def test_bodies_that_wait_are_bounded_together() -> None:
    with staged(workers=1) as stage:
        stage.publish(Hold(id=7, bytes=10_000, seconds=30.0))
        small = Asking(stage.workers[0], body=b"x" * 4000)
        until(lambda: stage.parked() == 1, "the small one waits")
        with stage.workers[0].client() as client:
            client.send(
                b"POST /api/catalog/1 HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 50000\r\n\r\n" + b"x" * 1000
            )
            until(lambda: stage.parked() == 2, "the large one waits")
            client.send(b"x" * 20_000)
            refused = client.response("POST")
            assert (problem(refused)[0], refused.header("Connection")) == (503, "close")
        stage.publish()
        assert small.answer().status == 200
        assert stage.monolith.bodies == [b"x" * 4000]


def test_a_body_that_comes_while_it_waits_arrives_whole() -> None:
    with staged(workers=1) as stage, stage.workers[0].client() as client:
        stage.publish(HOLD)
        client.send(
            b"POST /api/catalog/1 HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        until(lambda: stage.parked() == 1, "the write waits")
        client.send(b"4\r\ndefg\r\n")
        stage.publish(state=BORN)
        client.send(b"2\r\nhi\r\n0\r\n\r\n")
        assert client.response("POST").body == b"service"
        assert stage.service.bodies == [b"abcdefghi"]
        assert client.get("/api/catalog/1").status == 200


def test_nobody_waits_for_ever() -> None:
    with staged(workers=1) as stage, stage.workers[0].client() as client:
        stage.publish(Hold(id=7, seconds=0.1))
        started = monotonic()
        assert problem(client.post("/api/catalog/1", b"price=1")) == (503, "1", "Service Unavailable")
        assert monotonic() - started >= 0.1
        assert client.get("/api/catalog/1").status == 200  # over the same connection
        assert stage.outcomes() == {"timeout": 1}
        assert stage.monolith.bodies == [b""]


def reset(client: Client) -> None:
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("how", [reset, lambda client: None], ids=["reset", "closed"])
def test_a_client_that_leaves_is_let_go(how: Callable[[Client], None]) -> None:
    with staged(workers=1) as stage:
        stage.publish(HOLD)
        with stage.workers[0].client() as client:
            client.send(b"POST /api/catalog/1 HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\n\r\nx")
            until(lambda: stage.parked() == 1, "the write waits")
            how(client)
        until(lambda: stage.parked() == 0, "the write is let go")
        stage.publish()
        until(lambda: not stage.workers[0].board.watched, "the connection is gone")
        assert stage.outcomes() == {"left": 1}
        assert stage.monolith.heads == []


def test_a_worker_that_ends_tells_those_who_wait() -> None:
    with staged(workers=1) as stage, stage.workers[0].client() as late:
        stage.publish(HOLD)
        asking = Asking(stage.workers[0])
        until(lambda: stage.parked() == 1, "the write waits")
        stage.workers[0].call(stage.workers[0].board.drain)
        told = asking.answer()
        assert (problem(told)[0], told.header("Connection")) == (503, "close")
        assert late.post("/api/catalog/1", b"").status == 503
        assert stage.outcomes() == {"stopped": 2}


def test_waiting_is_not_counted_against_a_request() -> None:
    """A capability's timeout is for the stacks; and a write that waited has paid already."""
    rate = Rate(name="one", requests=1, per=3600.0)
    settings = Settings(worker="test", table="", rates=(rate,))
    with staged(settings=settings, workers=1) as stage:
        stage.publish(HOLD, protect=Protect(timeout=1.0))
        asking = Asking(stage.workers[0])
        until(lambda: stage.parked() == 1, "the write waits")
        begun = monotonic()
        until(lambda: monotonic() > begun + 1.2, "the timeout is over")
        stage.publish(state=BORN, protect=Protect(timeout=1.0))
        answer = asking.answer()
        assert (answer.body, answer.header("RateLimit")) == (b"service", '"one";r=0;t=3600')


def test_a_worker_that_hears_nothing_holds_by_its_own_clock() -> None:
    with staged(workers=1) as stage:
        worker = stage.workers[0]
        holds = worker.board.holds
        stage.publish(protect=Protect(lease=60.0))
        asking = Asking(worker)
        until(lambda: stage.parked() == 1, "the write waits")
        with worker.client() as client:
            assert client.get("/api/catalog/1").body == b"monolith"
        assert stage.words() == [{}]
        worker.call(lambda: holds.heard(monotonic()))
        assert asking.answer().body == b"monolith"
        assert Asking(worker).answer().status == 200
        assert stage.outcomes() == {"released": 1}


def test_a_write_whose_turn_comes_when_the_lease_is_over_is_not_sent() -> None:
    free = threading.Event()

    def slow(origin: Origin, served: Served) -> None:
        while True:
            origin.heads.append(served.head())
            if len(origin.heads) == 1:
                free.wait(20)
            served.answer()

    capability = Capability(
        name="catalog",
        service="catalog",
        routes=(Route(path="/api/catalog"),),
        state=State(),
        protect=Protect(lease=3.0),
    )
    one_at_a_time = replace(SETTINGS, limits=Limits(connections=1))
    with (
        Origin(slow) as stack,
        Proxy(one_at_a_time, routing_table(stack.url, [capability], catalog=stack.url)) as proxy,
    ):
        proxy.call(lambda: proxy.board.holds.heard(monotonic()))
        with proxy.client() as first, proxy.client() as second:
            first.send(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: stack.heads, "the only connection is taken")
            second.send(b"POST /api/catalog HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            parking = proxy.board.holds.parking("catalog")
            assert parking is not None
            until(lambda: proxy.board.holds.closed(parking), "the lease is over")
            free.set()
            assert (first.response().status, second.response().status) == (200, 503)
        assert len(stack.heads) == 1


def test_a_lane_of_what_is_not_held_has_nothing_to_ask() -> None:
    with staged(workers=1) as stage, stage.workers[0].client() as client:
        stage.publish(protect=Protect(lease=60.0))
        client.get("/api/catalog/1")
        client.post("/api/reviews", b"")
        board = stage.workers[0].board
        assert [lane.admission for lane in stage.workers[0].call(lambda: list(board.lanes.values()))] == [None, None]
