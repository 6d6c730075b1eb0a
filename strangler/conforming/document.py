"""An OpenAPI document: whether it is one, what it declares, and what its operations can be asked with.

What is looked at is what everything else here stands on: the version, the required fields, that references lead
somewhere, that the names in a path are its parameters, and that every operation declares answers. It is no
replacement for the specification's own schema.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_VERSION: Final = re.compile(r"3\.\d+\.\d+(?:-.+)?")
_STATUS: Final = re.compile(r"[1-5](?:\d\d|XX)|default")
_NAMED: Final = re.compile(r"\{([^{}/]+)\}")
_PLACES: Final = ("path", "query", "header", "cookie")
# What stands there is data, in which "$ref" is no reference.
_DATA: Final = frozenset(("example", "examples", "default", "enum", "const"))
_MOST_STEPS: Final = 20
_EMPTY: Final[Mapping[str, Any]] = {}

Resolve = Callable[[Mapping[str, Any]], Mapping[str, Any]]

NOTHING: Final = "strangler-check-nothing"
"""What no product, order or page is called."""
# Of 32 bits, for the services that keep ids in those.
_NO_NUMBER: Final = "2147480047"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method at an address, its parameters resolved."""

    method: str
    path: str
    told: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Document:
    """A document in which ``faults`` found nothing."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self.operations = tuple(_operations(raw, self.resolve))

    def __repr__(self) -> str:
        return f"Document({len(self.operations)} operations)"

    def resolve(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow a reference."""
        return _resolved(self._raw, told)

    def response(self, operation: Operation, status: int) -> Mapping[str, Any] | None:
        """Return what ``operation`` declares of ``status``, None for nothing."""
        declared = operation.told["responses"]
        for key in (str(status), f"{status // 100}XX", "default"):
            if key in declared:
                return self.resolve(declared[key])
        return None

    def target(self, operation: Operation) -> str | None:
        """Return an address for ``operation`` with what the document itself gives for its required parameters."""
        return self._filled(operation, _given)

    def missing(self, operation: Operation) -> str | None:
        """Return an address of ``operation`` at which there should be nothing; None where that cannot be made up."""
        if all(_given(each) is not None for each in operation.parameters if each["in"] == "path"):
            return None
        return self._filled(operation, _nowhere)

    def _filled(self, operation: Operation, value_of: Callable[[Mapping[str, Any]], str | None]) -> str | None:
        path, query = operation.path, {}
        for each in operation.parameters:
            if not each.get("required"):
                continue
            schema = self.resolve(each.get("schema", _EMPTY))
            value = value_of({**each, "schema": schema if isinstance(schema, dict) else {}})
            if value is None or each["in"] in ("header", "cookie"):
                return None
            if each["in"] == "path":
                path = path.replace(f"{{{each['name']}}}", quote(value, safe=""))
            else:
                query[each["name"]] = value
        return f"{path}?{urlencode(query)}" if query else path


def _given(parameter: Mapping[str, Any]) -> str | None:
    """Return the value that a parameter's declaration itself gives."""
    schema = parameter.get("schema", _EMPTY)
    if not isinstance(schema, dict):
        return None
    given = [holder.get(word) for holder in (parameter, schema) for word in ("example", "const", "default")]
    given += _named_examples(parameter.get("examples"))
    given += [each for word in ("enum", "examples") if isinstance(schema.get(word), list) for each in schema[word]]
    return next((_text(each) for each in given if isinstance(each, str | int | float)), None)


def _named_examples(named: object) -> list[Any]:
    return [each.get("value") for each in named.values() if isinstance(each, dict)] if isinstance(named, dict) else []


def _nowhere(parameter: Mapping[str, Any]) -> str | None:
    schema = parameter["schema"]
    if "enum" in schema or "const" in schema or parameter["in"] != "path":
        return _given(parameter)
    types = schema.get("type", "string")
    types = types if isinstance(types, list) else [types]
    if "integer" in types:
        return _NO_NUMBER
    return NOTHING if "string" in types and not {"format", "pattern"} & schema.keys() else None


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def faults(raw: object) -> list[str]:
    """Return why ``raw`` is no OpenAPI document of version 3; none for one that is."""
    if not isinstance(raw, dict):
        return ["it is no object"]
    found = [*_top(raw)]
    return found or [*_references(raw, raw, "#")] or [*_paths(raw)]


def _top(raw: Mapping[str, Any]) -> Iterator[str]:
    version = raw.get("openapi")
    if not isinstance(version, str) or _VERSION.fullmatch(version) is None:
        yield f"openapi is {version!r}, not 3.x.y"
    info = raw.get("info")
    if not isinstance(info, dict) or not all(isinstance(info.get(each), str) for each in ("title", "version")):
        yield "info has no title, or no version"
    if not isinstance(raw.get("paths"), dict):
        yield "there are no paths"


