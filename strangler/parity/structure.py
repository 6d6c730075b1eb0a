"""JSON as it is written: members in their order, also those that come twice, and numbers with every digit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from strangler.parity.exempt import Exemption, Path
from strangler.parity.shown import brief, distinct


class Number(str):
    """A number as it is written: 1.50 is not 1.5 to everybody."""

    __slots__ = ()


Members = tuple[tuple[str, "Value"], ...]
Value = str | Number | bool | None | list["Value"] | Members
_NOTHING: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """A path, and what stands there in each; None where there is nothing."""

    path: str
    one: str | None
    other: str | None


def parse(body: bytes) -> Value:
    """Return what ``body`` says. Raises ``ValueError`` when it is no JSON."""
    try:
        value: Value = json.loads(
            body, parse_int=Number, parse_float=Number, parse_constant=Number, object_pairs_hook=tuple
        )
    except RecursionError as exc:
        raise ValueError("JSON deeper than Python follows") from exc
    return value


def unlike(one: Value, other: Value, exempt: Iterable[Exemption] = ()) -> Iterator[Unlike]:
    """Yield each path at which two values differ and that is not exempt."""
    return _walk(one, other, (), tuple(exempt))


def _walk(one: object, other: object, path: Path, exempt: tuple[Exemption, ...]) -> Iterator[Unlike]:
    if any(each.holds(path) for each in exempt):
        return
    if type(one) is type(other) is list:
        yield from _items(one, other, path, exempt)
    elif type(one) is type(other) is tuple:
        yield from _members(one, other, path, exempt)
    elif one != other or type(one) is not type(other):
        yield _told(path, one, other)


def _items(one: list[Value], other: list[Value], path: Path, exempt: tuple[Exemption, ...]) -> Iterator[Unlike]:
    for place, (mine, theirs) in enumerate(zip_longest(one, other, fillvalue=_NOTHING)):
        yield from _walk(mine, theirs, (*path, place), exempt)


def _members(one: Members, other: Members, path: Path, exempt: tuple[Exemption, ...]) -> Iterator[Unlike]:
    mine, theirs = _kept(one, path, exempt), _kept(other, path, exempt)
    names = [name for name, _ in mine]
    if sorted(names) != sorted(set(names)) or len(theirs) != len(dict(theirs)):
        if mine != theirs:
            yield _told(path, one, other)
        return
    left, right = dict(mine), dict(theirs)
    for name in dict.fromkeys([*left, *right]):
        yield from _walk(left.get(name, _NOTHING), right.get(name, _NOTHING), (*path, name), exempt)
    if left.keys() == right.keys() and list(left) != list(right):
        yield Unlike(path=f"{shown(path)} (order of members)", one=", ".join(left), other=", ".join(right))


def _kept(members: Members, path: Path, exempt: tuple[Exemption, ...]) -> Members:
    return tuple(pair for pair in members if not any(each.holds((*path, pair[0])) for each in exempt))


def _told(path: Path, one: object, other: object) -> Unlike:
    left, right = _text(one), _text(other)
    if left is not None and right is not None:
        left, right = distinct(left, right)
    return Unlike(path=shown(path), one=left and brief(left), other=right and brief(right))


def _text(value: object) -> str | None:
    if value is _NOTHING:
        return None
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{json.dumps(name)}: {_text(each)}" for name, each in value) + "}"
    if isinstance(value, list):
        return f"[{', '.join(_text(each) or '' for each in value)}]"
    return json.dumps(value, ensure_ascii=False)


def shown(path: Path) -> str:
    """Return a path as exemptions write it."""
    return "$" + "".join(_step(each) for each in path)


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    plain = step.replace("-", "_").isidentifier() and step.isascii()
    return f".{step}" if plain else f"[{step!r}]"
