from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strangler.capability import BORN, WHOLE, Data, Stack, State
from strangler.routing.bucket import bucket
from strangler.routing.cohort import Cohort, Source
from strangler.routing.decide import SAFE, Ambiguous, Decision, Why, decide, is_split, route_of
from strangler.routing.table import Capability, Kind, Route, RoutingTable
from tests.fixtures.facts import Asked

COHORTS = (
    Cohort(name="beta", source=Source.COOKIE, key="beta", values=("1",)),
    Cohort(name="german", source=Source.SEGMENT, key="lang", values=("de",)),
    Cohort(name="office", source=Source.CIDR, values=("192.0.2.0/24",)),
)
ROUTES = (
    Route(path="/api/catalog"),
    Route(path="/{lang}/products"),
    Route(path="/api/catalog/search", methods=frozenset({"POST"}), kind=Kind.READS),
    Route(path="/api/catalog/products/touch", kind=Kind.WRITES),
)
EARLY = next(name for name in map(str, range(100_000)) if bucket("catalog", name) == 0)
LATE = next(name for name in map(str, range(1_000_000)) if bucket("catalog", name) == WHOLE - 1)


def table(state: State | None = None, **states: State) -> RoutingTable:
    catalog = Capability(
        name="catalog", service="shelf", routes=ROUTES, cohorts=COHORTS, state=state or State(data=Data.NONE)
    )
    others = tuple(
        Capability(name=name, service="orders", routes=(Route(path=f"/api/{name}"),), state=each)
        for name, each in {"orders": State(data=Data.NONE), **states}.items()
    )
    upstreams = dict.fromkeys(("monolith", "shelf", "orders"), ("http://127.0.0.1:1",))
    return RoutingTable(version=1, upstreams=upstreams, capabilities=(catalog, *others))


def reads(share: int = 0, **cohorts: Stack) -> State:
    return State(data=Data.NONE, share=share, cohorts=cohorts)


def decided(state: State, asked: Asked) -> Decision:
    found = decide(table(state), asked)
    assert isinstance(found, Decision)
    return found


CATALOG = Asked(path=b"/api/catalog/7")
WISH = ("catalog", Stack.SERVICE)


@pytest.mark.parametrize(
    ("state", "asked", "expected"),
    [
        (reads(), Asked(path=b"/elsewhere"), Decision(Stack.MONOLITH, "monolith", Why.UNROUTED)),
        (reads(), CATALOG, Decision(Stack.MONOLITH, "monolith", Why.SHARE, "catalog")),
        (reads(WHOLE), CATALOG, Decision(Stack.SERVICE, "shelf", Why.SHARE, "catalog")),
        (
            reads(WHOLE),
            Asked(path=b"/api/catalog/7", method="POST"),
            Decision(Stack.MONOLITH, "monolith", Why.WRITE, "catalog"),
        ),
        (
            State(data=Data.NONE, killed="smoke"),
            Asked(path=b"/api/catalog/7", wish=WISH, cookies={"beta": "1"}),
            Decision(Stack.MONOLITH, "monolith", Why.KILLED, "catalog"),
        ),
        (
            reads(0, beta=Stack.MONOLITH),
            Asked(path=b"/api/catalog/7", wish=WISH, cookies={"beta": "1"}),
            Decision(Stack.SERVICE, "shelf", Why.OVERRIDE, "catalog"),
        ),
        (
            reads(WHOLE, beta=Stack.MONOLITH),
            Asked(path=b"/api/catalog/7", cookies={"beta": "1"}),
            Decision(Stack.MONOLITH, "monolith", Why.COHORT, "catalog", "beta"),
        ),
        (
            replace(BORN, killed="smoke"),
            CATALOG,
            Decision(Stack.SERVICE, "shelf", Why.KILLED, "catalog"),
        ),
        (
            replace(BORN, share=0),
            Asked(path=b"/api/catalog/7", method="DELETE"),
            Decision(Stack.SERVICE, "shelf", Why.WRITE, "catalog"),
        ),
    ],
)
def test_the_first_rule_that_applies_settles_it(state: State, asked: Asked, expected: Decision) -> None:
    assert decided(state, asked) == expected


