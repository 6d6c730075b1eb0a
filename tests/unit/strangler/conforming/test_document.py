"""An OpenAPI document is one, or is said not to be; and tells how its operations are asked."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.conforming.contract import is_read, is_under, judge_coverage
from strangler.conforming.document import Document, Operation, faults
from strangler.conforming.finding import Verdict
from strangler.routing.table import Kind, Route

ROOT: Final = Path(__file__).parents[4]
OK: Final = {"200": {"description": "well"}}
ID: Final = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "x", "version": "1"},
    "paths": {
        "/items/": {"get": {"operationId": "list", "responses": OK}},
        "/items/{id}/": {"parameters": [ID], "get": {"operationId": "one", "responses": {"2XX": OK["200"]}}},
    },
}


def changed(path: str, value: Any) -> Any:
    """Return the document with what stands at ``path`` (by dots and a leading name) replaced, or left out for None."""
    document = copy.deepcopy(DOCUMENT)
    *steps, last = path.split("|")
    place: Any = document
    for step in steps:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


def test_a_document_is_one() -> None:
    assert faults(DOCUMENT) == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("extracted/*/*/openapi.json")), ids=lambda path: path.parent.name)
def test_those_of_the_services_are(path: Path) -> None:
    raw = json.loads(path.read_text())
    assert faults(raw) == []
    assert Document(raw).operations


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("openapi", "2.0", "openapi is '2.0', not 3.x.y"),
        ("info|version", None, "info has no title, or no version"),
        ("paths", None, "there are no paths"),
        ("paths|items", {}, "the path 'items' does not begin with /"),
        ("paths|/items/|get|responses", {}, "GET /items/ declares no responses"),
        ("paths|/items/|get|responses", {"abc": {"description": ""}}, "GET /items/ declares the status 'abc'"),
        ("paths|/items/|get|responses|200", {}, "GET /items/ has no description of 200"),
        ("paths|/items/|get|operationId", "one", "operationId 'one' stands twice"),
        ("paths|/items/|get|parameters", [{"in": "query"}], "GET /items/ has a parameter without name"),
        (
            "paths|/items/|get|parameters",
            [{"in": "query", "name": "q"}],
            "GET /items/ has no schema of its parameter q",
        ),
        ("paths|/items/{id}/|parameters", [], "GET /items/{id}/ has other names in its path"),
        ("components", {"$ref": "#/nowhere"}, "#/components refers to '#/nowhere', which leads nowhere in it"),
        ("components", {"$ref": "other.json"}, "#/components refers to 'other.json', which leads nowhere in it"),
        ("components", {"a": {"$ref": "#/components/a"}}, "#/components/a refers to '#/components/a'"),
    ],
)
def test_a_fault_is_told(path: str, value: Any, told: str) -> None:
    (fault, *_) = faults(changed(path, value))
    assert fault.startswith(told)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["get", "responses", "200", "parameters", "$ref", "in", "name", "schema", "required", "/a"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
PLACES = ("info", "paths", "paths|/items/", "paths|/items/|get", "paths|/items/|get|responses", "paths|/items/{id}/")


@given(st.sampled_from(PLACES), ANY)
def test_any_value_at_any_place_is_a_document_or_its_faults(place: str, value: Any) -> None:
    raw = changed(place, value if value is not None else {})
    if not faults(raw):
        for each in Document(raw).operations:
            Document(raw).target(each)
            Document(raw).missing(each)
            Document(raw).response(each, 200)


def operation(path: str, *parameters: dict[str, Any], method: str = "GET") -> Operation:
    return Operation(method=method, path=path, told={"responses": OK}, parameters=parameters)


@pytest.mark.parametrize(
    ("parameters", "target", "missing"),
    [
        ([], "/a/{x}", None),
        ([{"name": "x", "in": "path", "required": True, "schema": {"enum": ["en", "de"]}}], "/a/en", None),
        (
            [{"name": "x", "in": "path", "required": True, "example": "a b", "schema": {"type": "string"}}],
            "/a/a%20b",
            None,
        ),
        ([{"name": "x", "in": "path", "required": True, "schema": {"type": "integer"}}], None, "/a/2147480047"),
        (
            [{"name": "x", "in": "path", "required": True, "schema": {"type": "string"}}],
            None,
            "/a/strangler-check-nothing",
        ),
        ([{"name": "x", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}], None, None),
        ([{"name": "h", "in": "header", "required": True, "schema": {"enum": ["1"]}}], None, None),
        ([{"name": "q", "in": "query", "required": True, "schema": {"default": 7}}], "/a/{x}?q=7", None),
        ([{"name": "q", "in": "query", "schema": {}}], "/a/{x}", None),
    ],
)
def test_an_address_is_made_of_what_the_document_gives(
    parameters: list[dict[str, Any]], target: str | None, missing: str | None
) -> None:
    asked = operation("/a/{x}", *parameters)
    document = Document(DOCUMENT)
    assert (document.target(asked), document.missing(asked)) == (target, missing)


LANGUAGE: Final = {"name": "lang", "in": "path", "required": True, "schema": {"enum": ["en", "de"]}}


@pytest.mark.parametrize(
    ("one", "route", "under"),
    [
        (operation("/api/catalog/products/"), Route(path="/api/catalog"), True),
        (operation("/api/catalogs/"), Route(path="/api/catalog"), False),
        (operation("/api/"), Route(path="/api/catalog"), False),
        (operation("/{lang}/products/", LANGUAGE), Route(path="/{lang}/products"), True),
        (operation("/{lang}/reviews/", LANGUAGE), Route(path="/de/reviews"), True),
        (operation("/{lang}/reviews/", LANGUAGE), Route(path="/fr/reviews"), False),
        (operation("/api/x/", method="POST"), Route(path="/api/x", methods=frozenset({"GET"})), False),
    ],
)
def test_an_operation_is_under_a_route_that_its_addresses_fit(one: Operation, route: Route, under: bool) -> None:
    assert is_under(one, route) is under


def test_a_route_without_an_operation_is_named() -> None:
    found = judge_coverage(Document(DOCUMENT), [Route(path="/items"), Route(path="/others")])
    assert (found.verdict, found.came) == (Verdict.FAIL, "nothing under /others")


def test_a_get_that_writes_is_not_asked() -> None:
    writes = Route(path="/items", kind=Kind.WRITES)
    assert not is_read(operation("/items/"), [writes])
    assert is_read(operation("/items/"), [Route(path="/items")])
