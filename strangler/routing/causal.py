"""Causal tokens: what a visitor has written, and which stack's rows are as new as that.

A stack that answers a write tells a position in its database's WAL, taken after the commit. The visitor carries it in
a signed cookie, and the streams tell how far each stack has applied the other's WAL. So a read is answered by a stack
that has all that its visitor has written; where that is not known, by the owner, who had every acknowledged write when
it became the owner.

A mark also tells the version of the routing table by which it was made. Who routes by an older one may not know who
the owner is, and goes by the marks alone.

    TOKEN = MARK *("~" MARK) "." MAC
    MARK  = UPSTREAM "~" POSITION "~" TIME "~" VERSION      positions in hexadecimal, "-" for none

    POSITION of a stack's answer: as PostgreSQL writes it, or "none" where nothing was written
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from strangler.capability import Data, Stack, Stage
from strangler.routing.keys import Keys, is_signed_mark, sign_mark
from strangler.routing.table import MONOLITH, Capability

WATERMARKS: Final = "strangler:watermarks"
"""The channel by which whoever applies tells how far each stream is."""

LIFE_S: Final = 600
"""How long a mark counts. A stream that lags for longer has raised its alarm; and should a server be replaced by one
whose WAL begins anew, its positions must not be compared with the ones of before for ever."""
UNKNOWN_LIFE_S: Final = 5
"""How long one without a position counts: streams lag some milliseconds, and a second when they were just begun."""
LONGEST: Final = 2048
"""Bytes of a token: browsers keep 4,096 of a cookie."""
# A mark for each stack that somebody writes to within ten minutes, the latest ones.
_MOST_MARKS: Final = 16
_MARK: Final = re.compile(r"([a-z][a-z0-9_-]{0,62})~([0-9a-f]{1,16}|-)~([0-9]{1,12})~([0-9]{1,15})")
_TOKEN: Final = re.compile(rf"{_MARK.pattern}(?:~{_MARK.pattern}){{0,{_MOST_MARKS - 1}}}")
_POSITION: Final = re.compile(rb"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
NOTHING: Final = b"none"

Applied = Callable[[str, Stack], int | None]
"""How far a capability's stream into a stack is applied, as far as that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A write at ``at`` (Unix seconds), which is before ``position`` in the WAL of ``upstream``; None: nobody said.

    ``version`` is that of the routing table by which it went there, or of a later one.
    """

    upstream: str
    position: int | None
    at: int
    version: int

    def counts(self, now: float) -> bool:
        return now - self.at < (UNKNOWN_LIFE_S if self.position is None else LIFE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a visitor has written."""

    marks: tuple[Mark, ...]

    @property
    def version(self) -> int:
        """The newest version of the routing table that this visitor has met."""
        return max(mark.version for mark in self.marks)

    def upon(self, upstream: str) -> list[Mark]:
        """Return the marks of writes to ``upstream``."""
        return [mark for mark in self.marks if mark.upstream == upstream]


def read_position(value: bytes) -> int | None:
    """Return the position that a stack told, None for what is none."""
    found = _POSITION.fullmatch(value)
    return None if found is None else int(found[1], 16) << 32 | int(found[2], 16)


def merged(tokens: Iterable[Token], now: float) -> Token | None:
    """Return all that still counts of ``tokens`` as one, None for nothing.

    Of each upstream the furthest position is kept, and of very many upstreams the latest.
    """
    kept: dict[tuple[str, bool], Mark] = {}
    for token in tokens:
        for mark in token.marks:
            if mark.counts(now):
                key = (mark.upstream, mark.position is None)
                kept[key] = _further(kept[key], mark) if key in kept else mark
    latest = sorted(kept.values(), key=lambda mark: -mark.at)[:_MOST_MARKS]
    return Token(marks=tuple(latest)) if latest else None


def _further(one: Mark, other: Mark) -> Mark:
    position = None if one.position is None or other.position is None else max(one.position, other.position)
    at, version = max(one.at, other.at), max(one.version, other.version)
    return Mark(upstream=one.upstream, position=position, at=at, version=version)


def sign_token(token: Token, keys: Keys) -> str:
    """Return the cookie's value that carries ``token``."""
    marks = [f"{mark.upstream}~{_hex(mark.position)}~{mark.at}~{mark.version}" for mark in token.marks]
    return sign_mark("~".join(marks), keys)


def _hex(position: int | None) -> str:
    return "-" if position is None else f"{position:x}"


