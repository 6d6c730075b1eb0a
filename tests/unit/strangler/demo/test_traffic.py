"""Visitors as a server sees them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from strangler.demo.script import Tour
from strangler.demo.traffic import COHORT_EVERY, Ask, Crowd, Traffic

TOUR = Tour(
    capability="search", cohort="beta", cohort_header=("X-Beta", "1"), paths=("/search?q=a",), others=("/other",)
)
RUN = "89abcdef"


class Origin:
    """Answers everything with 200 and a visitor's cookie, and keeps the heads that came."""

    def __init__(self, status: str = "200 OK") -> None:
        self.heads: list[dict[str, str]] = []
        self._answer = (
            f"HTTP/1.1 {status}\r\nContent-Length: 2\r\nSet-Cookie: other=1\r\n"
            "Set-Cookie: strangler_visitor=it.signed; Path=/; HttpOnly\r\n\r\nok"
        ).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().strip():
            head = {":target": line.split()[1]}
            while field := (await reader.readline()).decode().strip():
                name, _, value = field.partition(": ")
                head[name.lower()] = value
            self.heads.append(head)
            writer.write(self._answer)
        writer.close()


@asynccontextmanager
async def visited(origin: Origin) -> AsyncIterator[Traffic]:
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Traffic(f"http://127.0.0.1:{port}", TOUR, RUN) as traffic:
        yield traffic


async def crowd_of(size: int, origin: Origin, *, cohort: bool = False) -> Crowd:
    async with visited(origin) as traffic:
        crowd = traffic.come(size, cohort=cohort)
        await crowd.done.wait()
        after = len(traffic.crowds)
        assert after > crowd.number
    return crowd


def test_a_crowd_is_as_large_as_asked_and_every_answer_is_known() -> None:
    origin = Origin()
    crowd = asyncio.run(crowd_of(300, origin))
    first = [ask for ask in crowd.answered if ask.visit == 0]
    assert (crowd.come, crowd.gone, len(first), len({ask.visitor for ask in first})) == (300, 300, 300, 300)
    assert crowd.failures == []
    assert len(crowd.milliseconds) == crowd.requests


def test_visitors_are_new_and_those_who_return_bring_what_they_are_known_by() -> None:
    origin = Origin()
    crowd = asyncio.run(crowd_of(400, origin))
    asked = [
        (Ask.of(head["traceparent"].split("-")[1]), head) for head in origin.heads if head[":target"] == "/search?q=a"
    ]
    mine = [(ask, head) for ask, head in asked if ask.crowd == crowd.number]
    assert all("cookie" not in head for ask, head in mine if ask.visit == 0)
    again = [(ask, head) for ask, head in mine if ask.visit == 1]
    assert len(again) > 10
    assert {head["cookie"] for _, head in again} == {"strangler_visitor=it.signed"}
    assert {head["authorization"] for _, head in mine if "authorization" in head} == set(crowd.credentials.values())
    assert len(crowd.credentials) > 10
    assert set(crowd.tokens.values()) == {"it.signed"}


def test_traffic_is_mixed() -> None:
    origin = Origin()
    asyncio.run(crowd_of(400, origin, cohort=True))
    targets = Counter(head[":target"] for head in origin.heads)
    assert targets.keys() == {"/search?q=a", "/other"}
    members = {head["traceparent"] for head in origin.heads if "x-beta" in head and "traceparent" in head}
    assert members
    assert {Ask.of(trace.split("-")[1]).visitor % COHORT_EVERY for trace in members} == {0}
    assert any(head.get("connection") == "close" for head in origin.heads)


def test_a_bad_status_is_a_failure() -> None:
    crowd = asyncio.run(crowd_of(20, Origin("503 Service Unavailable")))
    assert set(crowd.failures) <= {"/search?q=a: status 503", "/other: status 503"}
    assert len(crowd.failures) == crowd.requests


def test_a_connection_that_is_refused_is_a_failure() -> None:
    async def nobody_answers() -> Crowd:
        server = await asyncio.start_server(Origin().serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        async with Traffic(f"http://127.0.0.1:{port}", TOUR, RUN) as traffic:
            crowd = traffic.come(20)
            await crowd.done.wait()
        return crowd

    crowd = asyncio.run(nobody_answers())
    assert len(crowd.failures) == crowd.requests
    assert crowd.answered == []
    assert "ConnectError" in crowd.failures[0]
