"""Two answers to one request, and every difference that a client could see: status, headers, the whole body.

Headers are compared name by name: how often each comes and with which values, and the cookies in their order. The
order of different headers means nothing (RFC 9110, section 5.3). Bodies are compared byte by byte; where they differ,
JSON tells the path of each difference and a page the element. Only where something in a body is exempt does its
structure count instead of its bytes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from strangler.parity import html, structure
from strangler.parity.exempt import ALWAYS, Exemption, Kind, declared, of_kind
from strangler.parity.shown import brief, distinct

_ALWAYS: Final = declared(ALWAYS)
_AROUND: Final = 40


class Part(StrEnum):
    """The part of an answer that differs."""

    STATUS = "status"
    HEADER = "header"
    BODY = "body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as it came over the wire; header names in lower case, in the order in which they came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Return the last value of a header. Raises ``KeyError`` when there is none."""
        return dict(self.headers)[name.lower()]

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(value for key, value in self.headers if key == name.lower())

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def media_type(self) -> str:
        return dict(self.headers).get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        return self.media_type == "application/json" or self.media_type.endswith("+json")

    @property
    def is_html(self) -> bool:
        return self.media_type in ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where two answers differ, and what stands there in each; None where there is nothing."""

    part: Part
    place: str
    one: str | None
    other: str | None

    def __str__(self) -> str:
        return self.told("one", "other")

    def told(self, one: str, other: str) -> str:
        """Return the difference on one line, the two answers being called ``one`` and ``other``."""
        where = f"{self.part} {self.place}".strip()
        return f"{where}: {one} {_said(self.one)}, {other} {_said(self.other)}"


def _said(text: str | None) -> str:
    return "has none" if text is None else text


def differences(one: Answer, other: Answer, exempt: Iterable[Exemption] = ()) -> tuple[Difference, ...]:
    """Return what differs between two answers to one request, apart from what is exempt."""
    allowed = (*_ALWAYS, *exempt)
    return (*_status(one, other), *_headers(one, other, allowed), *_bodies(one, other, allowed))


def _status(one: Answer, other: Answer) -> Iterable[Difference]:
    if one.status != other.status:
        yield Difference(part=Part.STATUS, place="", one=str(one.status), other=str(other.status))


def _headers(one: Answer, other: Answer, exempt: tuple[Exemption, ...]) -> Iterable[Difference]:
    mine, theirs = visible(one, exempt), visible(other, exempt)
    for name in sorted({*mine, *theirs}):
        left, right = mine.get(name), theirs.get(name)
        if left != right:
            yield Difference(part=Part.HEADER, place=name, one=_values(left), other=_values(right))


def visible(answer: Answer, exempt: Iterable[Exemption] = _ALWAYS) -> Mapping[str, tuple[str, ...]]:
    """Return the values of each header in their order, without what is exempt."""
    exempt = tuple(exempt)
    without = {each.header for each in of_kind(exempt, Kind.HEADER)}
    members: dict[str, list[str]] = defaultdict(list)
    for each in of_kind(exempt, Kind.MEMBER):
        members[each.header].append(each.member)
    found: dict[str, list[str]] = defaultdict(list)
    for name, value in answer.headers:
        kept = value if name not in members else _without_members(name, value, members[name])
        if name not in without and kept is not None:
            found[name].append(kept)
    return {name: tuple(values) for name, values in found.items()}


def _without_members(name: str, value: str, members: list[str]) -> str | None:
    if name == "set-cookie":
        return None if _is_member(value, members) else value
    kept = [each.strip() for each in value.split(",") if not _is_member(each, members)]
    return ", ".join(kept) if kept else None


def _is_member(text: str, members: list[str]) -> bool:
    name = text.partition("=")[0].strip().lower()
    return any(name == each or (name.startswith(each[:-1]) and each[1:].endswith("*")) for each in members)


def _values(values: tuple[str, ...] | None) -> str | None:
    return None if values is None else " and ".join(map(repr, values))


def _bodies(one: Answer, other: Answer, exempt: tuple[Exemption, ...]) -> Iterable[Difference]:
    if one.body == other.body:
        return ()
    if one.is_json and other.is_json:
        return _json(one.body, other.body, of_kind(exempt, Kind.JSON))
    if one.is_html and other.is_html:
        allowed = (*of_kind(exempt, Kind.SPACE), *of_kind(exempt, Kind.ATTRIBUTE))
        return _pages(one.body, other.body, allowed)
    return (_bytes(one.body, other.body),)


def _json(one: bytes, other: bytes, exempt: tuple[Exemption, ...]) -> Iterable[Difference]:
    try:
        mine, theirs = structure.parse(one), structure.parse(other)
    except ValueError:
        return (_bytes(one, other),)
    found = tuple(
        Difference(part=Part.BODY, place=each.path, one=each.one, other=each.other)
        for each in structure.unlike(mine, theirs, exempt)
    )
    return found if found or exempt else (_bytes(one, other, "the same JSON, written differently, "),)


def _pages(one: bytes, other: bytes, exempt: tuple[Exemption, ...]) -> Iterable[Difference]:
    left, right = (each.decode("utf-8", "surrogateescape") for each in (one, other))
    return tuple(
        Difference(part=Part.BODY, place=each.place, one=each.one, other=each.other)
        for each in html.unlike(left, right, exempt)
    )


def _bytes(one: bytes, other: bytes, remark: str = "") -> Difference:
    pairs = enumerate(zip(one, other, strict=False))
    place = next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))
    around = slice(max(0, place - _AROUND), place + _AROUND)
    left, right = distinct(_around(one[around]), _around(other[around]))
    return Difference(part=Part.BODY, place=f"{remark}from byte {place}", one=left, other=right)


def _around(text: bytes) -> str:
    return brief(repr(text.decode("utf-8", "backslashreplace")))
