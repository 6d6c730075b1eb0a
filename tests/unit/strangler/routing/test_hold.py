"""What a routing table says of a hold."""

from __future__ import annotations

import json
import re
from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.routing.hold import Hold

holds = st.builds(
    Hold,
    id=st.integers(0, 2**60),
    count=st.integers(0, 1_000_000),
    bytes=st.integers(0, 2**40),
    seconds=st.floats(0.001, 86_400),
)


@given(holds)
def test_a_hold_comes_back_from_json(hold: Hold) -> None:
    assert Hold.from_json(json.loads(json.dumps(hold.to_json()))) == hold


def test_only_what_is_unusual_is_told_beside_the_id() -> None:
    assert Hold(id=0).to_json() == {"id": 0}
    assert Hold(id=3, count=5).to_json() == {"id": 3, "count": 5}
    assert Hold.from_json({"id": 3, "colour": "red"}) == Hold(id=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": -1}, "id is -1; it is a whole number from 0 on"),
        ({"id": True}, "id is True; it is a whole number from 0 on"),
        ({"id": 1, "count": -1}, "count is -1; it is a whole number from 0 to 1000000"),
        ({"id": 1, "bytes": 1.5}, "bytes is 1.5; it is a whole number from 0 on"),
        ({"id": 1, "seconds": 0}, "seconds is 0; it is a number of seconds from 0.001 to 86400"),
        ({"id": 1, "seconds": nan}, "seconds is nan; it is a number of seconds from 0.001 to 86400"),
    ],
)
def test_a_hold_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Hold.from_json(values)
