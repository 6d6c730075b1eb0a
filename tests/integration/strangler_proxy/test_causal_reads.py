"""What a worker does with positions that stacks tell, and with reads whose stack may lack what was written."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from strangler.capability import WHOLE, Data, Stack, Stage, State
from strangler.routing.causal import LIFE_S, Mark, Token, read_token, sign_token
from strangler.routing.protect import Protect
from strangler.routing.table import Capability, Route
from tests.fixtures.proxy import KEYS, SETTINGS, Client, Origin, Proxy, Response, Served, routing_table
from tests.fixtures.waiting import until

CANARY = State(stage=Stage.CANARY, data=Data.STREAMED, share=WHOLE)
MOVED = State(stage=Stage.SERVICE, owner=Stack.SERVICE, data=Data.STREAMED, share=WHOLE)


def telling(origin: Origin, served: Served) -> None:
    """Answer with the origin's name and, where the target has a query, with it as the position."""
    while True:
        head = served.head()
        origin.heads.append(head)
        served.body(head)
        status, _, position = head.split(b" ")[1].partition(b"?")[2].partition(b"=")
        lines = [f"Strangler-Position: {position.decode()}"] if position else []
        if b"/slow" in head:
            threading.Event().wait(0.5)
        served.answer(origin.name.encode(), *lines, status=f"{status.decode() or '200'} Done")


@contextmanager
def both(
    state: State, *, references: bool = False, timeout: float | None = None
) -> Iterator[tuple[Proxy, Client, Origin, Origin]]:
    routes = (Route(path="/shelf"),)
    protect = Protect(timeout=timeout)
    shelf = Capability(
        name="shelf", service="books", routes=routes, state=state, references=references, protect=protect
    )
    with Origin(telling) as monolith, Origin(telling, "service") as service:
        table = routing_table(monolith.url, (shelf,), version=7, books=service.url)
        with Proxy(SETTINGS, table) as proxy, proxy.client() as client:
            yield proxy, client, monolith, service


def carried(*marks: tuple[str, int | None]) -> str:
    now = int(time.time())
    token = Token(marks=tuple(Mark(upstream=name, position=at, at=now, version=7) for name, at in marks))
    return f"Cookie: a=1; strangler_causal_0123abcd={sign_token(token, KEYS)}"


def given(answer: Response) -> tuple[tuple[str, int | None], ...]:
    """Return the marks that an answer has a visitor carry."""
    assert answer.header("strangler-position") is None
    found = [line for line in answer.all("set-cookie") if line.startswith("strangler_causal_")]
    fresh = [line for line in found if "Max-Age=0" not in line]
    if not fresh:
        return ()
    (line,) = fresh
    match = re.fullmatch(
        rf"strangler_causal_[0-9a-f]{{8}}=([^;]*); Max-Age={LIFE_S}; Path=/; HttpOnly; SameSite=Lax", line
    )
    assert match is not None, line
    token = read_token(match[1], KEYS)
    assert token is not None
    assert token.version == 7
    return tuple((mark.upstream, mark.position) for mark in token.marks)


def counted(proxy: Proxy) -> dict[tuple[str, ...], int]:
    return proxy.call(lambda: proxy.board.tally.counted("causal_reads"))


def hear(proxy: Proxy, position: int, stack: Stack = Stack.SERVICE) -> None:
    proxy.call(lambda: proxy.board.reached.hear({("shelf", stack): position}))


@pytest.mark.parametrize(
    ("target", "marks"),
    [
        ("/shelf?200=0/1F", (("monolith", 0x1F),)),
        ("/shelf?500=0/1F", (("monolith", 0x1F),)),
        ("/shelf?200=none", ()),
        ("/shelf?200", (("monolith", None),)),
        ("/shelf?200=nonsense", (("monolith", None),)),
        ("/shelf?404", ()),
        ("/elsewhere?200=0/1F", (("monolith", 0x1F),)),
        ("/elsewhere?200", ()),
    ],
)
def test_a_write_s_position_is_carried_on_and_shown_to_nobody(
    target: str, marks: tuple[tuple[str, int | None], ...]
) -> None:
    with both(CANARY) as (_, client, _, _):
        assert given(client.post(target, b"")) == marks


def test_nobody_carries_anything_where_nothing_is_copied() -> None:
    with both(State(stage=Stage.CANARY, data=Data.NONE, share=WHOLE)) as (_, client, _, _):
        for target in ("/shelf?200=0/1F", "/shelf?200", "/elsewhere?200=0/1F"):
            answer = client.post(target, b"")
            assert (answer.all("set-cookie"), answer.header("strangler-position")) == ([], None)


