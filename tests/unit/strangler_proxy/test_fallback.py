"""Which reads the monolith answers in the place of a service, in every state that a capability can be in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.capability import BORN, Data, Stack, Stage, State
from strangler.routing.decide import Decision, Why
from strangler_proxy.fallback import FAILURES, Failure, Verdict, fallback_line, is_current, may_fall_back

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
CANARY = State(stage=Stage.CANARY, share=5_000, data=Data.SNAPSHOT, data_at=NOON)
SERVICE = State(stage=Stage.SERVICE, owner=Stack.SERVICE, share=10_000, data=Data.SNAPSHOT, data_at=NOON)


def decision(stack: Stack = Stack.SERVICE, why: Why = Why.SHARE) -> Decision:
    return Decision(stack, "catalog" if stack is Stack.SERVICE else "monolith", why, "catalog")


def verdict(decided: Decision | None = None, state: State = CANARY, **facts: bool) -> str:
    usual: dict[str, Any] = {"allowed": True, "begun": False, "replayable": True, "room": True}
    return may_fall_back(decided or decision(), state, **{**usual, **facts})


def test_a_read_that_the_service_failed_is_the_monoliths_while_it_owns_the_data() -> None:
    assert [verdict(decision(why=why)) for why in (Why.SHARE, Why.COHORT)] == ["fallback", "fallback"]


def test_a_write_is_nobodys_but_the_owners() -> None:
    for state in (CANARY, SERVICE, BORN):
        assert verdict(decision(why=Why.WRITE), state) == "write"


def test_whoever_asked_for_the_service_sees_the_service_fail() -> None:
    assert verdict(decision(why=Why.OVERRIDE)) == "override"


def test_what_the_monolith_itself_failed_has_nobody_to_fall_back_to() -> None:
    assert verdict(decision(Stack.MONOLITH)) == "no_service"


def test_each_condition_has_its_word() -> None:
    found = [verdict(allowed=False), verdict(begun=True), verdict(replayable=False), verdict(room=False)]
    assert found == ["off", "begun", "body_gone", "no_room"]


@pytest.mark.parametrize(
    ("state", "current"),
    [
        (State(), True),
        (CANARY, True),
        (State(killed="slow", data=Data.NONE), True),
        (SERVICE, False),
        (BORN, False),
        (State(stage=Stage.SERVICE, owner=Stack.SERVICE, share=10_000, data=Data.NONE), True),
        (State(stage=Stage.RETIRED, owner=Stack.SERVICE, share=10_000, data=Data.NONE), False),
    ],
)
def test_the_monoliths_data_are_current_while_it_owns_them_or_where_there_are_none(state: State, current: bool) -> None:
    assert is_current(state) is current
    assert verdict(state=state) == ("fallback" if current else "not_current")


def test_after_a_kill_reads_are_the_owners() -> None:
    mine = State(killed="slow", data=Data.NONE)
    theirs = State(stage=Stage.SERVICE, owner=Stack.SERVICE, share=10_000, data=Data.NONE, killed="slow")
    assert (verdict(state=mine), verdict(state=theirs)) == ("fallback", "killed")


states = (
    st.builds(
        State,
        stage=st.sampled_from([Stage.MONOLITH, Stage.CANARY]),
        killed=st.none() | st.just("slow"),
        data=st.sampled_from([Data.NONE, Data.ABSENT]),
    )
    | st.sampled_from([State(stage=Stage.SYNCING), State(stage=Stage.SHADOW, data=Data.STREAMED)])
    | st.builds(
        State,
        stage=st.sampled_from([Stage.SERVICE, Stage.RETIRED]),
        owner=st.just(Stack.SERVICE),
        share=st.just(10_000),
        killed=st.none() | st.just("slow"),
        data=st.just(Data.SNAPSHOT),
        data_at=st.just(NOON),
    )
)


@given(
    st.builds(decision, st.sampled_from(Stack), st.sampled_from(Why)),
    states,
    st.fixed_dictionaries({name: st.booleans() for name in ("allowed", "begun", "replayable", "room")}),
)
def test_no_stale_answer_no_write_and_nothing_twice(decided: Decision, state: State, facts: dict[str, bool]) -> None:
    if verdict(decided, state, **facts) != Verdict.FALLBACK:
        return
    assert decided.stack is Stack.SERVICE
    assert decided.why not in (Why.WRITE, Why.OVERRIDE)
    assert state.owner is Stack.MONOLITH
    assert facts == {"allowed": True, "begun": False, "replayable": True, "room": True}


def test_an_answer_of_the_application_is_no_failure() -> None:
    assert [status for status in range(100, 600) if status in FAILURES] == [500, 502, 503, 504]


def test_the_answer_is_marked_with_how_the_service_failed() -> None:
    assert fallback_line(Failure.RESET) == b"Strangler-Fallback: monolith; why=reset\r\n"
    assert {fallback_line(failure).decode().partition("why=")[2].strip() for failure in Failure} == set(Failure)
