"""Values in a difference, short, and so that two which differ never look the same."""

from __future__ import annotations

import unicodedata
from typing import Final

_LONGEST: Final = 160


def brief(text: str) -> str:
    """Return ``text`` cut in its middle where it is long."""
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} ... {text[-half:]} ({len(text)} characters)"


def distinct(one: str, other: str) -> tuple[str, str]:
    """Return two texts that differ such that a reader sees it: letters that look alike are written as escapes."""
    alike = unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other)
    if not alike and one.isprintable() and other.isprintable():
        return one, other
    return (_escaped(one), _escaped(other)) if alike else (one, other)


def _escaped(text: str) -> str:
    return "".join(each if each.isascii() else ascii(each)[1:-1] for each in text)
