"""However the bytes are cut, the same messages come out."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler_proxy.http1.body import Framing, chunk, last_chunk
from strangler_proxy.http1.head import Garbled, Refused, RequestHead, ResponseHead, write_request, write_response
from strangler_proxy.http1.hygiene import Pair
from strangler_proxy.http1.stream import RequestStream, ResponseStream
from strangler_proxy.settings import Limits


class Requests(RequestStream):
    """Writes down what comes."""

    def __init__(self) -> None:
        super().__init__(Limits())
        self.events: list[tuple[object, ...]] = []

    def holds(self) -> bool:
        return False

    def request_came(self, head: RequestHead) -> None:
        self.events.append(
            ("head", head.method, head.target, tuple(head.pairs), head.framing, head.length, head.upgrade, b"")
        )

    def body_came(self, data: bytes) -> None:
        self.events[-1] = (*self.events[-1][:7], bytes(self.events[-1][7]) + data)  # type: ignore[call-overload]

    def request_ended(self, trailers: list[Pair]) -> None:
        self.events.append(("end", tuple(trailers)))


class Responses(ResponseStream):
    """Writes down what comes."""

    def __init__(self, method: str = "GET") -> None:
        super().__init__(Limits())
        self.expect(method, self)
        self.heads: list[ResponseHead] = []
        self.body = b""
        self.ended = 0
        self.tunnel: bytes | None = None

    def response_came(self, head: ResponseHead) -> None:
        self.heads.append(head)

    def response_body(self, data: bytes) -> None:
        self.body += data

    def response_ended(self, trailers: list[Pair]) -> None:
        self.ended += 1

    def tunnel_opened(self, rest: bytes) -> None:
        self.tunnel = rest


STREAM = (
    b"GET /a?b HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\r\n"
    b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"
    b"\r\nPUT /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nServer-Timing: a\r\n\r\n"
    b"POST /h2c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc"
    b"POST /h2c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n"
    b"GET /h2c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    b"HEAD /last HTTP/1.1\r\nHost: x\r\n\r\n"
)


def _events(pieces: list[bytes]) -> list[tuple[object, ...]]:
    stream = Requests()
    for piece in pieces:
        assert stream.feed(piece) == b""
    return stream.events


def _cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % len(data) for place in at)})
    return [data[one:other] for one, other in pairwise(places)]


def test_finds_each_message() -> None:
    events = _events([STREAM])
    assert [event[2] for event in events if event[0] == "head"] == [
        b"/a?b",
        b"/length",
        b"/chunks",
        b"/h2c",
        b"/h2c",
        b"/h2c",
        b"/ws",
        b"/last",
    ]
    assert [event[7] for event in events if event[0] == "head"] == [
        b"",
        b"0123456789",
        b"abc0123456789",
        b"abc",
        b"abc",
        b"",
        b"",
        b"",
    ]
    assert [event[6] for event in events if event[0] == "head"] == [b""] * 6 + [b"websocket", b""]
    assert [event[1] for event in events if event[0] == "end"][2] == ((b"Server-Timing", b"a"),)


@given(st.lists(st.integers(min_value=0), max_size=12))
def test_any_cutting_gives_the_same_requests(at: list[int]) -> None:
    assert _events(_cut(STREAM, at)) == _events([STREAM])


def test_byte_by_byte_gives_the_same_requests() -> None:
    assert _events([bytes([byte]) for byte in STREAM]) == _events([STREAM])


def test_long_bodies_pass_slices_and_the_parser() -> None:
    body = bytes(range(256)) * 4096
    data = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%bGET /next HTTP/1.1\r\nHost: x\r\n\r\n"
    events = _events([data % (len(body), body)])
    assert events[0][7] == body
    assert events[2][2] == b"/next"


def test_what_is_held_is_given_back() -> None:
    class Holding(Requests):
        def holds(self) -> bool:
            return bool(self.events)

    request = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 20_000 + b"\r\n\r\n"
    stream = Holding()
    rest = stream.feed(request * 5)
    assert 0 < len(rest) < 4 * len(request)


NAMES = st.from_regex(rb"x-[a-z0-9]{1,12}", fullmatch=True).filter(lambda name: not name.startswith(b"x-strangler"))
VALUES = st.from_regex(rb"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True)
TARGETS = st.from_regex(rb"/[A-Za-z0-9/%._~?=&-]{0,60}", fullmatch=True)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])


@given(METHODS, TARGETS, HEADERS, st.none() | st.integers(0, 1 << 60) | st.just("chunked"))
def test_what_is_written_is_read_the_same(
    method: str, target: bytes, headers: list[Pair], body: int | str | None
) -> None:
    head = RequestHead(method, target, 1)
    head.host, head.pairs = b"shop.test", headers
    if body == "chunked":
        head.framing = Framing.CHUNKED
    elif isinstance(body, int):
        head.framing, head.length = Framing.LENGTH, body
    stream = Requests()
    stream.feed(write_request(head, b"", b""))
    length = body if isinstance(body, int) else 0
    assert stream.events[0] == ("head", method, target, tuple(headers), head.framing, length, b"", b"")


@given(METHODS, TARGETS, HEADERS, st.binary(max_size=200))
def test_h11_reads_what_is_written(method: str, target: bytes, headers: list[Pair], body: bytes) -> None:
    head = RequestHead(method, target, 1)
    head.host, head.pairs, head.framing = b"shop.test", headers, Framing.CHUNKED
    reader = h11.Connection(h11.SERVER)
    pieces = [chunk(body)] if body else []
    reader.receive_data(b"".join([write_request(head, b"", b""), *pieces, last_chunk([])]))
    request = reader.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (method.encode(), target)
    assert list(request.headers) == [(b"host", b"shop.test"), *headers, (b"transfer-encoding", b"chunked")]
    found = b""
    while isinstance(event := reader.next_event(), h11.Data):
        found += bytes(event.data)
    assert (found, type(event)) == (body, h11.EndOfMessage)


@given(st.integers(200, 599), HEADERS, st.none() | st.binary(max_size=100), st.booleans())
def test_responses_written_are_read_the_same(status: int, headers: list[Pair], body: bytes | None, close: bool) -> None:
    head = ResponseHead(status, b"Fine", 1)
    head.pairs = headers
    bodiless = status in (204, 304)
    if body is None or bodiless:
        head.framing = Framing.NONE if bodiless else Framing.CLOSE
        body = b""
    else:
        head.framing, head.length = Framing.LENGTH, len(body)
    line, framing = write_response(head, 1, close, b"")
    stream = Responses()
    stream.feed(line + (chunk(body) if body and framing is Framing.CHUNKED else body))
    if framing is Framing.CHUNKED:
        stream.feed(last_chunk([]))
    assert (stream.ended, stream.body, stream.surplus) == (1, body, False)
    assert (stream.heads[0].status, stream.heads[0].pairs) == (status, headers)
    assert stream.heads[0].keep_alive is not close


RESPONSES = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 200 Very Fine\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nX-T: v\r\n\r\n"
)


@given(st.lists(st.integers(min_value=0), max_size=12))
def test_any_cutting_gives_the_same_response(at: list[int]) -> None:
    stream = Responses()
    for piece in _cut(RESPONSES, at):
        stream.feed(piece)
    assert [head.status for head in stream.heads] == [103, 100, 200]
    assert (stream.heads[2].reason, stream.body, stream.ended, stream.surplus) == (b"Very Fine", b"abcde", 1, False)


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_head_has_no_body_and_what_follows_is_surplus(framing: bytes) -> None:
    stream = Responses("HEAD")
    stream.feed(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
    assert (stream.ended, stream.surplus) == (1, False)
    stream.feed(b"abc")
    assert stream.surplus
    for body in (b"abcde", b"5\r\nhello\r\n0\r\n\r\n"):
        at_once = Responses("HEAD")
        at_once.feed(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + body)
        assert (at_once.ended, at_once.surplus) == (1, True)


def test_the_beginning_of_an_unasked_response_is_surplus() -> None:
    stream = Responses()
    stream.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokH")
    assert (stream.ended, stream.surplus) == (1, True)


def test_the_end_of_the_connection_ends_only_a_body_framed_so() -> None:
    stream = Responses()
    stream.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert (stream.finish(), stream.body, stream.ended) == (True, b"abc", 1)
    for partial in (b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", RESPONSES[:-2]):
        cut = Responses()
        cut.feed(partial)
        assert (cut.finish(), cut.ended) == (False, 0)


def test_a_switch_of_protocols_gives_the_rest_away() -> None:
    stream = Responses()
    stream.feed(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ws\r\n\r\nrest")
    assert (stream.heads[0].status, stream.heads[0].upgrade, stream.tunnel) == (101, b"ws", b"rest")


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    stream = Requests()
    status = 400
    try:
        stream.feed(data)
    except Refused as refused:
        status = refused.status
    assert status in (400, 414, 431, 501, 505)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_response_or_garbled(data: bytes) -> None:
    stream = Responses()
    try:
        stream.feed(b"HTTP/1.1 200 OK\r\n" + data)
    except Garbled:
        assert stream.ended == 0
