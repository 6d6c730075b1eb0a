"""How many calls a budget lets repeat, whatever happens in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.service.budget import LEAST, SHARE, WINDOW_S, Budget

# Half seconds that pass, and whether what comes then is a call or the wish to repeat one.
EVENTS = st.lists(st.tuples(st.integers(min_value=0, max_value=9), st.booleans()), max_size=300)


def test_a_quiet_service_may_repeat_three_calls_in_ten_seconds() -> None:
    budget = Budget()
    assert [budget.spend(at) for at in (0.0, 1.0, 2.0, 9.9, 10.0)] == [True, True, True, False, True]


def test_a_busy_service_may_repeat_a_fifth_of_its_calls() -> None:
    budget = Budget()
    for _ in range(100):
        budget.called(5.0)
    assert sum(budget.spend(6.0) for _ in range(100)) == 20


def test_calls_are_forgotten_with_their_window() -> None:
    budget = Budget()
    for _ in range(100):
        budget.called(0.0)
    assert sum(budget.spend(10.0) for _ in range(100)) == LEAST


def test_a_budget_of_nothing_repeats_nothing() -> None:
    budget = Budget(share=0.0, least=0)
    budget.called(0.0)
    assert not budget.spend(0.0)


def test_a_budget_shows_what_was_spent() -> None:
    budget = Budget()
    budget.called(0.0)
    budget.spend(0.0)
    assert repr(budget) == "Budget(1 retries of 1 calls in 10 s)"


@pytest.mark.parametrize(("share", "least", "window_s"), [(-0.1, 3, 10), (1.1, 3, 10), (0.2, -1, 10), (0.2, 3, 0)])
def test_a_budget_that_makes_no_sense_is_refused(share: float, least: int, window_s: int) -> None:
    with pytest.raises(ValueError, match="no budget"):
        Budget(share=share, least=least, window_s=window_s)


@given(events=EVENTS)
def test_no_window_holds_more_retries_than_it_may(events: list[tuple[int, bool]]) -> None:
    budget, at = Budget(), 1000.0
    calls: list[float] = []
    retries: list[float] = []
    for half_seconds, is_call in events:
        at += half_seconds / 2
        if is_call:
            budget.called(at)
            calls.append(at)
        elif budget.spend(at):
            retries.append(at)
            # Seconds are counted whole: the window is never longer than said, and at most one second shorter.
            within = [sum(int(at) - int(each) < WINDOW_S for each in seen) for seen in (calls, retries)]
            assert within[1] <= max(LEAST, SHARE * within[0])


@given(events=EVENTS)
def test_a_retry_is_refused_only_when_the_window_is_full(events: list[tuple[int, bool]]) -> None:
    budget, at = Budget(), 0.0
    calls: list[int] = []
    retries: list[int] = []
    for half_seconds, is_call in events:
        at += half_seconds / 2
        recent = [sum(int(at) - each < WINDOW_S for each in seen) for seen in (calls, retries)]
        if is_call:
            budget.called(at)
            calls.append(int(at))
        elif budget.spend(at):
            retries.append(int(at))
        else:
            assert recent[1] >= max(LEAST, int(SHARE * recent[0]))