def test_a_page_that_wrote_is_a_write_and_one_that_read_is_none() -> None:
    with both(CANARY) as (_, client, _, _):
        assert given(client.get("/elsewhere?200=0/1F")) == (("monolith", 0x1F),)
        assert given(client.get("/elsewhere")) == ()
        assert given(client.get("/shelf?200=0/2F")) == (("books", 0x2F),)


def test_marks_come_together_and_the_cookie_of_before_goes() -> None:
    with both(MOVED) as (_, client, _, service):
        answer = client.post("/shelf?200=0/5", b"", carried(("monolith", 9), ("books", 3)))
        assert set(given(answer)) == {("monolith", 9), ("books", 5)}
        gone = [line for line in answer.all("set-cookie") if "Max-Age=0" in line]
        assert gone == ["strangler_causal_0123abcd=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"]
        assert b"Cookie: a=1\r\n" in service.heads[0]


def test_neither_stack_sees_tokens_or_what_a_client_says_of_positions() -> None:
    with both(CANARY) as (_, client, monolith, service):
        for target in ("/shelf", "/elsewhere"):
            client.get(target, carried(("monolith", 9)), "Strangler-Position: 0/1", "Strangler_Position: 0/1")
        for head in (*monolith.heads, *service.heads):
            assert b"trangler" not in head


def test_a_read_leaves_for_the_owner_until_the_stream_is_there() -> None:
    with both(CANARY) as (proxy, client, _, _):
        assert client.get("/shelf").body == b"service"
        assert client.get("/shelf", carried(("monolith", 9))).body == b"monolith"  # nobody tells
        hear(proxy, 8)
        assert client.get("/shelf", carried(("monolith", 9))).body == b"monolith"
        assert client.get("/shelf", carried(("monolith", None))).body == b"monolith"
        hear(proxy, 9)
        assert client.get("/shelf", carried(("monolith", 9))).body == b"service"
        assert counted(proxy) == {("shelf", "diverted"): 3}


def test_a_read_of_copies_waits_until_the_stream_is_there() -> None:
    with both(MOVED, references=True) as (proxy, client, _, service):
        hear(proxy, 8)
        client.send(f"GET /shelf HTTP/1.1\r\nHost: shop\r\n{carried(('monolith', 9))}\r\n\r\n".encode())
        until(lambda: proxy.call(lambda: proxy.board.tally.in_flight) == 1, "it waits")
        assert service.heads == []
        hear(proxy, 9)
        assert client.response().body == b"service"
        assert counted(proxy) == {("shelf", "waited"): 1}


def test_a_read_of_copies_waits_a_second_and_not_at_all_where_nobody_tells() -> None:
    with both(MOVED, references=True) as (proxy, client, _, _):
        began = time.monotonic()
        assert client.get("/shelf", carried(("monolith", 9))).body == b"service"
        assert time.monotonic() - began < 0.9
        hear(proxy, 8)
        began = time.monotonic()
        assert client.get("/shelf", carried(("monolith", 9))).body == b"service"
        assert 0.9 < time.monotonic() - began < 5
        assert counted(proxy) == {("shelf", "expired"): 2}
        assert client.get("/shelf", carried(("books", 9))).body == b"service"
        assert counted(proxy) == {("shelf", "expired"): 2}


def test_the_time_that_it_waited_is_not_taken_from_the_stack() -> None:
    with both(MOVED, references=True, timeout=1.0) as (proxy, client, _, _):
        hear(proxy, 8)
        assert client.get("/shelf/slow", carried(("monolith", 9))).status == 200
        assert counted(proxy) == {("shelf", "expired"): 1}


def test_a_client_that_leaves_while_it_waits_is_let_go() -> None:
    with both(MOVED, references=True) as (proxy, _, _, service):
        hear(proxy, 8)
        with proxy.client() as other:
            other.send(f"GET /shelf HTTP/1.1\r\nHost: shop\r\n{carried(('monolith', 9))}\r\n\r\n".encode())
            until(lambda: proxy.call(lambda: proxy.board.tally.in_flight) == 1, "it waits")
            Served(other.sock).reset()
        until(lambda: proxy.call(lambda: proxy.board.tally.in_flight) == 0, "it is gone")
        hear(proxy, 9)
        with proxy.client() as another:
            assert another.get("/shelf").body == b"service"
        assert len(service.heads) == 1
