"""What the monolith says in a response of whom to forget is the proxy's alone."""

from __future__ import annotations

from strangler.project.limits import Limits
from strangler_proxy.http1.head import read_response
from strangler_proxy.question import mark

SECRET = b"only for tests, and at least thirty-two bytes"


def test_it_is_taken_out_of_the_response() -> None:
    read = read_response(
        b"HTTP/1.1 200 OK\r\nstrangler-Forget: aa\r\nX: y\r\nStrangler-Forget: bb\r\n\r\n", "GET", Limits()
    )
    assert read is not None
    assert (read[0].forget, read[0].lines) == (b"aa,bb", [b"X: y"])


def test_a_mark_is_what_the_monolith_makes() -> None:
    assert mark(SECRET, "subject", b"7") == b"9bbf84f506949b5767035b4a4c3a927c"
    assert len({mark(SECRET, "session", b"7"), mark(b"x" * 32, "subject", b"7"), mark(SECRET, "subject", b"8")}) == 3
