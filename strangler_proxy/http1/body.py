"""Where a message ends, and how a body is framed again for the other side.

A request's end must be beyond doubt: two parsers that disagree on it can be made to see different requests
(request smuggling). So of all that RFC 9112 section 6 lets a lenient recipient accept, only three framings pass here:
no body, one ``Content-Length`` of plain digits, or ``Transfer-Encoding: chunked`` and nothing else. A response may
also end with its connection. llhttp finds the ends of chunks; the proxy writes every frame anew and never
forwards a received one, so nothing that it did not understand gets through.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

LAST_CHUNK: Final = b"0\r\n\r\n"


class Framing(Enum):
    """How the end of a body is told."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"  # responses only: the body is what comes until the connection ends


def chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk. Never called with no bytes: an empty chunk would be the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the end of a chunked body with those of its ``trailers`` that may stand there."""
    lines = [b"%b: %b\r\n" % pair for pair in trailers if pair[0].lower().startswith(_TRAILER_PREFIXES)]
    return b"0\r\n%b\r\n" % b"".join(lines) if lines else LAST_CHUNK


# RFC 9110 section 6.5.1 forbids fields for framing, routing, authentication and content as trailers, and a recipient
# that merges them into the head turns any other into an injected header. What is sent as trailers in fact is this.
_TRAILER_PREFIXES: Final = (
    b"server-timing",
    b"digest",
    b"content-digest",
    b"repr-digest",
    b"grpc-",
    b"x-amz-checksum-",
)


def response_framing(method: str, status: int, framing: Framing) -> Framing:
    """Return how the body of a response really ends, given how its head says so (RFC 9112 section 6.3)."""
    if method == "HEAD" or status < 200 or status in (204, 304):
        return Framing.NONE
    return Framing.CLOSE if framing is Framing.NONE else framing


def towards_client(framing: Framing, minor: int) -> Framing:
    """Return how a response's body is framed for a client of HTTP/1.``minor``.

    Who speaks 1.0 cannot read chunks, and gets its end with the connection's. Who speaks 1.1 gets chunks for a body
    that ended with the upstream's connection, so that its own can be kept.
    """
    if minor == 0:
        return Framing.CLOSE if framing is Framing.CHUNKED else framing
    return Framing.CHUNKED if framing is Framing.CLOSE else framing