def test_every_why_stands_in_that_test() -> None:
    marks = test_the_first_rule_that_applies_settles_it.pytestmark  # type: ignore[attr-defined]
    assert {case[2].why for case in marks[0].args[1]} == set(Why) - {
        Why.FALLBACK,  # which only a failure settles
        Why.CAUSAL,  # which an earlier write does: test_causal.py
    }


owned = st.sampled_from([State(data=Data.NONE), BORN])
states = st.builds(
    replace,
    owned,
    share=st.integers(0, WHOLE),
    cohorts=st.dictionaries(st.sampled_from(["beta", "german", "office"]), st.sampled_from(Stack)),
) | st.builds(replace, owned, killed=st.just("smoke"))
askings = st.builds(
    Asked,
    path=st.sampled_from([b"/api/catalog", b"/de/products/x", b"/en/products", b"/api/catalog/products/touch", b"/"]),
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "PURGE", "get"]),
    cookies=st.sampled_from([{}, {"beta": "1"}, {"beta": "0"}]),
    client=st.sampled_from(["192.0.2.7", "198.51.100.7"]),
    wish=st.none() | st.tuples(st.sampled_from(["catalog", "orders"]), st.sampled_from(Stack)),
    who=st.text(max_size=5),
)


@given(states, askings)
@settings(max_examples=400, deadline=None)
def test_writes_go_to_the_owner_whatever_else_is_asked(state: State, asked: Asked) -> None:
    found = decided(state, asked)
    if found.capability and (asked.method not in SAFE or b"touch" in asked.path):
        assert (found.stack, found.why) == (state.owner, Why.WRITE)
        assert asked.looked_up == []


@given(states, askings)
@settings(max_examples=400, deadline=None)
def test_killed_reads_stay_with_the_owner(state: State, asked: Asked) -> None:
    found = decided(state, asked)
    if state.killed is not None and found.capability:
        assert found.stack is state.owner
        assert asked.looked_up == []


@given(states, askings)
@settings(max_examples=400, deadline=None)
def test_head_goes_where_get_goes(state: State, asked: Asked) -> None:
    assert decided(state, replace(asked, method="HEAD")) == decided(state, replace(asked, method="GET"))


@given(states, askings)
@settings(max_examples=400, deadline=None)
def test_who_a_visitor_is_makes_a_difference_only_where_the_share_splits(state: State, asked: Asked) -> None:
    found = decided(state, asked)
    assert ("visitor" in asked.looked_up) == (found.why is Why.SHARE and is_split(state))
    assert asked.looked_up.count("visitor") <= 1


@given(st.integers(0, WHOLE), st.integers(0, WHOLE), st.text(max_size=8))
def test_raising_the_share_takes_no_visitor_from_the_service(one: int, other: int, who: str) -> None:
    low, high = (decided(reads(share), Asked(path=b"/api/catalog", who=who)) for share in sorted((one, other)))
    assert low.stack is Stack.MONOLITH or high.stack is Stack.SERVICE


@pytest.mark.parametrize(
    ("share", "early", "late"),
    [
        (0, Stack.MONOLITH, Stack.MONOLITH),
        (1, Stack.SERVICE, Stack.MONOLITH),
        (WHOLE - 1, Stack.SERVICE, Stack.MONOLITH),
        (WHOLE, Stack.SERVICE, Stack.SERVICE),
    ],
)
def test_a_share_is_exact_at_its_ends(share: int, early: Stack, late: Stack) -> None:
    stacks = [decided(reads(share), Asked(path=b"/api/catalog", who=who)).stack for who in (EARLY, LATE)]
    assert stacks == [early, late]


def test_an_override_counts_for_its_own_capability_only() -> None:
    asked = Asked(path=b"/api/catalog", wish=("orders", Stack.SERVICE))
    assert decided(reads(), asked).why is Why.SHARE


def test_an_override_may_wish_for_the_monolith() -> None:
    asked = Asked(path=b"/api/catalog", wish=("catalog", Stack.MONOLITH))
    assert decided(reads(WHOLE), asked) == Decision(Stack.MONOLITH, "monolith", Why.OVERRIDE, "catalog")


def test_the_first_cohort_of_the_file_that_is_in_force_settles_it() -> None:
    asked = Asked(path=b"/de/products", cookies={"beta": "1"})
    both = reads(0, german=Stack.SERVICE, beta=Stack.MONOLITH, office=Stack.SERVICE)
    assert decided(both, asked).cohort == "beta"
    assert decided(reads(0, german=Stack.SERVICE, office=Stack.SERVICE), asked).cohort == "german"
    assert decided(reads(0, office=Stack.SERVICE), asked).cohort == "office"
    assert decided(reads(0, unheard_of=Stack.SERVICE), asked).why is Why.SHARE


