from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.capability import Stack, Stage, State
from strangler.routing.bucket import bucket
from strangler.routing.decide import Ambiguous, Decision, Why
from strangler.routing.table import Capability, Route, RoutingTable
from strangler_proxy.why import why

VISITOR = "a-visitor-of-these-tests"


def table(name: str = "catalog") -> RoutingTable:
    state = State(stage=Stage.CANARY, share=2500)
    capability = Capability(name=name, service="catalog", routes=(Route(path="/api/catalog"),), state=state)
    upstreams = {"monolith": ("http://127.0.0.1:1",), "catalog": ("http://127.0.0.1:2",)}
    return RoutingTable(version=17, upstreams=upstreams, capabilities=(capability,))


def test_a_share_tells_the_bucket_and_what_it_is_held_against() -> None:
    decision = Decision(Stack.SERVICE, "catalog", Why.SHARE, "catalog")
    drawn = bucket("catalog", VISITOR)
    assert why(decision, table(), VISITOR) == (
        b'Strangler-Why: capability="catalog", stack=service, why=share, '
        b'bucket=%d, share=2500, version=17, upstream="catalog"\r\n' % drawn
    )


def test_a_cohort_is_named() -> None:
    decision = Decision(Stack.SERVICE, "catalog", Why.COHORT, "catalog", "beta")
    assert why(decision, table(), None) == (
        b'Strangler-Why: capability="catalog", stack=service, why=cohort, cohort="beta", '
        b'share=2500, version=17, upstream="catalog"\r\n'
    )


def test_what_no_capability_has_is_told_shortly() -> None:
    decision = Decision(Stack.MONOLITH, "monolith", Why.UNROUTED)
    line = b'Strangler-Why: stack=monolith, why=unrouted, version=17, upstream="monolith"\r\n'
    assert why(decision, table(), VISITOR) == line


def test_a_path_of_two_meanings_is_told() -> None:
    assert why(Ambiguous(("catalog", None)), table(), None) == b"Strangler-Why: why=ambiguous, version=17\r\n"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('a"b\\c', rb'"a\"b\\c"'),
        ("Bücher", b'%"B%c3%bccher"'),
        ("a\r\nSet-Cookie: b", b'%"a%0d%0aSet-Cookie: b"'),
        ('%"', b'"%\\""'),
        ("100 % Ä", b'%"100 %25 %c3%84"'),
    ],
)
def test_names_are_escaped(name: str, shown: bytes) -> None:
    line = why(Decision(Stack.SERVICE, "catalog", Why.OVERRIDE, name), table(name), None)
    assert line.startswith(b"Strangler-Why: capability=%b, stack=service" % shown)


@given(st.text(max_size=400), st.text(max_size=400))
def test_whatever_the_names_it_is_one_bounded_line(name: str, cohort: str) -> None:
    line = why(Decision(Stack.SERVICE, name, Why.COHORT, name, cohort), table(name or "x"), VISITOR)
    assert re.fullmatch(rb"[\x20-\x7e]+\r\n", line)
    assert len(line) < 8192
