from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.capability import Data, Stack, Stage, State
from strangler.sync.direction import Way
from strangler.sync.fence import Claim
from strangler.sync.status import Status, Sync
from strangler.sync.way_back import Gate, misfenced, way_back

FORWARD = Status(
    way=Way.FORWARD, begun=True, running=True, lag_s=0.4, lag_bytes=7, lag_transactions=3, kept_bytes=9, changes=3
)
BACK = replace(FORWARD, way=Way.REVERSE, lag_s=0.6, lag_bytes=70, lag_transactions=2)
SHADOW = State(stage=Stage.SHADOW, data=Data.STREAMED)
CANARY = State(
    stage=Stage.CANARY, data=Data.STREAMED, share=500, cohorts={"beta": Stack.SERVICE, "shy": Stack.MONOLITH}
)
SERVICE = State(stage=Stage.SERVICE, owner=Stack.SERVICE, share=10_000, data=Data.STREAMED)
STOPPED = replace(BACK, problem="no")


def test_before_a_cutover_nothing_is_lost_and_readers_return() -> None:
    assert way_back(CANARY, FORWARD, BACK).to_json() == {
        "gate": "open",
        "owner": "monolith",
        "service_share": 500,
        "service_cohorts": ["beta"],
        "rows_lost": 0,
        "pending_bytes": 7,
        "pending_s": 0.4,
        "pending_transactions": 3,
    }


def test_after_a_cutover_what_the_monolith_has_not_is_waited_for() -> None:
    found = way_back(SERVICE, FORWARD, BACK)
    assert (found.gate, found.owner, found.rows_lost) == (Gate.OPEN, Stack.SERVICE, 0)
    assert (found.pending_bytes, found.pending_s, found.pending_transactions) == (70, 0.6, 2)


@pytest.mark.parametrize(
    ("state", "back", "gate"),
    [
        (SHADOW, BACK, Gate.OPEN),
        (SHADOW, STOPPED, Gate.STOPPED),
        (SHADOW, replace(BACK, lag_s=11.0), Gate.NOT_FRESH),
        (SHADOW, replace(BACK, running=False), Gate.NOT_FRESH),
        (State(), Status(way=Way.REVERSE), Gate.NONE),
        (State(stage=Stage.RETIRED, owner=Stack.SERVICE, share=10_000), BACK, Gate.NONE),
    ],
)
def test_it_is_open_while_heartbeats_come_through(state: State, back: Status, gate: Gate) -> None:
    assert way_back(state, FORWARD, back).gate is gate


backs = st.builds(
    Status,
    way=st.just(Way.REVERSE),
    begun=st.booleans(),
    running=st.booleans(),
    lag_s=st.none() | st.floats(0, 100),
    problem=st.none() | st.just("no"),
)


@given(st.sampled_from([State(), SHADOW, CANARY, SERVICE]), backs)
def test_nothing_is_called_safe_that_nobody_has_seen_arrive(state: State, back: Status) -> None:
    found = way_back(state, FORWARD, back)
    assert (found.rows_lost == 0) == (state.owner is Stack.MONOLITH or back.follows)


def claim(owner: Stack, *, raised: bool) -> Claim:
    return Claim(capability="books", epoch=3, owner=owner, raised_on=3 if raised else None, observing=False)


def said(state: State, *, monolith: bool, service: bool) -> list[str]:
    """Return what is said where the fences of the two stacks' databases are raised, or not."""
    fences = {
        Stack.MONOLITH: claim(Stack.SERVICE, raised=monolith),
        Stack.SERVICE: claim(Stack.MONOLITH, raised=service),
    }
    sync = Sync(capability="books", forward=FORWARD, back=BACK, copy=None, tables={}, fences=fences)
    return list(misfenced(sync, state))


def test_a_database_that_stands_as_under_another_owner_is_told() -> None:
    assert said(SERVICE, monolith=True, service=False) == said(CANARY, monolith=False, service=True) == []
    [opened] = said(SERVICE, monolith=False, service=False)
    assert opened.startswith("the service owns, and the monolith's database is open: who writes there is not refused;")
    [shut] = said(SERVICE, monolith=True, service=True)
    assert shut.startswith("the service owns, and its own database is fenced: every write is refused;")
    assert len(said(CANARY, monolith=True, service=False)) == 2


def test_nothing_is_said_where_nothing_is_streamed_or_a_fence_is_not_known() -> None:
    assert said(State(), monolith=False, service=False) == []
    bare = Sync(capability="books", forward=FORWARD, back=BACK, copy=None, tables={})
    assert list(misfenced(bare, SERVICE)) == []
