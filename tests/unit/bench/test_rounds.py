"""Rounds are paired, a percentile is one of the values, and a transaction is late until it is seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.owner import durations
from tests.bench.rounds import delays, in_turns, paired, percentile


def test_the_sides_take_turns_and_ours_stands_first_in_each_pair() -> None:
    order = []

    def measured(side: str) -> str:
        order.append(side)
        return side

    rounds = paired(3, lambda: measured("ours"), lambda: measured("peer"))
    assert rounds == [("ours", "peer")] * 3
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]


def test_each_of_many_sides_goes_first_in_its_turn_and_stands_in_its_place() -> None:
    order = []

    def side(name: str) -> Callable[[], str]:
        return lambda: order.append(name) or name  # type: ignore[func-returns-value]

    assert in_turns(4, side("a"), side("b"), side("c")) == [("a", "b", "c")] * 4
    assert "".join(order) == "abcbcacababc"


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [
        (range(1, 101), 0.99, 99),
        (range(1, 102), 0.99, 100),
        ([5.0], 0.99, 5.0),
        ([3, 1, 2], 0.5, 2),
        ([3, 1, 2], 1, 3),
        ([1] * 99 + [1000], 0.99, 1),
        ([1] * 98 + [1000] * 2, 0.99, 1000),
    ],
)
def test_a_percentile_is_the_nearest_rank(values: list[float], share: float, wanted: float) -> None:
    assert percentile(values, share) == wanted


@given(st.lists(st.integers(), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_least_value_that_the_share_does_not_exceed(values: list[int], share: float) -> None:
    found = percentile(values, share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values) + 1e-6


@pytest.mark.parametrize(("values", "share"), [([], 0.99), ([1.0], 0.0), ([1.0], 99.0)])
def test_what_has_no_percentile_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="there is no percentile"):
        percentile(values, share)


def test_a_transaction_is_late_until_it_is_first_seen() -> None:
    assert delays([10.0, 11.0, 12.0, 13.0], [(10.5, 1), (14.0, 3)]) == [0.5, 3.0, 2.0]


def test_of_pgbenchs_log_the_time_of_a_transaction_is_taken_in_milliseconds() -> None:
    # With -R there is a column more, of how late it began, which its time has in it.
    assert list(durations(["0 199 2241 0 1175850568 995598", "1 2 1500 0 1175850568 998079 900"])) == [2.241, 1.5]
