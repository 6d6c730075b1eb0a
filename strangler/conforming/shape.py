"""Whether a value has the shape that a schema declares: the words of JSON Schema that OpenAPI documents use most.

Types, lists, objects, enumerations, bounds, and what combines schemas; ``nullable`` of OpenAPI 3.0. Words beyond those
(``format``, ``not``, ``if``, ``unevaluatedProperties`` ...) are not judged, so a value that fits may still be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Resolve = Callable[[Mapping[str, Any]], Mapping[str, Any]]

_DEEPEST: Final = 40
_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def misfits(value: Any, schema: Any, resolve: Resolve, at: str = "$", depth: int = 0) -> Iterator[str]:
    """Yield what of ``value`` does not fit ``schema``, each with its place."""
    if schema is True or schema == {} or depth > _DEEPEST:
        return
    if schema is False:
        yield f"{at} should not be there"
        return
    told = resolve(schema) if isinstance(schema, dict) else schema
    if not isinstance(told, dict):
        return  # nothing that could be judged by
    if value is None and told.get("nullable") is True:
        return
    types = _types(told)
    if types and not any(_TYPES[each](value) for each in types if isinstance(each, str) and each in _TYPES):
        yield f"{at} is {_named(value)}, not {' or '.join(map(str, types))}"
        return
    yield from _listed(value, told, at)
    yield from _bounds(value, told, at)
    yield from _parts(value, told, resolve, at, depth + 1)
    yield from _combined(value, told, resolve, at, depth + 1)


def _types(told: Mapping[str, Any]) -> list[str]:
    found = told.get("type", [])
    return [found] if isinstance(found, str) else _list(found)


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


def _named(value: Any) -> str:
    return next(name for name, fits in _TYPES.items() if fits(value))


def _listed(value: Any, told: Mapping[str, Any], at: str) -> Iterator[str]:
    if isinstance(told.get("enum"), list) and value not in told["enum"]:
        yield f"{at} is {value!r:.60}, which is not among the values declared"
    if "const" in told and value != told["const"]:
        yield f"{at} is {value!r:.60}, not {told['const']!r:.60}"


def _bounds(value: Any, told: Mapping[str, Any], at: str) -> Iterator[str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < _number(told, "minimum", value) or value > _number(told, "maximum", value):
            yield f"{at} is {value}, outside of what is declared"
    elif isinstance(value, str | list):
        least, most = ("minLength", "maxLength") if isinstance(value, str) else ("minItems", "maxItems")
        if not _number(told, least, 0) <= len(value) <= _number(told, most, len(value)):
            things = "characters" if isinstance(value, str) else "items"
            yield f"{at} has {len(value)} {things}, not as many as declared"
    if isinstance(value, str) and isinstance(told.get("pattern"), str) and _differs(told["pattern"], value):
        yield f"{at} is {value!r:.60}, which the declared pattern does not match"


def _number(told: Mapping[str, Any], word: str, usual: float) -> float:
    found = told.get(word, usual)
    return found if isinstance(found, int | float) else usual


def _differs(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is None
    except re.error:  # ECMA's are not all Python's
        return False


def _parts(value: Any, told: Mapping[str, Any], resolve: Resolve, at: str, depth: int) -> Iterator[str]:
    if isinstance(value, list) and "items" in told:
        for number, each in enumerate(value):
            yield from misfits(each, told["items"], resolve, f"{at}[{number}]", depth)
    if not isinstance(value, dict):
        return
    declared = told.get("properties", {}) if isinstance(told.get("properties", {}), dict) else {}
    for name in _list(told.get("required")):
        if isinstance(name, str) and name not in value:
            yield f"{at}.{name} is missing"
    for name, each in value.items():
        if name in declared:
            yield from misfits(each, declared[name], resolve, f"{at}.{name}", depth)
        elif "additionalProperties" in told and "patternProperties" not in told:
            yield from misfits(each, told["additionalProperties"], resolve, f"{at}.{name}", depth)


def _combined(value: Any, told: Mapping[str, Any], resolve: Resolve, at: str, depth: int) -> Iterator[str]:
    for each in _list(told.get("allOf")):
        yield from misfits(value, each, resolve, at, depth)
    for word in ("anyOf", "oneOf"):
        if _list(told.get(word)):
            fit = sum(next(misfits(value, each, resolve, at, depth), None) is None for each in told[word])
            if fit == 0 or (word == "oneOf" and fit > 1):
                yield f"{at} fits {fit} of the {len(told[word])} shapes of {word}"