def test_a_segment_is_captured_from_the_canonical_reading() -> None:
    state = reads(0, german=Stack.SERVICE)
    assert decided(state, Asked(path=b"//./d%65/products")).cohort == "german"
    assert decided(state, Asked(path=b"/en/products")).why is Why.SHARE
    assert decided(state, Asked(path=b"/api/catalog/de")).why is Why.SHARE


@pytest.mark.parametrize(
    ("method", "path", "write"),
    [
        ("POST", b"/api/catalog/search", False),
        ("POST", b"/api/catalog/search/deep", False),
        ("PUT", b"/api/catalog/search", True),
        ("GET", b"/api/catalog/products/touch", True),
        ("HEAD", b"/api/catalog/products/touch", True),
        ("GET", b"/api/catalog/products", False),
        ("REPORT", b"/api/catalog", True),
        ("get", b"/api/catalog", True),
    ],
)
def test_a_kind_says_what_the_method_does_not(method: str, path: bytes, write: bool) -> None:
    assert (decided(reads(WHOLE), Asked(path=path, method=method)).why is Why.WRITE) == write


@pytest.mark.parametrize(
    "path",
    [b"/api/catalog/x%2f..%2fproducts/touch", b"/api/catalog/products;x/touch", b"/api/catalog/products/touch/%2e%2e"],
)
def test_what_may_be_a_write_is_one(path: bytes) -> None:
    assert decided(reads(WHOLE), Asked(path=path)).why is Why.WRITE


def test_readings_that_select_different_capabilities_are_named() -> None:
    found = decide(table(), Asked(path=b"/api/catalog/..%2forders"))
    assert found == Ambiguous(("catalog", "orders"))
    assert decide(table(), Asked(path=b"/%2e%2e/x/..%2fapi/orders")) == Ambiguous((None, "orders"))


def test_a_path_that_takes_too_long_to_read_is_refused_unless_there_is_nothing_to_decide() -> None:
    asked = Asked(path=b"/a;%2e\\%252f..%2f//..%00%3f%253b%255c" * 200)
    nothing = RoutingTable(version=0, upstreams={"monolith": ("http://127.0.0.1:1",)})
    assert decide(table(), asked) == Ambiguous(())
    assert decide(nothing, asked) == Decision(Stack.MONOLITH, "monolith", Why.UNROUTED)


@given(st.binary(max_size=60), st.sampled_from(["GET", "POST"]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_decided_or_refused(path: bytes, method: str) -> None:
    assert isinstance(decide(table(), Asked(path=path, method=method)), Decision | Ambiguous)


def test_conditions_are_compared_with_the_facts() -> None:
    route = Route(path="/a", host="shop.example", header=("x-v", "2"), methods=frozenset({"GET"}))
    one = Capability(name="a", service="shelf", routes=(route,), state=reads(WHOLE))
    upstreams = dict.fromkeys(("monolith", "shelf"), ("http://127.0.0.1:1",))
    only = RoutingTable(version=1, upstreams=upstreams, capabilities=(one,))
    good = Asked(path=b"/a", headers={"x-v": "2"})
    for asked, why in [
        (good, Why.SHARE),
        (replace(good, method="HEAD"), Why.SHARE),
        (replace(good, method="OPTIONS"), Why.UNROUTED),
        (replace(good, host="other.example"), Why.UNROUTED),
        (replace(good, headers={"x-v": "3"}), Why.UNROUTED),
        (replace(good, headers={}), Why.UNROUTED),
    ]:
        found = decide(only, asked)
        assert isinstance(found, Decision)
        assert found.why is why


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", b"/api/catalog/7", "/api/catalog"),
        ("GET", b"/de/products", "/{lang}/products"),
        ("POST", b"/api/catalog/search", "/api/catalog/search"),
        ("GET", b"/elsewhere", None),
        ("GET", b"*", None),
    ],
)
def test_traces_are_told_the_route(method: str, path: bytes, route: str | None) -> None:
    found = route_of(table(), Asked(path=path, method=method))
    assert (found.path if found else None) == route
