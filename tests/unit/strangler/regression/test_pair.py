from __future__ import annotations

import json

import pytest

from strangler.parity.compare import Answer
from strangler.regression import BothStacks, Case, Disagreement, Stack
from strangler.regression.pair import Comparison, compared

STACKS = Stack("http://127.0.0.1:1", name="monolith"), Stack("http://127.0.0.1:2", name="service")


def told(value: object, **headers: str) -> Answer:
    named = {"content-type": "application/json", **headers}
    return Answer(status=200, headers=tuple(named.items()), body=json.dumps(value).encode())


def comparison(one: object, other: object, **exempt: str) -> Comparison:
    return compared(Case(target="/a", exempt=exempt), STACKS, (told(one), told(other, etag="1")))


def test_a_comparison_tells_the_request_and_each_difference() -> None:
    assert str(comparison([1], [2])) == (
        "GET /a\nheader etag: monolith has none, service '1'\nbody $[0]: monolith 1, service 2"
    )


def test_what_a_case_exempts_is_left_out() -> None:
    assert comparison([1], [1], etag="differs").found == ()


def test_past_the_first_differences_they_are_counted() -> None:
    lines = comparison(list(range(100)), list(range(1, 101)), etag="differs").lines
    assert (len(lines), lines[-1]) == (26, "and 75 more")


def test_a_disagreement_is_told_by_its_comparison() -> None:
    found = comparison([1], [2])
    raised = Disagreement(found)
    assert (str(raised), raised.comparison) == (str(found), found)
    with pytest.raises(AssertionError):
        raise raised


def test_both_stacks_are_called_by_their_names() -> None:
    both = BothStacks(one=STACKS[0], other=STACKS[1])
    assert (both.monolith, both.service) == STACKS
