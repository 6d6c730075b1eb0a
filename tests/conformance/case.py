"""What one case says: the bytes a client sends, what a stack must have received, what it answers, what comes back.

Everything is compared byte for byte but what differs each time, which ``masked`` overwrites by a rule: the request's
id, the trace's, and where they stand in a problem. A problem that the proxy itself answers with must have exactly the
head below and a body as long as it says; its words are not part of the contract.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus


class Step(Enum):
    """What either side may do besides sending bytes."""

    WHOLE = "read a whole request"
    HEAD = "read a request's head"
    SEEN = "wait until the client has all that it expects"
    FIN = "say that nothing more is sent"
    RESET = "break the connection off"
    GONE = "wait for the other side's end"


@dataclass(frozen=True, slots=True)
class Until:
    """Read until what came ends with ``end``."""

    end: bytes


@dataclass(frozen=True, slots=True)
class Arrived:
    """The client waits until what the stack has received ends with ``end``."""

    end: bytes


Turn = bytes | tuple[bytes | Step | Until, ...]
"""What a stack does for one request; bytes alone: it reads the request and answers with them."""


class End(Enum):
    """How it ends for the client's connection."""

    KEPT = "another request is answered over it"
    CLOSED = "an orderly end"
    BROKEN = "an end before the response's, of either kind"
    RESET = "a reset, because an orderly end would look like the response's"


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer of the proxy itself."""

    status: int
    close: bool = True
    head_only: bool = False


Piece = bytes | Problem


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The beginning of a request whose end must not arrive: at most so much came, and then the connection's end."""

    beginning: bytes


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """``says`` is what must hold, ``wrong`` why it does not yet.

    ``arrived`` has what each of the stack's connections received. ``cut`` says whether it must hold also when both
    sides send byte by byte; bodies are compared without regard to the borders of chunks then.
    """

    says: str
    sends: tuple[bytes | Step | Until | Arrived, ...]
    arrived: tuple[bytes, ...] | Unfinished = ()
    answers: tuple[Turn, ...] = (OK,)
    got: tuple[Piece, ...] = (OK,)
    end: End = End.KEPT
    reused: bool | None = None  # whether the stack's connection must, or must not, be used again
    trusted: bool = False
    cut: bool = True
    wrong: str = ""


STARS = b"*" * 32
TRACE = b"traceparent: " + b"*" * 55
TOLD = (b"X-Forwarded-For: 127.0.0.1", b"X-Forwarded-Proto: http")
ORIGIN = b"<origin>"
"""Stands for the stack's own address, which is another each time."""


def passed(first: bytes, *lines: bytes, host: bytes | None = b"shop.test", body: bytes = b"") -> bytes:
    """Return a request as a stack must receive it: ``lines``, and what the proxy tells about the client behind them."""
    told = (*TOLD, *(() if host is None else (b"X-Forwarded-Host: " + host,)), b"X-Request-ID: " + STARS, TRACE)
    return b"\r\n".join((first, b"Host: " + (ORIGIN if host is None else host), *lines, *told)) + b"\r\n\r\n" + body


_VOLATILE = (
    (re.compile(rb"(?<=X-Request-ID: )[0-9a-f]{32}(?=\r)"), STARS),
    (re.compile(rb"(?<=\"instance\": \")[0-9a-f]{32}(?=\")"), STARS),
    (re.compile(rb"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01](?=\r)"), TRACE),
)


def masked(data: bytes) -> bytes:
    """Return ``data`` with stars for what differs each time, as long as it was."""
    for volatile, mask in _VOLATILE:
        data = volatile.sub(mask, data)
    return data


_CHUNKED_HEAD = re.compile(rb"\r\nTransfer-Encoding: chunked\r\n(?:[^\r]+\r\n)*\r\n")
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")


def joined(data: bytes) -> bytes:
    """Return ``data`` with all chunks of each chunked body as one."""
    head = _CHUNKED_HEAD.search(data)
    if head is None:
        return data
    at, content = head.end(), b""
    while (size := _CHUNK.match(data, at)) and (length := int(size[1], 16)):
        content += data[size.end() : size.end() + length]
        at = size.end() + length + 2
    return data[: head.end()] + b"%x\r\n%b\r\n" % (len(content), content) + joined(data[at:])


class Mismatch(AssertionError):
    """What came is not what was expected."""


def match(expected: Sequence[Piece], data: bytes) -> bytes | None:
    """Return what ``data`` has behind ``expected``, None while it is not whole. Raises ``Mismatch``."""
    for piece in expected:
        rest = _match_problem(piece, data) if isinstance(piece, Problem) else _match_bytes(piece, data)
        if rest is None:
            return None
        data = rest
    return data


def _match_bytes(expected: bytes, data: bytes) -> bytes | None:
    if data.startswith(expected):
        return data[len(expected) :]
    if expected.startswith(data):
        return None
    raise Mismatch(f"expected {expected!r}, found {data!r}")


def _match_problem(expected: Problem, data: bytes) -> bytes | None:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    lines = head.split(b"\r\n")
    length = next((int(line[16:]) for line in lines if line.startswith(b"Content-Length: ")), 0)
    if lines != _problem_lines(expected, length):
        raise Mismatch(f"expected {expected}, found {data!r}")
    if expected.head_only:
        return rest
    if len(rest) < length:
        return None
    assert json.loads(rest[:length])["status"] == expected.status
    return rest[length:]


def _problem_lines(problem: Problem, length: int) -> list[bytes]:
    return [
        b"HTTP/1.1 %d %b" % (problem.status, HTTPStatus(problem.status).phrase.encode()),
        b"Content-Type: application/problem+json",
        b"Content-Length: %d" % length,
        b"Cache-Control: no-store",
        b"X-Request-ID: " + STARS,
        *([b"Retry-After: 1"] if problem.status == 503 else []),
        b"Connection: close" if problem.close else b"Connection: keep-alive",
    ]
