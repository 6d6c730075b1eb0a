"""Where a message ends, and how a body is framed again for the other side.

A request's end must be beyond doubt: two parsers that disagree on it can be made to see different requests
(request smuggling). So of all that RFC 9112 section 6 lets a lenient recipient accept, only three framings pass here:
no body, one ``Content-Length`` of plain digits, or ``Transfer-Encoding: chunked`` and nothing else. A response may
also end with its connection. Every frame is written anew and none forwarded as received, so nothing that was not
understood gets through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Final, Protocol

LAST_CHUNK: Final = b"0\r\n\r\n"


class Framing(Enum):
    """How the end of a body is told."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"  # responses only: the body is what comes until the connection ends


class Malformed(Exception):
    """A body's framing cannot be understood beyond doubt, or takes too many bytes. ``status`` is what answers that."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


Trailers = Sequence[bytes]
"""Whole lines without their ends."""


class Body(Protocol):
    """A body as it comes. ``done`` says that it has ended, with ``trailers``."""

    @property
    def done(self) -> bool: ...
    @property
    def trailers(self) -> Trailers: ...

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes, and return those of the body, and those that stand behind its end. Raises ``Malformed``."""
        ...


class Sized:
    """A body of a known number of bytes."""

    __slots__ = ("done", "left")

    trailers: Trailers = ()

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        left = self.left = self.left - len(data)
        if left > 0:
            return data, b""
        self.done = True
        self.left = 0
        return (data, b"") if left == 0 else (data[:left], data[left:])


class Endless:
    """A body that ends with its connection."""

    __slots__ = ("done",)

    trailers: Trailers = ()

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        return data, b""


# RFC 9112 section 7.1. Fifteen digits are a thousand terabytes. What stands in extensions nobody reads, but a bare
# CR or LF in one was read as a line's end by some (CVE-2023-30589 and its kin), so they are checked as values are.
# Space behind the size, which section 7.1.1 calls bad, is refused.
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t -~\x80-\xff]*)?")
_TRAILER: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)")
# Of one line of framing; more than any extension seen. h11 takes 20 digits and 4 kB.
_LONGEST_LINE: Final = 4096


class Chunked:
    """A chunked body; at most ``limit`` bytes of trailers are taken."""

    __slots__ = ("_left", "_limit", "_line", "_step", "done", "trailers")

    def __init__(self, limit: int) -> None:
        self.done = False
        self.trailers: list[bytes] = []
        self._limit = limit
        self._line = b""  # the beginning of a line whose end has not come
        self._left = 0
        self._step: Callable[[Chunked, bytes], None] = Chunked._read_size

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        pieces: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self.done:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
            else:
                at = self._take_line(data, at)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), data[at:]

    def _take_line(self, data: bytes, at: int) -> int:
        """Act on the line that goes on at ``at``, if it ends in ``data``, and return where reading goes on."""
        end = data.find(b"\n", at)
        line = self._line + data[at : len(data) if end < 0 else end + 1]
        if len(line) > max(_LONGEST_LINE, self._limit if self._step is Chunked._read_trailer else 0):
            raise Malformed("a line of the chunked body's framing is too long", 431)
        if end < 0:
            if self._step is Chunked._read_end and line != b"\r":
                raise Malformed("a chunk is longer than its size")
            self._line = line
            return len(data)
        self._line = b""
        if not line.endswith(b"\r\n"):
            raise Malformed("a line of the chunked body's framing ends without CR")
        self._step(self, line[:-2])
        return end + 1

    def _read_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise Malformed("the size of a chunk is none")
        self._left = int(match[1], 16)
        self._step = Chunked._read_end if self._left else Chunked._read_trailer

    def _read_end(self, line: bytes) -> None:
        if line:
            raise Malformed("a chunk is longer than its size")
        self._step = Chunked._read_size

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        match = _TRAILER.fullmatch(line)
        if match is None:
            raise Malformed("a trailer is none")
        self._limit -= len(line) + 2
        if self._limit < 0:
            raise Malformed("there are too many bytes of trailers", 431)
        self.trailers.append(b"%b: %b" % (match[1], match[2].strip(b" \t")))


def chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk. Never called with no bytes: an empty chunk would be the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Iterable[bytes]) -> bytes:
    """Return the end of a chunked body with those of its ``trailers`` that may stand there."""
    lines = [line for line in trailers if line.lower().startswith(_TRAILER_PREFIXES)]
    return b"0\r\n%b\r\n\r\n" % b"\r\n".join(lines) if lines else LAST_CHUNK


# RFC 9110 section 6.5.1 forbids fields for framing, routing, authentication and content as trailers, and a recipient
# that merges them into the head turns any other into an injected header. What is sent as trailers in fact is this.
_TRAILER_PREFIXES: Final = (
    b"server-timing:",
    b"digest:",
    b"content-digest:",
    b"repr-digest:",
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
