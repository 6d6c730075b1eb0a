"""However a response's bytes are cut, who asked gets the same."""

from __future__ import annotations

import asyncio
import ssl
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.project.limits import Limits
from strangler.routing.address import parse_endpoint
from strangler_proxy.endpoint import Bounds, Endpoint
from strangler_proxy.http1.body import Trailers
from strangler_proxy.http1.head import ResponseHead
from strangler_proxy.upstream import Upstream

ENDPOINT = Endpoint(
    parse_endpoint("http://127.0.0.1:1"),
    Bounds(connections=1, pending=1, connect=1.0, idle=1.0),
    Limits(),
    ssl.create_default_context,
)


class Nowhere(asyncio.Transport):
    """Takes whatever is written."""

    def write(self, data: object) -> None:
        pass


class Asker:
    """Writes down what it is told."""

    def __init__(self, method: str = "GET") -> None:
        self.upstream = Upstream(ENDPOINT, Limits())
        self.upstream.transport = Nowhere()
        self.upstream.ask(self, method, b"")
        self.heads: list[int] = []
        self.body = b""
        self.ends: list[Trailers] = []
        self.rest: bytes | None = None
        self.complaint = ""
        self.lost = 0

    def interim(self, head: ResponseHead) -> None:
        self.heads.append(head.status)

    def answered(self, head: ResponseHead, body: bytes, end: Trailers | None) -> None:
        self.heads.append(head.status)
        self.continued(body, end)

    def continued(self, body: bytes, end: Trailers | None) -> None:
        self.body += body
        if end is not None:
            self.ends.append(end)

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        self.rest = rest

    def garbled(self, what: str) -> None:
        self.complaint = what
        self.upstream.exchange = None

    def upstream_lost(self) -> None:
        self.lost += 1

    def upstream_full(self, full: bool) -> None:
        pass


RESPONSES = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 200 Very Fine\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nX-T: v\r\n\r\n"
)


@given(st.lists(st.integers(0, len(RESPONSES)), max_size=12))
def test_any_cutting_gives_the_same_response(at: list[int]) -> None:
    asker = Asker()
    for one, other in pairwise(sorted({0, len(RESPONSES), *at})):
        asker.upstream.data_received(RESPONSES[one:other])
    assert (asker.heads, asker.body, asker.ends) == ([103, 100, 200], b"abcde", [[b"X-T: v"]])
    assert not asker.upstream.surplus


@given(st.binary(max_size=60), st.lists(st.integers(0, 99), max_size=5))
def test_a_sized_response_however_it_comes(body: bytes, at: list[int]) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    asker = Asker()
    for one, other in pairwise(sorted({0, len(data), *(min(each, len(data)) for each in at)})):
        asker.upstream.data_received(data[one:other])
    assert (asker.body, asker.ends, asker.upstream.surplus) == (body, [()], False)


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_head_has_no_body_and_what_follows_is_surplus(framing: bytes) -> None:
    for body in (b"", b"abcde", b"5\r\nhello\r\n0\r\n\r\n"):
        asker = Asker("HEAD")
        asker.upstream.data_received(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + body)
        assert (asker.ends, asker.body, asker.upstream.surplus) == ([()], b"", bool(body))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokH",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nH",
    ],
)
def test_what_stands_behind_a_response_is_surplus(data: bytes) -> None:
    asker = Asker()
    asker.upstream.data_received(data)
    assert (asker.body, list(map(tuple, asker.ends)), asker.upstream.surplus) == (b"ok", [()], True)


def test_the_end_of_the_connection_ends_only_a_body_framed_so() -> None:
    asker = Asker()
    asker.upstream.data_received(b"HTTP/1.1 200 OK\r\n\r\nabc")
    asker.upstream.eof_received()
    assert (asker.body, asker.ends) == (b"abc", [()])
    for partial in (b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", RESPONSES[:-2]):
        cut = Asker()
        if partial:
            cut.upstream.data_received(partial)
        cut.upstream.eof_received()
        assert cut.ends == []


def test_a_switch_of_protocols_gives_the_rest_away() -> None:
    asker = Asker()
    asker.upstream.data_received(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: ws\r\n\r\nrest")
    assert asker.rest == b"rest"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
        b"HTTP/1.1 200 OK\r\nA\r\n\r\n",
        b"SSH-2.0",
    ],
)
def test_what_is_no_response_is_complained_of(data: bytes) -> None:
    asker = Asker()
    asker.upstream.data_received(data)
    assert asker.complaint
    assert asker.ends == []
