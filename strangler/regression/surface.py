"""What a capability promises, as its OpenAPI document and its URL patterns say: the points that cases have to touch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_CAPTURED: Final = re.compile(r"\\\{[^/{}]*\\\}")
_EMPTY: Final[Mapping[str, Any]] = {}


class Kind(StrEnum):
    """What is touched by asking for it, sending it, or being answered it."""

    OPERATION = "operation"
    PARAMETER = "parameter"
    SENT = "sent field"
    STATUS = "status"
    FIELD = "field"
    PAGE = "page"

    @property
    def plural(self) -> str:
        return f"{self}es" if self.endswith("s") else f"{self}s"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Point:
    """One thing that a case must touch: of ``place`` (``GET /api/items/{id}/``) the one called ``name``."""

    kind: Kind
    place: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.place} {self.name}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method at an address, and the points that it has."""

    method: str
    path: str
    pattern: re.Pattern[str]
    points: frozenset[Point]

    @property
    def place(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page's URL pattern as the application matches it, without the leading slash, and how it is shown."""

    shown: str
    pattern: str
    name: str = ""

    @property
    def point(self) -> Point:
        return Point(kind=Kind.PAGE, place=self.shown, name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """All that a capability promises."""

    operations: tuple[Operation, ...] = ()
    pages: tuple[Page, ...] = ()

    @classmethod
    def of(
        cls,
        documents: Iterable[Mapping[str, Any]],
        pages: Iterable[Page] = (),
        within: Callable[[str], bool] = lambda _: True,
    ) -> Surface:
        """Return what ``documents`` and ``pages`` say of the paths that are ``within`` the capability.

        Several documents are one API in several versions of it: what any of them promises must be seen.
        """
        found: dict[str, Operation] = {}
        for document in documents:
            for each in _operations(document, within):
                before = found.get(each.place)
                points = each.points | (before.points if before else frozenset())
                found[each.place] = Operation(method=each.method, path=each.path, pattern=each.pattern, points=points)
        return cls(operations=tuple(found.values()), pages=tuple(each for each in pages if within(each.shown)))

    @property
    def points(self) -> frozenset[Point]:
        return frozenset().union(*(each.points for each in self.operations), {each.point for each in self.pages})

    def operation(self, method: str, path: str) -> Operation | None:
        """Return the operation that answers; of several the one that captures least."""
        fits = [each for each in self.operations if each.method == method and each.pattern.fullmatch(path)]
        return min(fits, key=lambda each: each.path.count("{"), default=None)


def _operations(document: Mapping[str, Any], within: Callable[[str], bool]) -> Iterator[Operation]:
    for path, item in document.get("paths", _EMPTY).items():
        for method in _METHODS:
            if method in item and within(path):
                yield _operation(document, path, method, item)


def _operation(document: Mapping[str, Any], path: str, method: str, item: Mapping[str, Any]) -> Operation:
    told = item[method]
    place = f"{method.upper()} {path}"
    points = {Point(kind=Kind.OPERATION, place=place)}
    points |= {
        Point(kind=Kind.PARAMETER, place=place, name=name)
        for each in (*item.get("parameters", ()), *told.get("parameters", ()))
        for name in _parameter(_resolved(document, each))
    }
    points |= {
        Point(kind=Kind.SENT, place=place, name=name)
        for schema in _schemas(document, told.get("requestBody", _EMPTY))
        for name, _ in fields(document, schema, sent=True)
    }
    for status, answer in told.get("responses", _EMPTY).items():
        points |= set(_answered(document, place, status, _resolved(document, answer)))
    pattern = re.compile(_CAPTURED.sub("[^/]+", re.escape(path)))
    return Operation(method=method.upper(), path=path, pattern=pattern, points=frozenset(points))


def _parameter(told: Mapping[str, Any]) -> Iterator[str]:
    """Name a parameter as coverage does, once for each value where the values are few and told."""
    name = {"query": f"?{told['name']}", "header": f"{told['name'].lower()}:"}.get(told["in"])
    if name is None:
        return
    values = told.get("schema", _EMPTY).get("enum")
    yield from ([f"{name}={value}" for value in values] if values else [name])


def _answered(document: Mapping[str, Any], place: str, status: str, answer: Mapping[str, Any]) -> Iterator[Point]:
    yield Point(kind=Kind.STATUS, place=place, name=status)
    for schema in _schemas(document, answer):
        for path, nullable in fields(document, schema):
            yield Point(kind=Kind.FIELD, place=place, name=f"{status} {path}")
            if nullable:
                yield Point(kind=Kind.FIELD, place=place, name=f"{status} {path} null")


def _schemas(document: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas of a body's media types; the same fields in another encoding are the same fields."""
    for media in _resolved(document, told).get("content", _EMPTY).values():
        if "schema" in media:
            yield media["schema"]


def fields(document: Mapping[str, Any], schema: Mapping[str, Any], *, sent: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the path of each field that ``schema`` describes, and whether it may be null.

    A list is stepped into once (``[*]``), a schema that holds itself not again.
    """
    yield from _fields(document, schema, "$", frozenset(), sent)


def _fields(
    document: Mapping[str, Any], schema: Mapping[str, Any], path: str, above: frozenset[str], sent: bool
) -> Iterator[tuple[str, bool]]:
    reference = schema.get("$ref")
    if reference is not None:
        if reference not in above:
            yield from _fields(document, _resolved(document, schema), path, above | {reference}, sent)
        return
    for part in _parts(schema):
        yield from _fields(document, part, path, above, sent)
    if "items" in schema:
        yield from _fields(document, schema["items"], f"{path}[*]", above, sent)
    for name, each in schema.get("properties", _EMPTY).items():
        flags = _resolved(document, each)
        if not flags.get("readOnly" if sent else "writeOnly"):
            yield f"{path}.{name}", _nullable(document, each)
            yield from _fields(document, each, f"{path}.{name}", above, sent)


def _parts(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for word in ("allOf", "oneOf", "anyOf"):
        yield from schema.get(word, ())


def _nullable(document: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    told = _resolved(document, schema)
    kind = told.get("type")
    return (
        bool(told.get("nullable"))
        or kind == "null"
        or (isinstance(kind, list) and "null" in kind)
        or told.get("enum") == [None]
        or any(_nullable(document, each) for word in ("oneOf", "anyOf") for each in told.get(word, ()))
    )


def _resolved(document: Mapping[str, Any], told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference within the document (RFC 6901)."""
    while "$ref" in told:
        found: Any = document
        for step in told["$ref"].removeprefix("#/").split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")]
        told = found
    return told
