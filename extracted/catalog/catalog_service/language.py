"""In which language a page is read, and how it writes texts and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from starlette.requests import cookie_parser

from catalog_service.german import TEXTS

LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({"en": "English", "de": "Deutsch"})
USUAL: Final = "en"
_COOKIE: Final = "django_language"
_IN_PATH: Final = re.compile(r"/(\w+([@-]\w+){0,2})(/|$)")
# RFC 9110, section 12.5.4, as far as browsers use it.
_WISH: Final = re.compile(
    r"([a-z]{1,8}(?:-[a-z0-9]{1,8})*|\*)(?:\s*;\s*q=(0(?:\.[0-9]{,3})?|1(?:\.0{,3})?))?(?:\s*,\s*|$)"
)
_MOST_ACCEPTED: Final = 500
# Longer numbers would fill a page with zeros.
_MOST_DIGITS: Final = 200


def of_path(path: str) -> str | None:
    """Return the language that the first segment of ``path`` names, such as "de" of ``/de-at/``."""
    match = _IN_PATH.match(path)
    return _known(match[1]) if match else None


def of_visitor(headers: Mapping[str, str]) -> str:
    """Return the language that a visitor asked for once, or whose browser asks for; the usual one else."""
    asked = (_known(code) for code in _wishes(headers))
    return next(filter(None, asked), USUAL)


def _wishes(headers: Mapping[str, str]) -> Iterator[str]:
    cookies = cookie_parser(headers.get("cookie", ""))
    if _COOKIE in cookies:
        yield cookies[_COOKIE]
    for code in _accepted(headers.get("accept-language", "")):
        if code == "*":
            return
        yield code


def _accepted(header: str) -> list[str]:
    """Return the codes in ``header``, most wanted first; none of a header that breaks the rules."""
    between, codes, qualities = (_WISH.split(_bounded(header))[place::3] for place in range(3))
    if any(between):
        return []
    wishes = sorted(zip(codes, qualities, strict=True), key=lambda wish: -float(wish[1] or 1))
    return [code for code, _ in wishes]


def _bounded(header: str) -> str:
    """Return the wishes that end within what is read of a header."""
    if len(header) <= _MOST_ACCEPTED:
        return header.lower()
    return header[: max(0, header.rfind(",", 0, _MOST_ACCEPTED))].lower()


def _known(code: str) -> str | None:
    generic = code.lower().partition("-")[0]
    return generic if generic in LANGUAGES else None


def said(text: str, language: str, **named: object) -> str:
    """Return ``text`` in ``language``, with what is ``named`` put in."""
    template = TEXTS.get(text, text) if language == "de" else text
    return template % named if named else template


def number(value: object, language: str) -> str:
    """Return a number as ``language`` writes it, without grouping; anything else as Python prints it."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return str(value)
    written = str(value)
    if isinstance(value, Decimal) or "e" in written:
        written = _spelled(Decimal(written))
    return written.replace(".", ",") if language == "de" else written


def _spelled(value: Decimal) -> str:
    _, digits, exponent = value.as_tuple()
    long = not isinstance(exponent, int) or abs(exponent) + len(digits) > _MOST_DIGITS
    return f"{value:e}" if long else f"{value:f}"