def read_token(value: str, keys: Keys) -> Token | None:
    """Return the token in a cookie's value, None when it was not signed with these keys."""
    text, _, mac = value.rpartition(".")
    if len(value) > LONGEST or _TOKEN.fullmatch(text) is None or not is_signed_mark(text, mac, keys):
        return None
    marks = [
        Mark(
            upstream=upstream,
            position=None if position == "-" else int(position, 16),
            at=int(at),
            version=int(version),
        )
        for upstream, position, at, version in _MARK.findall(text)
    ]
    return Token(marks=tuple(marks))


# --- which stack has it ---


def has_copy(capability: Capability) -> bool:
    """Return whether the stack that does not own the rows holds them, or is about to: else nothing can be older."""
    return capability.state.is_streamed or capability.state.data is Data.SNAPSHOT


def stack_for(asked: Stack, capability: Capability, version: int, token: Token, applied: Applied) -> Stack:
    """Return which stack answers a read that would go to ``asked``, by a routing table of ``version``."""
    state = capability.state
    if state.data is Data.NONE or state.killed is not None:  # nothing could be older; or the owner it is, and no other
        return asked
    current = token.version <= version
    if (current and asked is state.owner) or _has_all(asked, capability, token, applied):
        return asked
    if current or state.data is not Data.STREAMED or state.stage is Stage.RETIRED:  # no other stack may answer
        return state.owner
    if _has_all(asked.other, capability, token, applied):
        return asked.other
    return _written_last(capability, token)


def lacks_references(stack: Stack, capability: Capability, token: Token, applied: Applied) -> bool:
    """Return whether tables that are copied to ``stack`` for reading only may be older than what was written.

    Nothing but the stream brings their rows, whoever owns the capability. Marks without a position are left out: none
    could tell when they are reached.
    """
    if stack is Stack.MONOLITH or not capability.references:
        return False
    marks = [mark.position for mark in token.upon(MONOLITH) if mark.position is not None]
    position = applied(capability.name, stack) if marks else None
    return any(position is None or each > position for each in marks)


def _has_all(stack: Stack, capability: Capability, token: Token, applied: Applied) -> bool:
    marks = token.upon(_upstream(stack.other, capability))
    if not marks:
        return True
    position = applied(capability.name, stack)
    return position is not None and all(mark.position is not None and mark.position <= position for mark in marks)


def _written_last(capability: Capability, token: Token) -> Stack:
    marks = [(mark.version, mark.at, stack) for stack in Stack for mark in token.upon(_upstream(stack, capability))]
    return max(marks)[2]


def _upstream(stack: Stack, capability: Capability) -> str:
    return MONOLITH if stack is Stack.MONOLITH else capability.service


# --- how far the streams are ---


class WatermarksInvalid(Exception):
    """What came by the channel cannot be trusted or read. It is left out; the streams tell more within a second."""


Watermarks = Mapping[tuple[str, Stack], int]
"""By capability and stack: all that was committed on the other side up to this position is applied, and visible."""
# 10,000 streams are 0.5 MB.
_MOST_BYTES: Final = 1 << 20


def seal_watermarks(found: Watermarks, keys: Keys) -> bytes:
    """Return how far streams are as it is published: the HMAC-SHA256 of the JSON in hex, a newline, the JSON."""
    told: dict[str, dict[str, str]] = {}
    for (capability, stack), position in found.items():
        told.setdefault(capability, {})[str(stack)] = f"{position:x}"
    body = json.dumps(told, separators=(",", ":")).encode()
    return _seal(body, keys) + b"\n" + body


def unseal_watermarks(message: bytes, *believed: Keys) -> dict[tuple[str, Stack], int]:
    """Return what ``seal_watermarks`` was given. Raises ``WatermarksInvalid``."""
    mac, _, body = message.partition(b"\n")
    if len(message) > _MOST_BYTES or not any(hmac.compare_digest(mac, _seal(body, keys)) for keys in believed):
        raise WatermarksInvalid("the seal does not match: it was cut short, or sealed with another secret")
    try:
        told = json.loads(body)
        return {
            (str(capability), Stack(stack)): int(position, 16)
            for capability, by_stack in told.items()
            for stack, position in by_stack.items()
        }
    except (AttributeError, TypeError, ValueError, RecursionError) as exc:
        raise WatermarksInvalid(f"its content cannot be read: {exc!r}") from exc


def _seal(body: bytes, keys: Keys) -> bytes:
    return hmac.new(keys.watermark, body, sha256).hexdigest().encode()