def _references(raw: Mapping[str, Any], told: object, at: str) -> Iterator[str]:
    if isinstance(told, list):
        for number, each in enumerate(told):
            yield from _references(raw, each, f"{at}/{number}")
    if not isinstance(told, dict):
        return
    reference = told.get("$ref")
    if isinstance(reference, str) and not _leads(raw, told):
        yield f"{at} refers to {reference!r}, which leads nowhere in it"
    for name, each in told.items():
        if name not in _DATA or at.endswith("/properties"):
            yield from _references(raw, each, f"{at}/{name}")


def _leads(raw: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    try:
        return isinstance(_resolved(raw, told), dict | bool)
    except (KeyError, IndexError, TypeError, ValueError):
        return False


def _resolved(raw: Mapping[str, Any], told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference within the document (RFC 6901). Raises ``KeyError`` and such for one that leads nowhere."""
    for _ in range(_MOST_STEPS):
        reference = told.get("$ref") if isinstance(told, dict) else None
        if not isinstance(reference, str):
            return told
        if not reference.startswith("#/"):
            raise KeyError(reference)
        found: Any = raw
        for step in reference[2:].split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")]
        told = found
    raise ValueError("a reference that leads in a circle")


def _paths(raw: Mapping[str, Any]) -> Iterator[str]:
    names: Counter[str] = Counter()
    for path, written in raw["paths"].items():
        item = _resolved(raw, written) if isinstance(written, dict) else None
        if not path.startswith("/"):
            yield f"the path {path!r} does not begin with /"
        elif not isinstance(item, dict):
            yield f"{path} is no object"
        else:
            for method in (each for each in METHODS if each in item):
                yield from _faults_of(raw, f"{method.upper()} {path}", path, item, item[method])
                names[_named(item[method])] += 1
    yield from (f"operationId {each!r} stands twice" for each, count in names.items() if each and count > 1)


def _named(told: object) -> str:
    return str(told.get("operationId", "")) if isinstance(told, dict) else ""


def _faults_of(raw: Mapping[str, Any], place: str, path: str, item: Mapping[str, Any], told: object) -> Iterator[str]:
    if not isinstance(told, dict):
        yield f"{place} is no object"
        return
    yield from _faults_of_responses(raw, place, told.get("responses"))
    listed = [item.get("parameters", []), told.get("parameters", [])]
    if not all(isinstance(each, list) for each in listed):
        yield f"{place} has parameters that are no list"
        return
    yield from _faults_of_parameters(raw, place, path, [each for some in listed for each in some])


def _faults_of_responses(raw: Mapping[str, Any], place: str, responses: object) -> Iterator[str]:
    if not isinstance(responses, dict) or not responses:
        yield f"{place} declares no responses"
        return
    for status, written in responses.items():
        each = _resolved(raw, written) if isinstance(written, dict) else None
        if _STATUS.fullmatch(str(status)) is None:
            yield f"{place} declares the status {status!r}"
        elif not isinstance(each, dict) or not isinstance(each.get("description"), str):
            yield f"{place} has no description of {status}"
        elif not _is_content(each.get("content", {})):
            yield f"{place} has a content of {status} that is none"


def _is_content(content: object) -> bool:
    return isinstance(content, dict) and all(
        isinstance(each, dict) and isinstance(each.get("schema", {}), dict | bool) for each in content.values()
    )


def _faults_of_parameters(raw: Mapping[str, Any], place: str, path: str, written: list[Any]) -> Iterator[str]:
    found = [_resolved(raw, each) if isinstance(each, dict) else {} for each in written]
    in_path = set()
    for each in found:
        if not isinstance(each, dict) or each.get("in") not in _PLACES or not isinstance(each.get("name"), str):
            yield f"{place} has a parameter without name, or in no place that there is"
            return
        if not isinstance(each.get("schema", None if "content" not in each else {}), dict | bool):
            yield f"{place} has no schema of its parameter {each['name']}"
        if each["in"] == "path" and each.get("required") is True:
            in_path.add(each["name"])
    if in_path != set(_NAMED.findall(path)):
        yield f"{place} has other names in its path than required parameters in path"


def _operations(raw: Mapping[str, Any], resolve: Resolve) -> Iterator[Operation]:
    for path, written in raw["paths"].items():
        item = resolve(written)
        for method in (each for each in METHODS if each in item):
            told = item[method]
            given = {
                (each["name"], each["in"]): each
                for each in map(resolve, (*item.get("parameters", []), *told.get("parameters", [])))
            }
            yield Operation(method=method.upper(), path=path, told=told, parameters=tuple(given.values()))
