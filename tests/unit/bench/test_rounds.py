"""Rounds are paired, a percentile is one of the values, and a transaction is late until it is seen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.owner import timed, turns
from tests.bench.rounds import delays, goes_on, paired, percentile, tails
from tests.fixtures.waiting import until


def test_the_sides_take_turns_and_ours_stands_first_in_each_pair() -> None:
    order = []

    def measured(side: str) -> str:
        order.append(side)
        return side

    rounds = paired(3, lambda: measured("ours"), lambda: measured("peer"))
    assert rounds == [("ours", "peer")] * 3
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]


def test_each_pair_of_spans_has_both_sides_and_who_is_first_takes_turns() -> None:
    assert [goes_on(span) for span in range(8)] == [True, False, False, True] * 2


def test_a_pair_has_the_tail_of_what_went_on_first() -> None:
    began = [10.0, 12.1, 14.0, 16.0]
    middles = [(start + 1 + n / 1000, float(number + 1)) for number, start in enumerate(began) for n in range(100)]
    assert tails(middles, began, (0.5, 1.75)) == [(1.0, 2.0), (4.0, 3.0)]


def test_what_was_due_before_a_span_had_settled_or_after_it_does_not_count() -> None:
    timed = [(9.0, 7.0), (10.4, 7.0), (10.5, 1.0), (11.7, 1.0), (11.8, 7.0), (12.5, 7.0), (13.0, 2.0), (14.1, 7.0)]
    assert tails(timed, [10.0, 12.1, 14.1], (0.5, 1.75)) == [(1.0, 2.0)]


def test_a_span_in_which_nothing_was_due_has_no_tail() -> None:
    with pytest.raises(ValueError, match="there is no percentile"):
        tails([(11.0, 1.0)], [10.0, 12.0], (0.5, 1.75))


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


def test_of_pgbenchs_log_a_transaction_is_told_from_when_it_was_due() -> None:
    # With -R there is a column more, of how late it began, which its time has in it.
    lines = ["0 199 2241 0 1175850568 995598", "1 2 1500 0 1175850569 1000 900"]
    due, took = zip(*timed(lines), strict=True)
    assert due == pytest.approx((1175850568.993357, 1175850568.9995), abs=1e-6)
    assert took == (2.241, 1.5)


def state(process: subprocess.Popen[bytes]) -> str:
    return str(psutil.Process(process.pid).status())


@pytest.fixture
def two() -> Iterator[list[subprocess.Popen[bytes]]]:
    found = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield found
    for each in found:
        each.kill()
        each.wait()


def test_processes_are_stopped_in_their_turn_and_go_on_at_the_end(two: list[subprocess.Popen[bytes]]) -> None:
    with turns([each.pid for each in two], 3, 0.2) as began:
        until(lambda: [state(each) for each in two] == ["stopped"] * 2, "both are stopped")
        until(lambda: len(began) == 3, "the spans are over")
    assert [later - earlier for earlier, later in pairwise(began)] == pytest.approx([0.2, 0.2], abs=0.15)
    until(lambda: [state(each) for each in two] == ["sleeping"] * 2, "both go on")


def test_whatever_happens_they_go_on_at_the_end_also_where_one_is_gone(two: list[subprocess.Popen[bytes]]) -> None:
    def interrupted() -> None:
        with turns([each.pid for each in two], 100, 0.2):
            until(lambda: state(two[1]) == "stopped", "both are stopped")
            two[0].kill()
            two[0].wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    until(lambda: state(two[1]) == "sleeping", "it goes on")


STOPPING = (
    "import sys, time; from tests.bench.owner import turns\nwith turns([int(sys.argv[1])], 100, 0.2): time.sleep(60)"
)


def test_also_where_whoever_stops_them_is_killed(two: list[subprocess.Popen[bytes]]) -> None:
    with subprocess.Popen([sys.executable, "-c", STOPPING, str(two[0].pid)]) as stopping:
        try:
            until(lambda: state(two[0]) == "stopped", "it is stopped")
        finally:
            stopping.kill()
    until(lambda: state(two[0]) == "sleeping", "it goes on")
