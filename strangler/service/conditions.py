"""Conditional requests (RFC 9110, section 13): whether the reader has it already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_TAG: Final = re.compile(r'(?:W/)?"[^"]*"')
_MONTHS: Final = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_TIME: Final = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# RFC 9110, section 5.6.7: the format in use and the two that were.
_DATES: Final = (
    re.compile(rf"\w{{3}}, (?P<day>[0-9]{{2}}) (?P<month>\w{{3}}) (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"\w{{6,9}}, (?P<day>[0-9]{{2}})-(?P<month>\w{{3}})-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"\w{{3}} (?P<month>\w{{3}}) (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a request's conditional headers say; a date that is none is as good as absent."""

    match: tuple[str, ...] = ()
    none_match: tuple[str, ...] = ()
    modified_since: int | None = None
    unmodified_since: int | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Conditions:
        return cls(
            match=tags(headers.get("if-match", "")),
            none_match=tags(headers.get("if-none-match", "")),
            modified_since=instant(headers.get("if-modified-since", "")),
            unmodified_since=instant(headers.get("if-unmodified-since", "")),
        )

    def verdict(self, *, tag: str, changed: str | None) -> int:
        """Return 200, 304 or 412 for a GET of what carries ``tag`` and was ``changed`` at an HTTP date."""
        at = instant(changed or "")
        if self.match:
            if self.match != ("*",) and tag not in self.match:
                return 412
        elif self.unmodified_since and not (at and at <= self.unmodified_since):
            return 412
        if self.none_match:
            held = self.none_match == ("*",) or tag in {each.removeprefix("W/") for each in self.none_match}
            return 304 if held else 200
        if self.modified_since and at and at <= self.modified_since:
            return 304
        return 200


def tags(text: str) -> tuple[str, ...]:
    """Return the entity tags of a header's value, ``("*",)`` for any."""
    if text.strip() == "*":
        return ("*",)
    return tuple(each for part in text.split(",") if _TAG.fullmatch(each := part.strip()))


def instant(text: str) -> int | None:
    """Return an HTTP date in seconds since 1970, None for anything else."""
    found = next((match for date in _DATES if (match := date.fullmatch(text))), None)
    if found is None:
        return None
    try:
        month = _MONTHS.index(found["month"].lower()) + 1
        day, hour, minute, second = (int(found[key]) for key in ("day", "hour", "minute", "second"))
        return int(datetime(_year(found["year"]), month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _year(digits: str) -> int:
    year = int(digits)
    if len(digits) == 4 and year >= 100:
        return year
    # Two digits: more than 50 years ahead means the past.
    now = datetime.now(UTC).year
    century = now - now % 100
    return year + century - (100 if year - now % 100 > 50 else 0)
