from __future__ import annotations

import json
from typing import Any

import pytest

from strangler.parity.compare import Answer
from strangler.regression import Case, Form, Json
from strangler.regression.coverage import Asked, Uncovered, judge, to_json
from strangler.regression.surface import Page, Surface, fields

ITEM = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "note": {"type": "string", "nullable": True},
        "secret": {"type": "string", "writeOnly": True},
        "parent": {"oneOf": [{"$ref": "#/components/schemas/Item"}, {"enum": [None]}]},
    },
}
DOCUMENT: dict[str, Any] = {
    "paths": {
        "/api/items/": {
            "get": {
                "parameters": [
                    {"name": "page", "in": "query"},
                    {"name": "kind", "in": "query", "schema": {"enum": ["a", "b"]}},
                    {"name": "Version", "in": "header"},
                ],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}
                            }
                        }
                    },
                    "404": {},
                },
            },
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Item"}}}},
                "responses": {"201": {}},
            },
        },
        "/api/items/{id}/": {"get": {"responses": {"200": {}}}},
        "/api/items/best/": {"get": {"responses": {"200": {}}}},
        "/api/others/": {"get": {"responses": {"200": {}}}},
    },
    "components": {"schemas": {"Item": ITEM}},
}
PAGES = (Page(shown="/{lang}/items/", pattern=r"^[a-z]{2}/items/\Z", name="items"),)
SURFACE = Surface.of([DOCUMENT], PAGES, within=lambda path: "items" in path)


def told(case: Case, value: object = None, status: int = 200) -> Asked:
    headers = (("content-type", "application/json"),)
    return case, Answer(status=status, headers=headers, body=json.dumps(value).encode())


def touched(*asked: Asked) -> set[str]:
    return {str(each) for each in judge(SURFACE, asked).seen}


def test_a_surface_has_every_operation_parameter_field_status_and_page() -> None:
    assert {str(each) for each in SURFACE.points} == {
        "GET /api/items/",
        "GET /api/items/ ?page",
        "GET /api/items/ ?kind=a",
        "GET /api/items/ ?kind=b",
        "GET /api/items/ version:",
        "GET /api/items/ 200",
        "GET /api/items/ 200 $[*].id",
        "GET /api/items/ 200 $[*].note",
        "GET /api/items/ 200 $[*].note null",
        "GET /api/items/ 200 $[*].parent",
        "GET /api/items/ 200 $[*].parent null",
        "GET /api/items/ 404",
        "POST /api/items/",
        "POST /api/items/ $.note",
        "POST /api/items/ $.secret",
        "POST /api/items/ $.parent",
        "POST /api/items/ 201",
        "GET /api/items/{id}/",
        "GET /api/items/{id}/ 200",
        "GET /api/items/best/",
        "GET /api/items/best/ 200",
        "/{lang}/items/ items",
    }


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"type": "object", "properties": {"a": {"type": ["string", "null"]}}}, [("$.a", True)]),
        ({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, [("$.a", False), ("$.b", False)]),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"properties": {"b": {}}}]}}},
         [("$.a", True), ("$.a.b", False)]),
        ({"type": "object", "additionalProperties": {"properties": {"a": {}}}}, []),
        ({"items": {"items": {"properties": {"a": {}}}}}, [("$[*][*].a", False)]),
    ],
)  # fmt: skip
def test_fields_are_found_in_every_way_that_schemas_are_put_together(
    schema: dict[str, Any], found: list[tuple[str, bool]]
) -> None:
    assert list(fields({}, schema)) == found


def test_a_case_touches_what_it_asks_for_and_what_it_is_told() -> None:
    asked = told(Case(target="/api/items/?page=&kind=b", headers={"Version": "2"}), [{"id": 1, "note": None}])
    assert touched(asked) == {
        "GET /api/items/",
        "GET /api/items/ ?page",
        "GET /api/items/ ?kind=b",
        "GET /api/items/ version:",
        "GET /api/items/ 200",
        "GET /api/items/ 200 $[*].id",
        "GET /api/items/ 200 $[*].note null",
    }


@pytest.mark.parametrize("body", [Json({"note": "x"}), Form({"note": "x"}), b'{"note": "x"}'])
def test_a_case_touches_what_it_sends(body: Any) -> None:
    asked = told(Case(target="/api/items/", method="POST", body=body), status=201)
    assert touched(asked) == {"POST /api/items/", "POST /api/items/ $.note", "POST /api/items/ 201"}


def test_a_literal_address_beats_one_that_captures() -> None:
    assert touched(told(Case(target="/api/items/best/"))) == {"GET /api/items/best/", "GET /api/items/best/ 200"}
    assert touched(told(Case(target="/api/items/7/"))) == {"GET /api/items/{id}/", "GET /api/items/{id}/ 200"}


def test_a_page_is_touched_when_it_is_found() -> None:
    assert touched(told(Case(target="/en/items/?x=1"))) == {"/{lang}/items/ items"}
    assert touched(told(Case(target="/en/items/"), status=404)) == set()
    assert touched(told(Case(target="/en/items/more/"))) == set()


def test_several_versions_of_a_document_are_one_surface() -> None:
    later: dict[str, Any] = {"paths": {"/api/items/best/": {"get": {"responses": {"410": {}}}}}}
    surface = Surface.of([DOCUMENT, later], within=lambda path: "best" in path)
    assert {str(each) for each in surface.points} == {
        "GET /api/items/best/",
        "GET /api/items/best/ 200",
        "GET /api/items/best/ 410",
    }


def test_what_is_missing_is_told_by_its_kind() -> None:
    surface = Surface.of([DOCUMENT], within=lambda path: "best" in path)
    with pytest.raises(Uncovered) as raised:
        judge(surface, []).require()
    assert str(raised.value) == (
        "operations 0/1, statuses 0/1\n"
        "  no case for the operation GET /api/items/best/\n"
        "  no case for the status GET /api/items/best/ 200"
    )


def test_what_nothing_can_touch_is_declared_and_must_stay_untouchable() -> None:
    surface = Surface.of([DOCUMENT], within=lambda path: "best" in path)
    asked = [told(Case(target="/api/items/best/"))]
    assert judge(surface, [], {"GET /api/items/best/ 200": "why", "GET /api/items/best/": "why"}).missing == ()
    found = judge(surface, asked, {"GET /api/items/best/ 200": "why", "GET /gone/": "why"})
    with pytest.raises(Uncovered):
        found.require()
    assert found.stale == ("GET /api/items/best/ 200", "GET /gone/")
    assert "said to be untouchable, and is not: GET /gone/" in str(found)


def test_a_judgement_travels_as_json() -> None:
    surface = Surface.of([DOCUMENT], within=lambda path: "best" in path)
    found = json.loads(json.dumps(to_json(judge(surface, [told(Case(target="/api/items/best/"), status=500)]))))
    assert found == {
        "counts": {"operations": [1, 1], "statuses": [0, 1]},
        "missing": ["status GET /api/items/best/ 200"],
        "unseen": {},
    }
