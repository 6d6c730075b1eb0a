"""What is sent once more, for every way that a request may have failed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler_proxy.retry import MOST, Attempt, RetryBudget, Verdict, backoff, may_retry

attempts = st.builds(
    Attempt,
    sent=st.booleans(),
    heard=st.booleans(),
    repeatable=st.booleans(),
    write=st.booleans(),
    timed_out=st.booleans(),
    retries=st.integers(0, 4),
)
READ: Mapping[str, bool] = {"sent": True, "heard": False, "repeatable": True, "write": False}


def verdict(room: bool = True, retries: int = 0, **facts: bool) -> str:
    return may_retry(Attempt(**{**READ, **facts}, retries=retries), room=room)


def test_a_read_that_was_lost_is_sent_again_twice_and_within_the_budget() -> None:
    assert [verdict(retries=retries) for retries in range(3)] == ["repeatable", "repeatable", "exhausted"]
    assert verdict(room=False) == "over_budget"


def test_what_was_never_sent_is_sent_again_whatever_it_is() -> None:
    for facts in ({"write": True}, {"repeatable": False}, {"timed_out": True}):
        assert verdict(sent=False, **facts) == "unsent"
    assert verdict(sent=False, room=False) == "unsent"
    assert verdict(sent=False, retries=MOST) == "exhausted"


def test_a_get_that_writes_is_not_repeated() -> None:
    assert verdict(write=True) == "write"


def test_a_body_or_an_unsafe_method_is_not_repeated() -> None:
    assert verdict(repeatable=False) == "unrepeatable"


def test_an_answer_is_the_answer_also_in_part() -> None:
    assert verdict(heard=True) == "answered"


def test_what_timed_out_does_not_get_as_long_again() -> None:
    assert verdict(timed_out=True) == "timed_out"


@given(attempts, st.booleans())
def test_nothing_is_done_twice_and_nothing_is_said_twice(attempt: Attempt, room: bool) -> None:
    again = may_retry(attempt, room=room).again
    if attempt.heard or attempt.retries >= MOST:
        assert not again
    elif not attempt.sent:
        assert again
    else:
        assert again == (room and attempt.repeatable and not attempt.write and not attempt.timed_out)


def test_two_words_mean_yes() -> None:
    assert [each for each in Verdict if each.again] == [Verdict.UNSENT, Verdict.REPEATABLE]


@given(st.integers(1, 2000).map(lambda number: min(number, 1000)), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_random_and_bounded(retry: int, draw: float) -> None:
    assert 0 <= backoff(retry, draw) < 0.25
    assert backoff(retry, draw) <= backoff(retry + 1, draw)


def test_pauses_are_at_most_as_long_as_envoys() -> None:
    assert [backoff(retry, 1.0) for retry in range(1, 6)] == pytest.approx([0.025, 0.075, 0.175, 0.25, 0.25])


@given(st.lists(st.sampled_from(["asked", "answered", "failed", "retried"]), max_size=300))
def test_never_more_retries_are_under_way_than_the_budget_has(events: list[str]) -> None:
    budget, active = RetryBudget(), 0
    for event in events:
        if event == "asked":
            active += 5
        elif event == "answered" and active > budget.in_flight:
            active -= 1
        elif event == "failed" and budget.room(active):
            budget.begin()
            assert budget.in_flight <= max(3, 0.2 * active)
        elif event == "retried" and budget.in_flight:
            budget.end()
    assert repr(budget) == f"RetryBudget(in_flight={budget.in_flight})"


def test_three_may_repeat_however_few_there_are_and_a_fifth_of_many() -> None:
    for active, most in ((0, 3), (1, 3), (15, 3), (20, 4), (99, 19), (100, 20)):
        budget = RetryBudget()
        while budget.room(active):
            budget.begin()
        assert budget.in_flight == most


@pytest.mark.parametrize("wrong", [{"budget_percent": -1.0}, {"budget_percent": 101.0}, {"min_retry_concurrency": -1}])
def test_a_budget_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no budget"):
        RetryBudget(**wrong)
