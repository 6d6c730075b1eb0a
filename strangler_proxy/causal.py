"""What visitors have written, in a worker: how far the streams are, and the cookies that tell it from then on.

A visitor may write several times at once, and each answer sets a cookie while the others are under way. One name for
all would let the answer that comes last replace a newer position by an older one. So each goes by a name of its own,
drawn from 4 billion, and takes away those that its request brought, since it says what they said: mostly there is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from random import getrandbits
from typing import Final

from strangler.capability import Stack
from strangler.routing.causal import (
    LIFE_S,
    LONGEST,
    NOTHING,
    Mark,
    Token,
    Watermarks,
    merged,
    read_position,
    read_token,
    sign_token,
)
from strangler.routing.keys import Keys
from strangler_proxy.http1.hygiene import CAUSAL_COOKIE

AWAIT_S: Final = 1.0
"""How long a read waits for tables that are copied for reading only: as long as an idle owner's heartbeat takes."""
LOOK_S: Final = 0.02
"""How often it looks; the streams tell no more often."""
# Each stream tells once a second, since it carries a heartbeat.
_SILENT_S: Final = 3.0
# As many writes at once as browsers have connections, twice; what is beyond may lie outside of the promise. The last of
# them: browsers tell what was set last at the end (RFC 6265, section 5.4).
_MOST_COOKIES: Final = 12
_MOST_STREAMS: Final = 20_000
# A client is told to forget no name but those that a proxy draws.
_OURS: Final = re.compile(CAUSAL_COOKIE + rb"[0-9a-f]{8}")


class Outcome(StrEnum):
    """How a read went on whose stack might have lacked what its visitor has written."""

    DIVERTED = "diverted"  # another stack answered it
    WAITED = "waited"  # it waited, and then the stack had it
    EXPIRED = "expired"  # the stack had it not in time, or nobody told, and was asked all the same


class Reached:
    """How far the streams are, as this worker has heard; not known of those that were silent for 3 s."""

    __slots__ = ("_known", "_time")

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._known: dict[tuple[str, Stack], tuple[int, float]] = {}

    def __repr__(self) -> str:
        return f"<Reached {len(self._known)} streams>"

    def hear(self, found: Watermarks) -> None:
        """Take what was told now. The last word counts, also where it is a lower one: a database may be restored."""
        now = self._time()
        if len(self._known) > _MOST_STREAMS:
            self._known.clear()
        for key, position in found.items():
            self._known[key] = (position, now)

    def applied(self, capability: str, stack: Stack) -> int | None:
        position, heard_at = self._known.get((capability, stack), (0, float("-inf")))
        return position if self._time() - heard_at < _SILENT_S else None


def unknown(capability: str, stack: Stack) -> int | None:
    """Return that nobody knows how far a stream is."""
    return None


@lru_cache(maxsize=16_384)  # as visitors' ids: who asks once asks again
def _token_in(cookie: bytes, keys: Keys) -> Token | None:
    return read_token(cookie.decode("latin-1"), keys)


def token_in(cookies: dict[bytes, bytes], keys: Keys, now: float) -> Token | None:
    """Return what still counts at ``now`` (Unix seconds) of the tokens in a request's ``cookies``, None for nothing."""
    few = [value for value in cookies.values() if len(value) <= LONGEST][-_MOST_COOKIES:]
    tokens = [token for value in few if (token := _token_in(value, keys)) is not None]
    if len(tokens) == 1 and all(mark.counts(now) for mark in tokens[0].marks):
        return tokens[0]  # mostly it is so: 2 us less
    return merged(tokens, now)


def mark_of(position: bytes, upstream: str, version: int, *, written: bool, now: float) -> Mark | None:
    """Return what a stack's answer says of what it wrote, None for nothing.

    ``position`` is the value of its header, empty for none: then ``written`` tells whether something was.
    """
    if position == NOTHING:
        return None
    told = read_position(position)
    if told is None and not written:
        return None
    return Mark(upstream=upstream, position=told, at=int(now), version=version)


def cookie_lines(mark: Mark, before: Token | None, cookies: Iterable[bytes], keys: Keys, *, secure: bool) -> bytes:
    """Return the headers that have a visitor carry ``mark`` beside what it carried ``before`` in ``cookies``."""
    tokens = [] if before is None else [before]
    token = merged([*tokens, Token(marks=(mark,))], mark.at)
    if token is None:
        return b""
    names = list(cookies)[-_MOST_COOKIES:]
    attributes = b"; Path=/; HttpOnly; SameSite=Lax" + (b"; Secure" if secure else b"")
    name = CAUSAL_COOKIE + b"%08x" % getrandbits(32)
    value = sign_token(token, keys).encode("ascii")
    lines = [b"Set-Cookie: %b=%b; Max-Age=%d%b\r\n" % (name, value, LIFE_S, attributes)]
    lines += [b"Set-Cookie: %b=; Max-Age=0%b\r\n" % (each, attributes) for each in names if _OURS.fullmatch(each)]
    return b"".join(lines)
