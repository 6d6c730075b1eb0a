"""Calls to real servers: what they carry, when they are repeated, and when they end."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import httpx
import pytest

from strangler.service import SettingRefused, Unavailable, deadline, trace
from strangler.service.budget import Budget
from strangler.service.client import Client, Unanswered
from strangler.service.identity import acting
from tests.fixtures.answering import Answering, Heard, Told, answering
from tests.fixtures.identity import Issuer
from tests.fixtures.ports import free_port

Call = Callable[[Client], Awaitable[httpx.Response]]


def made(url: str, call: Call, *, budget: Budget | None = None, most_bytes: int = 1_000) -> httpx.Response:
    async def make() -> httpx.Response:
        async with Client(url, caller="shop/1", timeout_s=1.0, budget=budget, most_bytes=most_bytes) as client:
            return await call(client)

    return asyncio.run(make())


def asking(path: str = "/items/", method: str = "GET", headers: Mapping[str, str] | None = None) -> Call:
    return lambda client: client.request(method, path, params={"page": "2"}, headers=headers)


@contextmanager
def failing(*statuses: int) -> Iterator[Answering]:
    """Answer with each of the statuses in turn, and with 200 after them."""
    left = list(statuses)
    with answering(lambda heard: Told(status=left.pop(0) if left else 200, body=b"item")) as server:
        yield server


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nitem"
# Closing sends a reset instead of what is still to be sent.
RESET = struct.pack("ii", 1, 0)


class Scripted:
    """A peer that says ``scripts`` in turn, one a connection, and hangs up; None is a reset."""

    def __init__(self, scripts: tuple[bytes | None, ...]) -> None:
        self.asked = 0
        self._scripts = scripts
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def run(self) -> None:
        with self._socket:
            for script in self._scripts:
                self._say(script)

    def _say(self, script: bytes | None) -> None:
        connection, _ = self._socket.accept()
        with connection:
            if not connection.recv(65_536):
                return
            self.asked += 1
            if script is None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            else:
                connection.sendall(script)

    def hang_up(self) -> None:
        """Answer connections that nobody made, so that ``run`` comes to its end."""
        for _ in self._scripts:
            with suppress(OSError):
                socket.create_connection(self._socket.getsockname(), 1).close()


@contextmanager
def scripted(*scripts: bytes | None) -> Iterator[Scripted]:
    peer = Scripted(scripts)
    thread = threading.Thread(target=peer.run, daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        peer.hang_up()
        thread.join(10)


@pytest.fixture
def slow() -> Iterator[Answering]:
    """A server that answers when nobody waits any more."""
    over = threading.Event()

    def late(heard: Heard) -> Told:
        over.wait()
        return Told()

    with answering(late) as server:
        yield server
        over.set()


def test_an_answer_comes_back_whole() -> None:
    with answering(lambda heard: Told(status=404, body=b"nothing", headers={"ETag": '"1"'})) as server:
        response = made(server.url, asking())
    assert (response.status_code, response.content, response.headers["etag"]) == (404, b"nothing", '"1"')
    [heard] = server.heard
    assert (heard.target, heard.headers["user-agent"]) == ("/items/?page=2", "shop/1")


def test_a_call_carries_the_request_that_is_answered() -> None:
    issuer = Issuer()
    token = issuer.token()
    ours = trace.read([(b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"), (b"x-request-id", b"r-1")])
    before = trace.CURRENT.set(ours)
    try:
        with failing() as server, acting(issuer.verifier().identify(token), token), deadline.within(0.5):
            made(server.url, asking(headers={"Api-Version": "2"}))
    finally:
        trace.CURRENT.reset(before)
    [heard] = server.heard
    version, trace_id, span_id, flags = heard.headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", "a" * 32, "01")
    assert span_id not in (ours.span_id, ours.parent_id)
    assert (heard.headers["x-request-id"], heard.headers["strangler-identity"]) == ("r-1", token)
    assert 0 < int(heard.headers["strangler-deadline"]) <= 500
    assert heard.headers["api-version"] == "2"


def test_a_call_for_nobody_says_so_by_silence() -> None:
    with failing() as server:
        made(server.url, asking())
    [heard] = server.heard
    assert "strangler-identity" not in heard.headers
    assert heard.headers["x-request-id"] == heard.headers["traceparent"].split("-")[1]
    assert 0 < int(heard.headers["strangler-deadline"]) <= 1000


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_what_may_be_asked_twice_is_asked_again(method: str) -> None:
    with failing(503, 502) as server:
        assert made(server.url, asking(method=method)).status_code == 200
    assert len(server.heard) == 3
    assert len({heard.headers["traceparent"] for heard in server.heard}) == 3


def test_it_is_not_asked_for_ever() -> None:
    with (
        failing(504, 504, 504, 504) as server,
        pytest.raises(Unanswered, match=f"GET {server.url}/items/ answered 504"),
    ):
        made(server.url, asking())
    assert len(server.heard) == 3


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_may_not_be_asked_twice_is_asked_once(method: str) -> None:
    with failing(503) as server, pytest.raises(Unavailable):
        made(server.url, asking(method=method))
    assert len(server.heard) == 1


@pytest.mark.parametrize("status", [400, 404, 429, 500, 301])
def test_an_answer_is_an_answer(status: int) -> None:
    with failing(status) as server:
        assert made(server.url, asking()).status_code == status
    assert len(server.heard) == 1


def test_nobody_listening_is_asked_again_while_the_budget_lasts() -> None:
    budget = Budget(share=0.0, least=1)
    with pytest.raises(Unanswered, match="ConnectError"):
        made(f"http://127.0.0.1:{free_port()}", asking(), budget=budget)
    assert repr(budget) == "Budget(1 retries of 1 calls in 10 s)"


@pytest.mark.parametrize("silence", [None, b"", b"HTTP/1.1 200 O"], ids=["reset", "closed", "half a line"])
def test_who_hangs_up_before_an_answer_is_asked_again(silence: bytes | None) -> None:
    with scripted(silence, ANSWER) as peer:
        assert made(peer.url, asking()).content == b"item"
    assert peer.asked == 2


@pytest.mark.parametrize("silence", [None, b""], ids=["reset", "closed"])
def test_who_hangs_up_on_what_may_not_be_asked_twice_is_not_asked_again(silence: bytes | None) -> None:
    with scripted(silence, ANSWER) as peer, pytest.raises(Unanswered):
        made(peer.url, asking(method="POST"))
    assert peer.asked == 1


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nitem",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nitem\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfour\r\nitem\r\n",
    ],
    ids=["cut", "cut chunks", "no chunks"],
)
def test_an_answer_that_breaks_off_is_none_and_not_asked_for_again(begun: bytes) -> None:
    with scripted(begun, ANSWER) as peer, pytest.raises(Unanswered, match="RemoteProtocolError"):
        made(peer.url, asking())
    assert peer.asked == 1


@pytest.mark.parametrize(
    "garbage",
    [b"\0\0\0\0\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"x" * 200_000],
    ids=["zeros", "ssh", "length", "endless"],
)
def test_what_is_no_answer_is_none(garbage: bytes) -> None:
    with scripted(*[garbage] * 3) as peer, pytest.raises(Unanswered, match=f"GET {peer.url}/items/: "):
        made(peer.url, asking())


def test_what_one_visitor_is_given_to_keep_no_other_sends() -> None:
    with answering(lambda heard: Told(headers={"Set-Cookie": "sessionid=maria; Path=/"})) as server:

        async def twice(client: Client) -> httpx.Response:
            first = await client.get("/items/")
            assert first.headers["set-cookie"].startswith("sessionid=maria")
            return await client.get("/items/")

        made(server.url, twice)
    assert ["cookie" in heard.headers for heard in server.heard] == [False, False]


def test_calls_that_all_fail_are_hardly_more_than_calls() -> None:
    with failing(*[503] * 1000) as server:

        async def many(client: Client) -> httpx.Response:
            for _ in range(40):
                with pytest.raises(Unanswered):
                    await client.get("/items/")
            return httpx.Response(200)

        made(server.url, many)
    assert len(server.heard) == 40 + 8


def test_a_call_ends_with_its_time(slow: Answering) -> None:
    begun = time.monotonic()
    with pytest.raises(Unanswered, match=r"gave no answer in 1\.000 s"):
        made(slow.url, asking())
    assert time.monotonic() - begun < 5


def test_a_call_ends_with_the_request_that_it_is_made_for(slow: Answering) -> None:
    begun = time.monotonic()
    with deadline.within(0.2), pytest.raises(Unanswered, match=r"gave no answer in 0\.[0-2]\d+ s"):
        made(slow.url, asking())
    assert time.monotonic() - begun < 5


def test_nobody_is_asked_when_it_is_too_late() -> None:
    budget = Budget()
    with failing() as server, deadline.within(0), pytest.raises(Unanswered, match="waits no more"):
        made(server.url, asking(), budget=budget)
    assert server.heard == []
    assert repr(budget) == "Budget(0 retries of 0 calls in 10 s)"


def test_an_answer_may_not_be_endless() -> None:
    with answering(lambda heard: Told(body=b"x" * 1_001)) as server:
        with pytest.raises(Unanswered, match="more than 1000 bytes"):
            made(server.url, asking())
        assert len(server.heard) == 1
        assert len(made(server.url, asking(), most_bytes=1_001).content) == 1_001


def test_an_answer_may_not_be_packed() -> None:
    def packed(heard: Heard) -> Told:
        assert heard.headers["accept-encoding"] == "identity"
        return Told(body=b"x", headers={"Content-Encoding": "gzip"})

    with answering(packed) as server, pytest.raises(Unanswered, match="encoding"):
        made(server.url, asking())


def test_the_query_is_not_told() -> None:
    with pytest.raises(Unanswered) as raised:
        made(f"http://127.0.0.1:{free_port()}", asking("/items/%0A/"))
    assert "/items/%0A/: " in str(raised.value)
    assert "page" not in str(raised.value)


def test_an_address_may_have_a_path() -> None:
    with failing(504, 504, 504) as server, pytest.raises(Unanswered, match=f"GET {server.url}/shop/items/ answered"):
        made(f"{server.url}/shop/", asking())
    assert server.heard[0].target == "/shop/items/?page=2"


@pytest.mark.parametrize("path", ["", "items/", "http://elsewhere.example/items/"])
def test_no_other_server_is_asked(path: str) -> None:
    with failing() as server:
        with pytest.raises(ValueError, match="begins with a slash"):
            made(server.url, asking(path))
        assert server.heard == []


def test_a_path_that_names_a_server_is_a_path_all_the_same() -> None:
    with failing() as server:
        assert made(server.url, asking("//elsewhere.example/items/")).status_code == 200
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    "text", ["", "shop", "ftp://shop", "http://", "http://a:b@shop", "http://shop?x=1", "http://shop:port"]
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingRefused, match="is no address of a service") as raised:
        Client(text, caller="shop/1")
    assert "a:b@" not in str(raised.value)
