"""When a stack is left alone, and how many requests go through at a time, whatever happens in whatever order."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from strangler_proxy.breaker import TRANSITIONS, USUAL, Breaker, BreakerPolicy, Bulkhead, Circuit, Event

PATIENT = BreakerPolicy(consecutive=10_000)


def opened(policy: BreakerPolicy = USUAL, now: float = 100.0) -> Breaker:
    breaker = Breaker(policy)
    ticket = breaker.admit(now)
    for _ in range(policy.consecutive):
        breaker.failed(ticket, now)
    assert breaker.circuit is Circuit.OPEN
    return breaker


def half_open(now: float = 100.0) -> tuple[Breaker, int]:
    breaker = opened(now=now - USUAL.open_time)
    return breaker, breaker.admit(now)


# --- the circuit ---


def test_the_table_is_the_whole_law() -> None:
    allowed = {
        ("closed", "tripped", "open"),
        ("open", "cooled", "half_open"),
        ("half_open", "proven", "closed"),
        ("half_open", "disproven", "open"),
    }
    assert {(*key, after) for key, after in TRANSITIONS.items()} == allowed
    assert len(list(product(Circuit, Event))) == 12


def test_many_in_a_row_open_it_and_an_answer_between_begins_anew() -> None:
    breaker = Breaker()
    ticket = breaker.admit(0.0)
    assert not any(breaker.failed(ticket, 0.0) for _ in range(9))
    breaker.succeeded(ticket, 0.0)
    assert [breaker.failed(ticket, 0.0) for _ in range(10)] == [False] * 9 + [True]
    assert (breaker.circuit, breaker.opened) == (Circuit.OPEN, 1)


def test_half_of_twenty_open_it_and_fewer_do_not() -> None:
    few, enough = Breaker(), Breaker()
    for number in range(19):
        for breaker in (few, enough):
            (breaker.failed if number % 2 else breaker.succeeded)(1, number / 10)
    few.succeeded(1, 2.0)
    assert few.circuit is Circuit.CLOSED
    assert enough.failed(1, 2.0)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    breaker = Breaker(PATIENT)
    for _ in range(19):
        breaker.failed(1, 0.0)
    breaker.failed(1, 10.0)
    assert breaker.circuit is Circuit.CLOSED
    assert repr(breaker) == "Breaker(closed, 1 of 1 failed, opened=0, refused=0)"


def test_an_open_one_lets_nobody_through_until_its_time_is_over() -> None:
    breaker = opened(now=100.0)
    assert [breaker.admit(now) for now in (100.0, 101.0, 104.9)] == [0, 0, 0]
    assert (breaker.wait(101.0), breaker.refused) == (4.0, 3)
    assert breaker.admit(105.0)
    assert breaker.circuit is Circuit.HALF_OPEN


def test_half_open_three_may_try_at_a_time_and_by_three_answers_it_closes() -> None:
    breaker, ticket = half_open()
    assert [bool(breaker.admit(100.0)) for _ in range(4)] == [True, True, False, False]
    for _ in range(3):
        assert breaker.circuit is Circuit.HALF_OPEN
        breaker.succeeded(ticket, 100.5)
    assert (breaker.circuit, breaker.wait(100.5)) == (Circuit.CLOSED, 0.0)
    assert breaker.admit(100.5)


def test_one_trial_that_fails_opens_it_for_as_long_again() -> None:
    breaker, ticket = half_open()
    breaker.admit(100.0)
    breaker.succeeded(ticket, 100.1)
    assert breaker.failed(ticket, 101.0)
    assert (breaker.circuit, breaker.opened, breaker.wait(101.0)) == (Circuit.OPEN, 2, 5.0)


def test_an_abandoned_trial_leaves_its_place_to_another() -> None:
    breaker, ticket = half_open()
    breaker.admit(100.0)
    breaker.admit(100.0)
    assert not breaker.admit(100.0)
    breaker.abandoned(ticket)
    assert breaker.admit(100.0)


def test_trials_that_never_end_hold_nobody_up_for_ever() -> None:
    breaker, _ = half_open()
    breaker.admit(100.0)
    breaker.admit(100.0)
    assert [bool(breaker.admit(now)) for now in (104.9, 105.0, 105.1, 105.2, 105.3)] == [False, True, True, True, False]


def test_the_end_of_a_request_from_before_counts_for_nothing() -> None:
    breaker = Breaker()
    early = breaker.admit(0.0)
    for _ in range(10):
        breaker.failed(early, 1.0)
    trial = breaker.admit(6.0)
    breaker.abandoned(early)
    assert not breaker.failed(early, 6.0)
    for _ in range(5):
        breaker.succeeded(early, 6.0)
    assert not breaker.wait(11.0)
    for _ in range(3):
        breaker.succeeded(trial, 6.0)
    assert not any(breaker.failed(early, 7.0) or breaker.failed(trial, 7.0) for _ in range(100))
    assert repr(breaker) == "Breaker(closed, 0 of 0 failed, opened=1, refused=0)"


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=200))
@settings(deadline=None)
def test_it_opens_by_what_the_window_holds_and_by_nothing_else(events: list[tuple[float, bool]]) -> None:
    breaker, now = Breaker(PATIENT), 100.0
    seen: list[tuple[float, bool]] = []
    for later, ok in events:
        now += later
        seen.append((now, ok))
        if ok:
            breaker.succeeded(1, now)
            continue
        # The window is never longer than said, and at most two of its tenths shorter.
        lengths = [number / 10 for number in range(80, 101)]
        verdicts = {too_much(seen, now, length) for length in lengths}
        if breaker.failed(1, now):
            assert True in verdicts
            return
        assert False in verdicts


def too_much(seen: list[tuple[float, bool]], now: float, length: float) -> bool:
    recent = [ok for at, ok in seen if at >= now - length]
    return len(recent) >= 20 and recent.count(False) >= len(recent) / 2


class Requests(RuleBasedStateMachine):
    """Requests of many kinds that begin and end in any order, by a breaker."""

    @initialize(consecutive=st.integers(1, 5), trials=st.integers(1, 4))
    def begin(self, consecutive: int, trials: int) -> None:
        self.policy = BreakerPolicy(consecutive=consecutive, trials=trials, open_time=5.0)
        self.breaker = Breaker(self.policy)
        self.now = 0.0
        self.under_way: list[int] = []

    @rule(quarters=st.integers(0, 24))
    def wait(self, quarters: int) -> None:
        self.now += quarters / 4

    @rule()
    def ask(self) -> None:
        before, wait = self.breaker.circuit, self.breaker.wait(self.now)
        ticket = self.breaker.admit(self.now)
        if ticket:
            self.under_way.append(ticket)
            assert self.breaker.circuit is not Circuit.OPEN
        else:
            assert before is not Circuit.CLOSED
            assert wait > 0

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), how=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, data: st.DataObject, how: str) -> None:
        ticket = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        before, stale = self.breaker.circuit, ticket != max([ticket, *self.under_way])
        if how == "abandoned":
            self.breaker.abandoned(ticket)
            assert self.breaker.circuit is before
        elif how == "failed":
            self.breaker.failed(ticket, self.now)
            assert self.breaker.circuit is not Circuit.CLOSED or before is Circuit.CLOSED
        else:
            self.breaker.succeeded(ticket, self.now)
            assert self.breaker.circuit is not Circuit.OPEN or before is Circuit.OPEN
        if stale:
            assert self.breaker.circuit is before

    @invariant()
    def nobody_is_refused_for_longer_than_the_open_time(self) -> None:
        assert 0 <= self.breaker.wait(self.now) <= self.policy.open_time


TestRequests = Requests.TestCase


@pytest.mark.parametrize(
    "wrong", [{"window": 0.0}, {"open_time": 0.0}, {"requests": 0}, {"trials": 0}, {"ratio": 0.0}, {"ratio": 1.1}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"above 0|at least 1"):
        BreakerPolicy(**wrong)  # type: ignore[arg-type]


# --- the bulkhead ---


@given(st.integers(0, 5), st.lists(st.booleans(), max_size=100))
def test_never_more_go_through_at_a_time_than_may(most: int, events: list[bool]) -> None:
    bulkhead, inside, refused = Bulkhead(most), 0, 0
    for enters in events:
        if enters:
            assert bulkhead.enter() is (inside < most)
            inside, refused = (inside + 1, refused) if inside < most else (inside, refused + 1)
        elif inside:
            bulkhead.leave()
            inside -= 1
    assert (bulkhead.in_flight, bulkhead.refused) == (inside, refused)
    assert repr(bulkhead) == f"Bulkhead({inside} of {most}, refused={refused})"


def test_a_bulkhead_made_smaller_lets_those_inside_end() -> None:
    bulkhead = Bulkhead(2)
    assert bulkhead.enter()
    assert bulkhead.enter()
    bulkhead.most = 1
    bulkhead.leave()
    assert not bulkhead.enter()
    bulkhead.leave()
    assert bulkhead.enter()
