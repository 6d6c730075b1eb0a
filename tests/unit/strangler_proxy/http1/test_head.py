"""Heads: what is written is read the same, what is not beyond doubt is refused, however the bytes are cut."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.project.limits import Limits
from strangler_proxy.http1.body import Framing, chunk, last_chunk
from strangler_proxy.http1.head import (
    _REQUEST_FIELDS,
    Garbled,
    Refused,
    RequestHead,
    ResponseHead,
    read_request,
    read_response,
    write_request,
    write_response,
)

LIMITS = Limits()
NAMES = st.from_regex(rb"x-[a-z0-9]{1,12}", fullmatch=True).filter(lambda name: not name.startswith(b"x-strangler"))
VALUES = st.from_regex(rb"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True)
TARGETS = st.from_regex(rb"/[A-Za-z0-9/%._~?=&-]{0,60}", fullmatch=True)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])


def lines_of(headers: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [b"%b: %b" % header for header in headers]


def request(data: bytes) -> RequestHead:
    found = read_request(data, LIMITS)
    assert found is not None
    assert found[1] == len(data)
    return found[0]


def response(data: bytes, method: str = "GET") -> ResponseHead:
    found = read_response(data, method, LIMITS)
    assert found is not None
    assert found[1] == len(data)
    return found[0]


def refusal(data: bytes) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        read_request(data, LIMITS)
    return caught.value.status, caught.value.detail


GOOD = (
    b"POST /a?b HTTP/1.1\r\nHost: x:80\r\nX-A:\t b \r\nX-Empty:\r\nConnection: close, x-mine\r\nX-Mine: 1\r\n"
    b"Cookie: a=1; strangler_visitor=v\r\nContent-Length: 10\r\n\r\n"
)


def test_a_request_is_taken_apart() -> None:
    head = request(GOOD)
    assert (head.method, head.target, head.path, head.minor, head.host) == ("POST", b"/a?b", b"/a", 1, b"x:80")
    assert (head.lines, head.cookies, head.visitor) == ([b"X-A: b", b"X-Empty: "], (b"a=1",), b"v")
    assert (head.framing, head.length, head.keep_alive) == (Framing.LENGTH, 10, False)


@pytest.mark.parametrize("data", [GOOD, b"GET / HTTP/1.0\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n"])
def test_a_head_that_is_not_whole_is_awaited(data: bytes) -> None:
    for end in range(len(data)):
        assert read_request(data[:end], LIMITS) is None
    assert read_request(data + b"GET", LIMITS) is not None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS where none is spoken
        (b"GET /\r\n", 400),
        (b"get /", 400),
        (b"GET  /", 400),
        (b"GET /\n", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"PRI * HTTP/2.0\r\n", 505),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000, 431),
    ],
)
def test_what_cannot_become_a_head_is_refused_at_once(data: bytes, status: int) -> None:
    assert refusal(data)[0] == status


HOST = b"GET / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (HOST + b"X : a\r\n\r\n", "there is space between a header's name and its colon"),
        (HOST + b"X: a\r\n b\r\n\r\n", "a header goes on in a second line, which was given up (RFC 9112 section 5.2)"),
        (HOST + b"X\r\n\r\n", "a line is no header"),
        (HOST + b": a\r\n\r\n", "a line is no header"),
        (HOST + b"X: a\nY: b\r\n\r\n", "there are control characters, or a line that ends with CR or LF alone"),
        (HOST + b"X: a\rY: b\r\n\r\n", "there are control characters, or a line that ends with CR or LF alone"),
        (HOST + b"X: \0\r\n\r\n", "there are control characters, or a line that ends with CR or LF alone"),
        (HOST + b"X: \x7f\r\n\r\n", "there are control characters, or a line that ends with CR or LF alone"),
        (HOST + b"Host: x\r\n\r\n", "there are several Host headers"),
        (HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "there are several Content-Length headers"),
        (HOST + b"Content-Length: +1\r\n\r\n", "the Content-Length is no number of bytes"),
        (HOST + b"Content-Length: 1,1\r\n\r\n", "the Content-Length is no number of bytes"),
        (HOST + b"Content-Length:\r\n\r\n", "the Content-Length is no number of bytes"),
        (
            HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "there are both Content-Length and Transfer-Encoding",
        ),
        (
            HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "there are both Content-Length and Transfer-Encoding",
        ),
        (HOST + b"Transfer-Encoding: gzip\r\n\r\n", "the only Transfer-Encoding taken is chunked, once"),
        (
            HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "the only Transfer-Encoding taken is chunked, once",
        ),
        (b"GET / HTTP/1.1\r\n\r\n", "there is no Host header"),
        (b"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", "the target has a fragment, which is never sent"),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "the method is none that is known"),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", "* is a target of OPTIONS only"),
        (b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", "the target names another host than the Host header"),
    ],
)
def test_what_is_not_beyond_doubt_is_refused_with_the_reason(data: bytes, detail: str) -> None:
    assert refusal(data) == (400, detail)


@given(METHODS, TARGETS, HEADERS, st.none() | st.integers(0, 10**15 - 1) | st.just("chunked"))
def test_what_is_written_is_read_the_same(
    method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: int | str | None
) -> None:
    head = RequestHead(method, target, 1)
    head.host, head.lines = b"shop.test", lines_of(headers)
    if body == "chunked":
        head.framing = Framing.CHUNKED
    elif isinstance(body, int):
        head.framing, head.length = Framing.LENGTH, body
    found = request(write_request(head, b"", b""))
    assert (found.method, found.target, found.lines) == (method, target, head.lines)
    assert (found.framing, found.length, found.upgrade) == (head.framing, head.length, b"")


@given(METHODS, TARGETS, HEADERS, st.binary(max_size=200))
def test_h11_reads_what_is_written(method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    head = RequestHead(method, target, 1)
    head.host, head.lines, head.framing = b"shop.test", lines_of(headers), Framing.CHUNKED
    reader = h11.Connection(h11.SERVER)
    pieces = [chunk(body)] if body else []
    reader.receive_data(b"".join([write_request(head, b"", b""), *pieces, last_chunk([])]))
    event = reader.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (method.encode(), target)
    assert list(event.headers) == [(b"host", b"shop.test"), *headers, (b"transfer-encoding", b"chunked")]
    found = b""
    while isinstance(after := reader.next_event(), h11.Data):
        found += bytes(after.data)
    assert (found, type(after)) == (body, h11.EndOfMessage)


@given(st.integers(200, 599), HEADERS, st.none() | st.binary(max_size=100), st.booleans())
def test_responses_written_are_read_the_same(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes | None, close: bool
) -> None:
    head = ResponseHead(status, b"Fine", 1)
    head.lines = lines_of(headers)
    if body is None or status in (204, 304):
        head.framing = Framing.NONE if status in (204, 304) else Framing.CLOSE
    else:
        head.framing, head.length = Framing.LENGTH, len(body)
    line, framing = write_response(head, 1, close, b"")
    found = response(line)
    assert (found.status, found.lines, found.keep_alive) == (status, head.lines, not close)
    assert found.framing is framing
    assert found.length == head.length


@pytest.mark.parametrize("status", [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK", b"HTTP/1.1 299 W\xe9ll"])
def test_status_lines(status: bytes) -> None:
    assert response(status + b"\r\nContent-Length: 0\r\n\r\n").status in (200, 299)


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"HTTP/1.2 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"HTTP/1.1  200 OK\r\n\r\n",
        ),
        *(
            b"HTTP/2 200\r\n\r\n",
            b"ICY",
            b"<html>",
            b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
            b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        ),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000,
    ],
)
def test_a_response_that_is_not_beyond_doubt_is_garbled(data: bytes) -> None:
    with pytest.raises(Garbled):
        read_response(data, "GET", LIMITS)


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Keep-Alive, Close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_whether_a_connection_is_kept(version: bytes, connection: bytes, kept: bool) -> None:
    assert request(b"GET / HTTP/" + version + b"\r\nHost: x\r\n" + connection + b"\r\n").keep_alive is kept
    sized = b"HTTP/" + version + b" 200 OK\r\nContent-Length: 0\r\n" + connection + b"\r\n"
    assert response(sized).keep_alive is kept
    assert not response(sized.replace(b"Content-Length: 0\r\n", b"")).keep_alive


def test_many_names_and_long_ones_are_forgotten() -> None:
    for number in range(10_000):
        request(HOST + b"X-%d: a\r\n\r\n" % number)
    request(HOST + b"X: " + b"a" * 50_000 + b"\r\n\r\n")
    assert len(_REQUEST_FIELDS.known) <= 4096
    assert max(map(len, _REQUEST_FIELDS.known)) <= 192


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    status = 400
    for prefix in (b"", b"GET / HTTP/1.1\r\n", HOST):
        try:
            read_request(prefix + data, LIMITS)
        except Refused as refused:
            status = refused.status
        assert status in (400, 414, 431, 501, 505)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_response_or_garbled(data: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n"):
        try:
            read_response(prefix + data, "GET", LIMITS)
        except Garbled:
            continue


@pytest.mark.parametrize("before", [b"; ", b" ; ", b"\t; "])
def test_a_cookie_header_that_had_only_the_visitor_is_none(before: bytes) -> None:
    head = request(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + before + b"strangler_visitor=v\r\n\r\n")
    assert (head.cookies, head.visitor) == ((), b"v")


def test_a_hash_in_a_method_is_no_fragment() -> None:
    assert refusal(b"POST# / HTTP/1.1") == (400, "the first line is not that of a request")
    assert refusal(b"POST /# HTTP/1.1\r\n") == (400, "the target has a fragment, which is never sent")
