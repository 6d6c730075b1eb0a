"""How a request's path may be read, as tuples of segments, without changing a byte of it.

Servers disagree on what ``%2F``, ``..``, ``;`` or ``%252e`` mean. The proxy forwards the target as it came, so the
stack behind it may read another path than the proxy did. ``readings`` returns every reading that a server in use is
known to make; whoever routes by the path compares what they select, and refuses where they differ.

The canonical reading is that of RFC 3986 section 6.2.2: unreserved characters decoded, dot segments removed, and
empty segments dropped. Plain paths, which are nearly all, have that one reading.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

Segments = tuple[str, ...]

# Nothing in here can be read in two ways: no escape, no empty or dot segment, no parameter, no backslash.
_ODD: Final = re.compile(rb"[%;\\\0]|//|/\.")
_UNRESERVED: Final = re.compile(rb"%([2-7][0-9A-Fa-f])")
_PARAMETERS: Final = re.compile(rb";[^/]*")


def readings(path: bytes) -> tuple[Segments, ...]:
    """Return the readings of ``path`` (the target before ``?``), the canonical one first, none of them twice."""
    if _ODD.search(path) is None:
        return (_split(path),)
    return tuple(dict.fromkeys(_readings(path)))


def _readings(path: bytes) -> list[Segments]:
    tidy = _UNRESERVED.sub(_decode_unreserved, path)
    found = [_without_dots(_split(tidy)), _split(tidy)]
    variants = [_PARAMETERS.sub(b"", tidy), tidy.partition(b"\0")[0]]
    once = unquote_to_bytes(path)
    # Twice is as deep as known chains of servers go: one decodes for its access rules, the next for its handlers.
    variants += [once, unquote_to_bytes(once), _PARAMETERS.sub(b"", once), once.partition(b"\0")[0]]
    variants += [variant.replace(b"\\", b"/") for variant in [tidy, *variants]]
    for variant in variants:
        segments = _split(variant)
        found += [_without_dots(segments), segments]
    return found


def _decode_unreserved(escape: re.Match[bytes]) -> bytes:
    char = bytes([int(escape[1], 16)])
    return char if char.isalnum() or char in b"-._~" else escape[0].upper()


def _split(path: bytes) -> Segments:
    # Latin-1 keeps every byte; empty segments and single dots name nothing, so no reading depends on them.
    return tuple(segment for segment in path.decode("latin-1").split("/") if segment not in ("", "."))


def _without_dots(segments: Segments) -> Segments:
    kept: list[str] = []
    for segment in segments:
        if segment != "..":
            kept.append(segment)
        elif kept:
            kept.pop()
    return tuple(kept)
