"""Inputs to begin from: what the conformance cases send and answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.conformance.case import Case, Turn
from tests.conformance.cases import CASES
from tests.fuzz.targets import BETWEEN

WORDS: Final = (
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n", b"Connection: close\r\n"),
    *(b"Connection: upgrade\r\nUpgrade: x\r\n", b"Expect: 100-continue\r\n", b"Cookie: strangler_visitor=a; b=c\r\n"),
    *(b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 A\r\n", b"HTTP/1.1 100 A\r\n\r\n", b"HTTP/1.0"),
    *(b"0\r\n\r\n", b"5\r\nabcde\r\n", b"\r\n\r\n", b"\n", b"\r", b"\x00", b"\xff", b"http://x/", BETWEEN),
)
"""What stands in messages of this kind, for the fuzzer to put in."""

_LONGEST: Final = 4000


def seeds(target: str) -> Iterator[bytes]:
    """Return inputs for ``target``."""
    for case in CASES:
        sent = b"".join(step for step in case.sends if isinstance(step, bytes))
        answer = next((_bytes(turn) for turn in case.answers), b"")
        found = _input(target, case, sent, answer)
        if found and len(found) < _LONGEST:
            yield b"\x05" + found


def _input(target: str, case: Case, sent: bytes, answer: bytes) -> bytes:
    match target:
        case "response":
            return answer
        case "chunks":
            return sent.partition(b"\r\n\r\n")[2]
        case "connection":
            return sent + BETWEEN + answer
    return sent


def _bytes(turn: Turn) -> bytes:
    return turn if isinstance(turn, bytes) else b"".join(step for step in turn if isinstance(step, bytes))
