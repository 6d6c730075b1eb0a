"""What is said of reaching a stack and protecting a capability: refused where it makes no sense, told only in part."""

from __future__ import annotations

import json
import re
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.routing.protect import Protect, Reach

counts = st.none() | st.integers(1, 1_000_000)
seconds = st.floats(0.001, 86_400) | st.integers(1, 86_400)
protects = st.builds(
    Protect,
    bulkhead=counts,
    fallback=st.booleans(),
    timeout=st.none() | seconds,
    lease=st.none() | st.floats(3, 86_400),
)
reaches = st.builds(
    Reach,
    connections=counts,
    pending=counts,
    requests=counts,
    health=st.just("") | st.from_regex(r"/[!-~]{0,20}", fullmatch=True),
    health_interval=seconds,
    health_timeout=seconds,
    connect_timeout=st.none() | seconds,
    first_byte_timeout=st.none() | seconds,
    total_timeout=st.none() | seconds,
    resolve=st.just(0.0) | seconds,
)


@given(protects)
def test_what_protects_comes_back_from_json(protect: Protect) -> None:
    assert Protect.from_json(json.loads(json.dumps(protect.to_json()))) == protect


@given(reaches)
def test_how_a_stack_is_reached_comes_back_from_json(reach: Reach) -> None:
    assert Reach.from_json(json.loads(json.dumps(reach.to_json()))) == reach


def test_what_is_usual_is_not_told() -> None:
    assert (Protect().to_json(), Reach().to_json()) == ({}, {})
    assert Protect(fallback=True, timeout=2.5).to_json() == {"fallback": True, "timeout": 2.5}
    assert Reach(pending=0, resolve=0.0).to_json() == {"pending": 0, "resolve": 0.0}


def test_keys_that_are_unknown_here_are_left_out() -> None:
    assert Protect.from_json({"bulkhead": 3, "shadow": True}) == Protect(bulkhead=3)
    assert Reach.from_json({"colour": "red"}) == Reach()


A_COUNT, SOME_SECONDS = "it is a whole number from {} to 1000000", "it is a number of seconds from 0.001 to 86400"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bulkhead": 0}, "bulkhead is 0; " + A_COUNT.format(1)),
        ({"bulkhead": True}, "bulkhead is True; " + A_COUNT.format(1)),
        ({"bulkhead": 2.0}, "bulkhead is 2.0; " + A_COUNT.format(1)),
        ({"fallback": 1}, "fallback is 1; it is true or false"),
        ({"timeout": 0}, f"timeout is 0; {SOME_SECONDS}"),
        ({"timeout": nan}, f"timeout is nan; {SOME_SECONDS}"),
        ({"timeout": inf}, f"timeout is inf; {SOME_SECONDS}"),
        ({"timeout": "5"}, f"timeout is '5'; {SOME_SECONDS}"),
        ({"timeout": True}, f"timeout is True; {SOME_SECONDS}"),
        ({"lease": 2.9}, "lease is 2.9; it is a number of seconds from 3.0 to 86400"),
        ({"lease": nan}, "lease is nan; it is a number of seconds from 3.0 to 86400"),
        ({"lease": "9"}, "lease is '9'; it is a number of seconds from 3.0 to 86400"),
    ],
)
def test_a_protection_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Protect.from_json(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"connections": 0}, "connections is 0; " + A_COUNT.format(1)),
        ({"pending": -1}, "pending is -1; " + A_COUNT.format(0)),
        ({"requests": 1_000_001}, "requests is 1000001; " + A_COUNT.format(1)),
        ({"health": "health"}, "health is 'health'; it is a path in visible ASCII"),
        ({"health": "/a b"}, "health is '/a b'; it is a path in visible ASCII"),
        ({"health": "/a\r\nHost: b"}, "health is '/a\\r\\nHost: b'; it is a path in visible ASCII"),
        ({"health": None}, "health is None; it is a path in visible ASCII"),
        ({"health_interval": None}, f"health_interval is None; {SOME_SECONDS}"),
        ({"health_timeout": 0.0}, f"health_timeout is 0.0; {SOME_SECONDS}"),
        ({"connect_timeout": 1e9}, f"connect_timeout is 1000000000.0; {SOME_SECONDS}"),
        ({"first_byte_timeout": -1}, f"first_byte_timeout is -1; {SOME_SECONDS}"),
        ({"total_timeout": False}, f"total_timeout is False; {SOME_SECONDS}"),
        ({"resolve": -1}, f"resolve is -1; {SOME_SECONDS}, or 0"),
        ({"resolve": False}, f"resolve is False; {SOME_SECONDS}, or 0"),
        ({"resolve": None}, f"resolve is None; {SOME_SECONDS}, or 0"),
    ],
)
def test_a_way_to_a_stack_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Reach.from_json(values)
