"""How much of what a capability promises a list of cases has touched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from strangler.parity.compare import Answer
from strangler.regression.case import Case, Form, Json, Multipart
from strangler.regression.surface import Kind, Point, Surface

Asked = tuple[Case, Answer]
_MOST_LISTED: Final = 40


class Uncovered(AssertionError):
    """Something is promised that no case asks for: write one, or say why nothing can touch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The points of a surface, those seen among them, and those that cannot be, each with its reason."""

    points: frozenset[Point]
    seen: frozenset[Point]
    unseen: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[Point, ...]:
        """What no case touches, and no reason is given for."""
        return tuple(sorted(each for each in self.points - self.seen if str(each) not in self.unseen))

    @property
    def stale(self) -> tuple[str, ...]:
        """What is said to be untouchable, and is touched, or not there at all."""
        left = {str(each) for each in self.points - self.seen}
        return tuple(sorted(each for each in self.unseen if each not in left))

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """How many points of each kind are seen, and how many there are; what cannot be seen is left out."""
        wanted = [each for each in self.points if each in self.seen or str(each) not in self.unseen]
        return {
            kind.plural: (sum(each in self.seen for each in mine), len(mine))
            for kind in Kind
            if (mine := [each for each in wanted if each.kind is kind])
        }

    def require(self) -> None:
        """Be content, or raise ``Uncovered``."""
        __tracebackhide__ = True
        if self.missing or self.stale:
            raise Uncovered(str(self))

    def __str__(self) -> str:
        """Say what is covered on one line, and what is missing on one each."""
        counted = ", ".join(f"{kind} {seen}/{there}" for kind, (seen, there) in self.counts.items())
        missing = [f"  no case for the {each.kind} {each}" for each in self.missing[:_MOST_LISTED]]
        more = len(self.missing) - len(missing)
        stale = [f"  said to be untouchable, and is not: {each}" for each in self.stale]
        return "\n".join([counted, *missing, *([f"  and {more} more"] if more else []), *stale])


def judge(surface: Surface, asked: Iterable[Asked], unseen: Mapping[str, str] | None = None) -> Coverage:
    """Return what ``asked`` touches. ``unseen`` are points that nothing can touch, as they are shown, and why."""
    seen = {point for case, answer in asked for point in touched(surface, case, answer)}
    return Coverage(points=surface.points, seen=frozenset(seen) & surface.points, unseen=unseen or {})


def touched(surface: Surface, case: Case, answer: Answer) -> Iterator[Point]:
    """Yield every point that one case touches, and some that no surface has."""
    path = unquote(urlsplit(case.target).path)
    operation = surface.operation(case.method, path)
    if operation is not None:
        place = operation.place
        yield Point(kind=Kind.OPERATION, place=place)
        yield Point(kind=Kind.STATUS, place=place, name=str(answer.status))
        yield from (Point(kind=Kind.PARAMETER, place=place, name=name) for name in _parameters(case))
        yield from (Point(kind=Kind.SENT, place=place, name=name) for name in _sent(case))
        yield from (Point(kind=Kind.FIELD, place=place, name=f"{answer.status} {name}") for name in _fields(answer))
    if answer.status < 400:  # an address that is refused or not found shows nothing of the page
        yield from (each.point for each in surface.pages if re.search(each.pattern, path.removeprefix("/")))


def _parameters(case: Case) -> Iterator[str]:
    for name, value in parse_qsl(urlsplit(case.target).query, keep_blank_values=True):
        yield from (f"?{name}", f"?{name}={value}")
    for name, value in case.headers.items():
        yield from (f"{name.lower()}:", f"{name.lower()}:={value}")


def _sent(case: Case) -> Iterator[str]:
    if isinstance(case.body, Form | Multipart):
        yield from (f"$.{name}" for name in dict(case.body.fields))
    elif isinstance(case.body, Json):
        yield from _paths(case.body.value, "$")
    elif case.body is not None:
        yield from _written(case.body)


def _fields(answer: Answer) -> Iterator[str]:
    return _written(answer.body) if answer.is_json else iter(())


def _written(body: bytes) -> Iterator[str]:
    try:
        yield from _paths(json.loads(body), "$")
    except ValueError:
        return


def _paths(value: object, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _paths(each, f"{path}[*]")
    elif isinstance(value, dict):
        for name, each in value.items():
            yield f"{path}.{name} null" if each is None else f"{path}.{name}"
            yield from _paths(each, f"{path}.{name}")


def to_json(coverage: Coverage) -> dict[str, Any]:
    """Return what reports need, in plain values."""
    return {
        "counts": {kind: list(pair) for kind, pair in coverage.counts.items()},
        "missing": [f"{each.kind} {each}" for each in coverage.missing],
        "unseen": dict(coverage.unseen),
    }
