"""In which language a page is read, and how it writes texts and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from http.cookies import CookieError, SimpleCookie
from types import MappingProxyType
from typing import Final

from catalog_service.german import TEXTS

LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({"en": "English", "de": "Deutsch"})
USUAL: Final = "en"
_COOKIE: Final = "django_language"
_IN_PATH: Final = re.compile(r"/(\w+([@-]\w+){0,2})(/|$)")
# RFC 9110, section 12.5.4, as far as browsers use it.
_WANTED: Final = re.compile(r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)(?:\s*;\s*q=(0(?:\.\d{,3})?|1(?:\.0{,3})?))?")
_MOST_ACCEPTED: Final = 500


def of_path(path: str) -> str | None:
    """Return the language that the first segment of ``path`` names, such as "de" of ``/de-at/``."""
    match = _IN_PATH.match(path)
    return _known(match[1]) if match else None


def of_visitor(headers: Mapping[str, str]) -> str:
    """Return the language that a visitor asked for once, or whose browser asks for; the usual one else."""
    asked = (_known(code) for code in _wishes(headers))
    return next(filter(None, asked), USUAL)


def _wishes(headers: Mapping[str, str]) -> Iterator[str]:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
    except CookieError:
        cookie = None
    if cookie is not None:
        yield cookie.value
    for code in _accepted(headers.get("accept-language", "")):
        if code == "*":
            return
        yield code


def _accepted(header: str) -> list[str]:
    found = [_WANTED.fullmatch(part.strip()) for part in header.lower()[:_MOST_ACCEPTED].split(",") if part.strip()]
    if None in found:
        return []
    wishes = [(float(match[2] or 1), match[1]) for match in found if match is not None]
    return [code for quality, code in sorted(wishes, key=lambda wish: -wish[0]) if quality]


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
        written = f"{Decimal(written):f}"
    return written.replace(".", ",") if language == "de" else written
