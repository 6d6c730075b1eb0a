"""Where a body ends, by whom it is read."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler_proxy.http1.body import (
    LAST_CHUNK,
    Chunked,
    Framing,
    Malformed,
    Sized,
    chunk,
    last_chunk,
    response_framing,
    towards_client,
)


@pytest.mark.parametrize(
    ("method", "status", "said", "real"),
    [
        ("GET", 200, Framing.LENGTH, Framing.LENGTH),
        ("GET", 200, Framing.CHUNKED, Framing.CHUNKED),
        ("GET", 200, Framing.NONE, Framing.CLOSE),
        ("HEAD", 200, Framing.LENGTH, Framing.NONE),
        ("HEAD", 200, Framing.NONE, Framing.NONE),
        ("GET", 204, Framing.NONE, Framing.NONE),
        ("GET", 304, Framing.LENGTH, Framing.NONE),
        ("GET", 100, Framing.NONE, Framing.NONE),
    ],
)
def test_the_real_end_of_a_response(method: str, status: int, said: Framing, real: Framing) -> None:
    assert response_framing(method, status, said) is real


@pytest.mark.parametrize(
    ("framing", "minor", "found"),
    [
        (Framing.CHUNKED, 1, Framing.CHUNKED),
        (Framing.CHUNKED, 0, Framing.CLOSE),
        (Framing.CLOSE, 1, Framing.CHUNKED),
        (Framing.CLOSE, 0, Framing.CLOSE),
        (Framing.LENGTH, 0, Framing.LENGTH),
        (Framing.NONE, 1, Framing.NONE),
    ],
)
def test_framing_for_the_client(framing: Framing, minor: int, found: Framing) -> None:
    assert towards_client(framing, minor) is found


def test_chunks() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_only_known_trailers_pass() -> None:
    assert last_chunk([]) == LAST_CHUNK
    assert last_chunk([b"Set-Cookie: a=1", b"Content-Length: 5"]) == LAST_CHUNK
    assert last_chunk([b"grpc-status: 0", b"Host: x"]) == b"0\r\ngrpc-status: 0\r\n\r\n"


def test_a_sized_body_ends_where_its_length_says() -> None:
    body = Sized(5)
    assert (body.feed(b"abc"), body.done) == ((b"abc", b""), False)
    assert (body.feed(b"deGET"), body.done) == ((b"de", b"GET"), True)
    assert Sized(0).done


CHUNKS = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nServer-Timing:  a \r\nX: \r\n\r\nNEXT"


@given(st.lists(st.integers(0, len(CHUNKS)), max_size=12))
def test_any_cutting_gives_the_same_body(at: list[int]) -> None:
    places = sorted({0, len(CHUNKS), *at})
    body, found, behind = Chunked(1000), b"", b""
    for one, other in pairwise(places):
        if body.done:
            behind += CHUNKS[one:other]
            continue
        piece, rest = body.feed(CHUNKS[one:other])
        found += piece
        behind += rest
    assert (found, behind, body.done) == (b"abc0123456789", b"NEXT", True)
    assert body.trailers == [b"Server-Timing: a", b"X: "]


@pytest.mark.parametrize(
    "data",
    [
        *(b"\r\n", b" 3\r\n", b"3 \r\n", b"0x3\r\n", b"-3\r\n", b"+3\r\n", b"3_0\r\n", b"1234567890abcdef\r\n", b"3\n"),
        *(b"3;a\rb\r\n", b"3;a\0\r\n", b"3\r\nabcd\r\n", b"3\r\nabc\n", b"3\r\nabc0\r\n\r\n", b"3\r\r\n"),
        *(b"0\r\n a: b\r\n\r\n", b"0\r\na : b\r\n\r\n", b"0\r\na\r\n\r\n", b"0\r\na: \0\r\n\r\n", b"0\r\n: b\r\n\r\n"),
    ],
)
def test_what_two_readers_could_frame_differently_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        Chunked(1000).feed(data)


@pytest.mark.parametrize("data", [b"3;" + b"a" * 5000, b"0\r\nA: " + b"b" * 5000, b"0\r\n" + b"A: b\r\n" * 300])
def test_framing_without_end_is_oversized(data: bytes) -> None:
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        body = Chunked(1000)
        with pytest.raises(Malformed) as raised:
            deque(map(body.feed, pieces), maxlen=0)
        assert raised.value.status == 431


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_what_is_written_is_read_the_same(pieces: list[bytes]) -> None:
    body = Chunked(1000)
    found, rest = body.feed(b"".join(map(chunk, pieces)) + last_chunk([b"Digest: x"]) + b"more")
    assert (found, rest, body.done, body.trailers) == (b"".join(pieces), b"more", True, [b"Digest: x"])
