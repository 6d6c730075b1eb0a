"""Values fit what a schema declares, or are said not to, and where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.conforming.shape import misfits


def as_it_is(told: Mapping[str, Any]) -> Mapping[str, Any]:
    return told


def wrong(value: Any, schema: Any) -> list[str]:
    return list(misfits(value, schema, as_it_is))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SCHEMAS = st.recursive(
    st.booleans()
    | st.fixed_dictionaries({"type": st.sampled_from(["null", "boolean", "integer", "number", "string", "array"])})
    | st.fixed_dictionaries({"enum": st.lists(st.integers() | st.text(), min_size=1, max_size=3)}),
    lambda inner: (
        st.fixed_dictionaries({"properties": st.dictionaries(st.text(), inner, max_size=3)})
        | st.fixed_dictionaries({"items": inner})
        | st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"additionalProperties": inner})
    ),
    max_leaves=6,
)


def described(value: Any) -> dict[str, Any]:
    """Return a schema that says all there is of a value."""
    if isinstance(value, dict):
        inner = {name: described(each) for name, each in value.items()}
        return {"type": "object", "required": list(value), "properties": inner, "additionalProperties": False}
    if isinstance(value, list):
        return {"type": "array", "minItems": len(value), "maxItems": len(value)}
    return {"const": value}


@given(VALUES)
def test_a_value_fits_its_own_description(value: Any) -> None:
    assert wrong(value, described(value)) == []


@given(VALUES, SCHEMAS)
def test_any_value_is_judged_by_any_schema(value: Any, schema: Any) -> None:
    told = wrong(value, schema)
    assert all(each.startswith("$") for each in told)
    assert told == wrong(json.loads(json.dumps(value)), schema)


@pytest.mark.parametrize(
    ("value", "schema", "told"),
    [
        (1.0, {"type": "integer"}, []),
        (1.5, {"type": "integer"}, ["$ is number, not integer"]),
        (True, {"type": "integer"}, ["$ is boolean, not integer"]),
        (None, {"type": "string", "nullable": True}, []),
        (None, {"type": ["string", "null"]}, []),
        (None, {"type": "string"}, ["$ is null, not string"]),
        ({"a": 1}, {"required": ["a", "b"]}, ["$.b is missing"]),
        ({"a": [1, "x"]}, {"properties": {"a": {"items": {"type": "number"}}}}, ["$.a[1] is string, not number"]),
        ({"b": 1}, {"properties": {"a": {}}, "additionalProperties": False}, ["$.b should not be there"]),
        (3, {"minimum": 1, "maximum": 2}, ["$ is 3, outside of what is declared"]),
        ("abc", {"maxLength": 2}, ["$ has 3 characters, not as many as declared"]),
        ("abc", {"pattern": "^b"}, ["$ is 'abc', which the declared pattern does not match"]),
        ("abc", {"pattern": "(?<a-c>x)"}, []),  # none of Python's
        (1, {"oneOf": [{"type": "integer"}, {"type": "number"}]}, ["$ fits 2 of the 2 shapes of oneOf"]),
        (1, {"anyOf": [{"type": "integer"}, {"type": "number"}]}, []),
        ("x", {"allOf": [{"type": "string"}, {"enum": ["y"]}]}, ["$ is 'x', which is not among the values declared"]),
    ],
)
def test_a_word_says_what_does_not_fit(value: Any, schema: Any, told: list[str]) -> None:
    assert wrong(value, schema) == told


@given(VALUES, VALUES)
def test_what_is_no_schema_judges_nothing_wrongly(value: Any, schema: Any) -> None:
    assert all(each.startswith("$") for each in wrong(value, schema))


@given(
    VALUES, st.sampled_from(["type", "enum", "properties", "required", "items", "allOf", "oneOf", "minLength"]), VALUES
)
def test_a_word_that_is_none_judges_nothing_wrongly(value: Any, word: str, said: Any) -> None:
    assert all(each.startswith("$") for each in wrong(value, {word: said}))


def test_a_schema_that_holds_itself_ends() -> None:
    schema: dict[str, Any] = {"items": {"$ref": "#"}}
    value: Any = []
    for _ in range(100):
        value = [value]
    assert list(misfits(value, schema, lambda told: schema if "$ref" in told else told)) == []
