"""Where a body ends, by whom it is read."""

from __future__ import annotations

import pytest

from strangler_proxy.http1.body import LAST_CHUNK, Framing, chunk, last_chunk, response_framing, towards_client


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
    assert last_chunk([(b"Set-Cookie", b"a=1"), (b"Content-Length", b"5")]) == LAST_CHUNK
    assert last_chunk([(b"grpc-status", b"0"), (b"Host", b"x")]) == b"0\r\ngrpc-status: 0\r\n\r\n"
