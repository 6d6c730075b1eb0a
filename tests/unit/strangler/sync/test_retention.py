from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.retention import Verdict, judge

sizes = st.integers(0, 2**50)


@given(sizes, st.integers(100, 2**50))
def test_a_slot_is_given_up_past_its_budget_and_warned_of_at_half(kept: int, budget: int) -> None:
    verdict = judge(kept, budget)
    assert (verdict is Verdict.GIVE_UP) == (kept > budget)
    assert (verdict is Verdict.NOTHING) == (kept <= budget // 2)


@given(st.integers(100, 2**50))
def test_what_is_not_known_is_left_alone(budget: int) -> None:
    assert judge(None, budget) is Verdict.NOTHING
