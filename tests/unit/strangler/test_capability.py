from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from strangler.capability import (
    BORN,
    TRANSITIONS,
    WHOLE,
    AbortMove,
    Clear,
    Command,
    CompleteAbort,
    CompleteBar,
    CompleteForce,
    CompleteMove,
    CompleteSync,
    Data,
    DiscardCopy,
    ForceMove,
    Kill,
    Move,
    Phase,
    RaiseFence,
    Refused,
    RefuseWrites,
    Retire,
    SetReads,
    Stack,
    Stage,
    StartMove,
    StartSync,
    State,
    StopSync,
    SwitchOwner,
    TakeSnapshot,
    transit,
)

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ABSENT = State()
SNAPSHOT = State(data=Data.SNAPSHOT, data_at=NOON)
PLAIN = State(data=Data.NONE)
CANARY = transit(PLAIN, SetReads(share=2_500))
KILLED = transit(CANARY, Kill(reason="smoke"))
SYNCING = transit(ABSENT, StartSync())
SHADOW = transit(SYNCING, CompleteSync())
STREAMED_CANARY = transit(SHADOW, SetReads(share=2_500))
MOVING = transit(STREAMED_CANARY, StartMove())
SWITCHED = transit(MOVING, SwitchOwner(epoch=4))
MOVED = transit(SWITCHED, CompleteMove(epoch=4))
ABORTING = transit(MOVING, AbortMove(epoch=4))
FORCED = transit(MOVED, ForceMove())
BARRING = transit(FORCED, CompleteForce(epoch=7))

times = st.datetimes(timezones=st.just(UTC))
stacks = st.sampled_from(Stack)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        SetReads,
        share=st.none() | st.sampled_from([0, WHOLE]) | st.integers(0, WHOLE),
        cohorts=st.dictionaries(st.sampled_from(["beta", "office"]), st.none() | stacks, max_size=2),
        allow_stale=st.booleans(),
    ),
    st.builds(Kill, reason=st.sampled_from(["smoke", "", " "])),
    st.builds(RefuseWrites, reason=st.sampled_from(["fire", " "]), readers=stacks),
    st.builds(Clear),
    st.builds(TakeSnapshot, at=times),
    st.builds(DiscardCopy),
    st.builds(StartSync),
    st.builds(CompleteSync),
    st.builds(StopSync),
    st.builds(RaiseFence),
    st.builds(StartMove),
    st.builds(ForceMove),
    st.builds(Retire, keep_copy=st.booleans()),
)
_MOVES = (SwitchOwner, CompleteMove, AbortMove, CompleteAbort, CompleteForce, CompleteBar)
_AT_ANY_TIME = (Kill, ForceMove)


class Life(RuleBasedStateMachine):
    """A capability under arbitrary commands, from each way that one may begin."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ABSENT

    @rule(data=st.sampled_from([PLAIN, ABSENT, BORN]))
    def begin_anew(self, data: State) -> None:
        self.state = data

    @rule(command=commands)
    def try_a_step(self, command: Command) -> None:
        self._step(command)

    @rule(move=st.sampled_from(_MOVES), off=st.sampled_from([0, 0, 0, 1]))
    def carry_a_move_on(
        self,
        move: type[SwitchOwner | CompleteMove | AbortMove | CompleteAbort | CompleteForce | CompleteBar],
        off: int,
    ) -> None:
        epoch = self.state.move.epoch if self.state.move else 0
        assert not (self._step(move(epoch=epoch + off)) and off), "a move of another epoch was carried on"

    def _step(self, command: Command) -> bool:
        before = self.state
        picture = repr(before)
        try:
            after = transit(before, command)
        except Refused:
            assert repr(before) == picture
            return False
        assert after.epoch == before.epoch + 1
        assert after.stage in TRANSITIONS[before.stage, type(command)]
        assert (after.owner is before.owner) != isinstance(command, SwitchOwner | ForceMove)
        assert before.moving is None or isinstance(command, (*_MOVES, *_AT_ANY_TIME))
        self.state = after
        assert repr(before) == picture
        return True

    @invariant()
    def readers_leave_the_monolith_in_a_canary_only(self) -> None:
        if self.state.owner is Stack.MONOLITH:
            assert self.state.reads_leave_owner == (self.state.stage is Stage.CANARY)

    @invariant()
    def killed_means_that_every_read_is_with_the_owner(self) -> None:
        if self.state.killed is not None:
            assert not self.state.reads_leave_owner
            assert self.state.stage is not Stage.CANARY

    @invariant()
    def a_move_is_of_a_copy_that_follows(self) -> None:
        move = self.state.moving
        assert move is None or (self.state.data is Data.STREAMED) != (move.phase is Phase.FORCED)

    @invariant()
    def nothing_is_copied_to_a_database_that_may_come_back_unfenced(self) -> None:
        if self.state.move is not None and self.state.move.phase in (Phase.FORCED, Phase.BARRING):
            assert (self.state.stage, self.state.data) == (Stage.MONOLITH, Data.ABSENT)

    @invariant()
    def writes_are_refused_in_a_service_that_owns_alone(self) -> None:
        assert self.state.read_only is None or self.state.stage is Stage.SERVICE

    @invariant()
    def nobody_reads_from_a_copy_that_is_not_there(self) -> None:
        assert not (self.state.reads_leave_owner and self.state.data is Data.ABSENT)

    @invariant()
    def streams_run_until_they_are_ended(self) -> None:
        resting = {Data.STREAMED: Stage.SHADOW}.get(self.state.data, Stage.MONOLITH)
        assert self.state.owner is Stack.SERVICE or self.state.stage in (resting, Stage.CANARY, Stage.SYNCING)
        assert self.state.stage is not Stage.SYNCING or self.state.data is Data.ABSENT


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@given(st.sampled_from(Stage), commands)
def test_what_the_table_lacks_is_refused_in_every_stage(stage: Stage, command: Command) -> None:
    owned = stage in (Stage.SERVICE, Stage.RETIRED)
    held = {Stage.SYNCING: Data.ABSENT, Stage.SHADOW: Data.STREAMED}.get(stage, Data.NONE)
    state = replace(BORN, stage=stage) if owned else State(stage=stage, data=held)
    if (stage, type(command)) not in TRANSITIONS:
        with pytest.raises(Refused, match=f"stage {stage}"):
            transit(state, command)


def test_the_law_is_this_table_and_nothing_else() -> None:
    table = {
        f"{stage} {command.__name__}": " or ".join(sorted(after)) for (stage, command), after in TRANSITIONS.items()
    }
    assert table == {
        "monolith SetReads": "canary or monolith",
        "monolith Kill": "monolith",
        "monolith Clear": "monolith",
        "monolith TakeSnapshot": "monolith",
        "monolith DiscardCopy": "monolith",
        "monolith StartSync": "syncing",
        "syncing Kill": "syncing",
        "syncing Clear": "syncing",
        "syncing CompleteSync": "shadow",
        "syncing StopSync": "monolith",
        "shadow SetReads": "canary or shadow",
        "shadow Kill": "shadow",
        "shadow Clear": "shadow",
        "shadow StopSync": "monolith",
        "canary SetReads": "canary or monolith or shadow",
        "canary Kill": "monolith or shadow",
        "service SetReads": "service",
        "service Kill": "service",
        "service RefuseWrites": "service",
        "service Clear": "service",
        "shadow RaiseFence": "shadow",
        "canary RaiseFence": "canary",
        "service RaiseFence": "service",
        "shadow StartMove": "shadow",
        "canary StartMove": "canary",
        "service StartMove": "service",
        "shadow SwitchOwner": "service",
        "canary SwitchOwner": "service",
        "service SwitchOwner": "shadow",
        "shadow CompleteMove": "shadow",
        "service CompleteMove": "service",
        "shadow AbortMove": "shadow",
        "canary AbortMove": "canary",
        "service AbortMove": "service",
        "shadow CompleteAbort": "shadow",
        "canary CompleteAbort": "canary",
        "service CompleteAbort": "service",
        "service ForceMove": "monolith",
        "monolith CompleteForce": "monolith",
        "monolith CompleteBar": "monolith",
        "service Retire": "retired",
        "retired StopSync": "retired",
    }


def test_every_command_is_legal_in_some_stage() -> None:
    assert {command for _, command in TRANSITIONS} == set(get_args(Command))


@pytest.mark.parametrize(
    ("state", "command", "message"),
    [
        (ABSENT, SetReads(share=1), "the service holds no copy of its tables yet; run the backfill first"),
        (
            SNAPSHOT,
            SetReads(share=1),
            "the service holds a snapshot of 2025-03-01 12:00:00 UTC, and readers would not see later writes; "
            "say --allow-stale if they may",
        ),
        (
            SNAPSHOT,
            SetReads(cohorts={"beta": Stack.SERVICE}),
            "the service holds a snapshot of 2025-03-01 12:00:00 UTC, and readers would not see later writes; "
            "say --allow-stale if they may",
        ),
        (KILLED, SetReads(share=0), "it is killed (smoke); clear that first, with a reason"),
        (CANARY, Kill(reason=" \n"), "a kill wants a reason"),
        (PLAIN, Clear(), "there is no kill to clear, and writes are taken"),
        (CANARY, Clear(), "there is no kill to clear in stage canary"),
        (
            CANARY,
            TakeSnapshot(at=NOON),
            "in stage canary no snapshot can be taken; set reads to 0 first, and cohorts off",
        ),
        (
            CANARY,
            DiscardCopy(),
            "in stage canary no copy can be discarded; set reads to 0 first, and cohorts off",
        ),
        (PLAIN, TakeSnapshot(at=NOON), "it has no tables as published; publish its mapping first if it has one"),
        (PLAIN, DiscardCopy(), "it has no tables as published; publish its mapping first if it has one"),
        (PLAIN, StartSync(), "it has no tables as published; publish its mapping first if it has one"),
        (SYNCING, SetReads(share=1), "reads cannot be set in stage syncing; its tables are being copied"),
        (SYNCING, StartSync(), "in stage syncing no streams can begin; they have begun already"),
        (
            SHADOW,
            DiscardCopy(),
            "in stage shadow no copy can be discarded; the stream keeps the copy as the owner's rows are",
        ),
        (SHADOW, StartSync(), "in stage shadow no streams can begin; they have begun already"),
        (ABSENT, CompleteSync(), "in stage monolith there is no copy to complete"),
        (ABSENT, StopSync(), "in stage monolith no streams can end"),
        (ABSENT, RaiseFence(), "in stage monolith no fence can be raised anew; there is none: strangler sync start"),
        (STREAMED_CANARY, StopSync(), "in stage canary no streams can end; set reads to 0 first, and cohorts off"),
        (
            STREAMED_CANARY,
            TakeSnapshot(at=NOON),
            "in stage canary no snapshot can be taken; set reads to 0 first, and cohorts off",
        ),
        (
            BORN,
            SetReads(share=0),
            "reads cannot be set in stage service; its service owns the data and answers every read",
        ),
        (
            replace(BORN, stage=Stage.RETIRED),
            Kill(reason="smoke"),
            "there is nothing to kill in stage retired; its service owns the data and answers every read",
        ),
        (
            BORN,
            StartMove(),
            "in stage service the owner cannot be moved; its service owns the data and answers every read",
        ),
        (
            ABSENT,
            StartMove(),
            "in stage monolith the owner cannot be moved; the service's tables must follow the monolith's first:"
            " strangler sync start",
        ),
        (
            transit(SNAPSHOT, SetReads(share=1, allow_stale=True)),
            StartMove(),
            "its owner cannot be moved; the service's tables must follow the monolith's first: strangler sync start",
        ),
        (
            transit(SHADOW, Kill(reason="smoke")),
            StartMove(),
            "it is killed (smoke); clear that first, with a reason",
        ),
        (MOVING, StartMove(), "its owner is being moved (epoch 4, prepared); wait until that has ended"),
        (SWITCHED, Clear(), "its owner is being moved (epoch 4, switched); wait until that has ended"),
        (
            BARRING,
            StartSync(),
            "its service's database has not been fenced since the rollback that was forced (epoch 7): whoever comes"
            " upon it does so first; start it, and strangler sync run",
        ),
        (SHADOW, ForceMove(), "in stage shadow no rollback can be forced"),
        (
            BORN,
            ForceMove(),
            "in stage service no rollback can be forced; its service owns the data and answers every read",
        ),
        (
            SHADOW,
            Retire(keep_copy=True),
            "in stage shadow nothing can be retired; its service must own the data first: strangler cutover",
        ),
        (
            transit(MOVED, SetReads(share=9_000)),
            Retire(keep_copy=False),
            "some of its reads are with the monolith; set reads to 100 % first, and cohorts off",
        ),
        (
            transit(MOVED, RefuseWrites(reason="fire", readers=Stack.SERVICE)),
            Retire(keep_copy=False),
            "it takes no writes (fire); clear that first, with a reason",
        ),
        (
            transit(MOVED, Retire(keep_copy=True)),
            StartMove(),
            "in stage retired the owner cannot be moved; it is retired: there is no way back",
        ),
        (
            transit(MOVED, RefuseWrites(reason="fire", readers=Stack.SERVICE)),
            SetReads(share=0),
            "it takes no writes (fire); clear that first, with a reason",
        ),
        (MOVED, RefuseWrites(reason=" ", readers=Stack.SERVICE), "to refuse writes wants a reason"),
        (
            SWITCHED,
            AbortMove(epoch=4),
            "this wants the move of epoch 4 to be prepared, and the last one is of epoch 4 and switched",
        ),
        (
            ABORTING,
            SwitchOwner(epoch=4),
            "this wants the move of epoch 4 to be prepared, and the last one is of epoch 5 and aborting",
        ),
        (
            SHADOW,
            CompleteMove(epoch=4),
            "this wants the move of epoch 4 to be switched, and its owner was never moved",
        ),
        (MOVED, StopSync(), "in stage service no streams can end; its service owns the data: roll back first"),
    ],
)
def test_a_refusal_says_what_would_do(state: State, command: Command, message: str) -> None:
    with pytest.raises(Refused) as refusal:
        transit(state, command)
    assert str(refusal.value) == message


def test_a_share_and_cohorts_change_apart_from_each_other() -> None:
    with_cohort = transit(CANARY, SetReads(cohorts={"beta": Stack.SERVICE}))
    assert (with_cohort.share, dict(with_cohort.cohorts)) == (2_500, {"beta": Stack.SERVICE})
    only_cohort = transit(with_cohort, SetReads(share=0))
    assert (only_cohort.stage, dict(only_cohort.cohorts)) == (Stage.CANARY, {"beta": Stack.SERVICE})
    none = transit(only_cohort, SetReads(cohorts={"beta": None, "never-there": None}))
    assert (none.stage, dict(none.cohorts)) == (Stage.MONOLITH, {})


def test_a_cohort_that_stays_with_the_owner_is_no_canary() -> None:
    assert transit(PLAIN, SetReads(cohorts={"staff": Stack.MONOLITH})).stage is Stage.MONOLITH


def test_a_snapshot_may_be_read_by_whoever_says_so() -> None:
    assert transit(SNAPSHOT, SetReads(share=WHOLE, allow_stale=True)).stage is Stage.CANARY


def test_reads_stay_with_the_owner_after_a_kill_is_cleared() -> None:
    cleared = transit(KILLED, Clear())
    assert (cleared.killed, cleared.share, cleared.stage) == (None, 0, Stage.MONOLITH)


def test_a_second_kill_tells_the_newer_reason() -> None:
    assert transit(KILLED, Kill(reason="fire")).killed == "fire"


def test_streams_begin_are_complete_and_end() -> None:
    from_snapshot = transit(SNAPSHOT, StartSync())
    stopped = [transit(each, StopSync()) for each in (SYNCING, SHADOW)]
    states = (SYNCING, from_snapshot, SHADOW, STREAMED_CANARY, *stopped)
    assert [(each.stage, each.data, each.data_at, each.is_streamed) for each in states] == [
        (Stage.SYNCING, Data.ABSENT, None, True),
        (Stage.SYNCING, Data.ABSENT, None, True),
        (Stage.SHADOW, Data.STREAMED, None, True),
        (Stage.CANARY, Data.STREAMED, None, True),
        (Stage.MONOLITH, Data.ABSENT, None, False),
        (Stage.MONOLITH, Data.ABSENT, None, False),
    ]


def test_a_kill_leaves_the_streams_as_they_are() -> None:
    killed = [transit(each, Kill(reason="smoke")) for each in (SYNCING, SHADOW, STREAMED_CANARY)]
    assert [each.stage for each in killed] == [Stage.SYNCING, Stage.SHADOW, Stage.SHADOW]
    assert [transit(each, Clear()).stage for each in killed] == [Stage.SYNCING, Stage.SHADOW, Stage.SHADOW]
    assert transit(STREAMED_CANARY, SetReads(share=0)).stage is Stage.SHADOW


def test_a_copy_comes_and_goes() -> None:
    taken = transit(ABSENT, TakeSnapshot(at=NOON))
    newer = transit(taken, TakeSnapshot(at=NOON + timedelta(hours=1)))
    gone = transit(newer, DiscardCopy())
    assert [(each.data, each.data_at) for each in (taken, newer, gone)] == [
        (Data.SNAPSHOT, NOON),
        (Data.SNAPSHOT, NOON + timedelta(hours=1)),
        (Data.ABSENT, None),
    ]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: State(share=-1), "share is -1 basis points; it lies between 0 and 10000"),
        (lambda: State(share=10_001), "share is 10001 basis points; it lies between 0 and 10000"),
        (lambda: SetReads(share=10_001), "share is 10001 basis points; it lies between 0 and 10000"),
        (lambda: State(epoch=-1), "epoch is -1; it starts at 0 and rises"),
        (lambda: State(data=Data.SNAPSHOT), "data is snapshot and data_at is None; a snapshot has a time"),
        (
            lambda: State(data=Data.SNAPSHOT, data_at=datetime(2025, 3, 1)),  # noqa: DTZ001  # the missing zone is meant
            "data_at has no time zone",
        ),
        (lambda: State(killed="smoke", share=1), "killed, and yet reads leave the owner"),
        (
            lambda: State(killed="smoke", cohorts={"beta": Stack.SERVICE}),
            "killed, and yet reads leave the owner",
        ),
        (lambda: replace(BORN, killed="smoke", share=0), "killed, and yet reads leave the owner"),
        (lambda: State(owner=Stack.SERVICE), "stage is monolith, and yet the owner is the service"),
        (lambda: replace(BORN, owner=Stack.MONOLITH), "stage is service, and yet the owner is the monolith"),
        (lambda: State(stage=Stage.SHADOW), "stage is shadow, and yet data is absent"),
        (lambda: replace(SHADOW, stage=Stage.MONOLITH), "stage is monolith, and yet data is streamed"),
        (lambda: State(stage=Stage.SYNCING, data=Data.NONE), "stage is syncing, and yet data is none"),
    ],
)
def test_a_state_refuses_to_be_built_wrong(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build()


def test_a_state_does_not_change_with_the_mapping_that_it_was_built_from() -> None:
    cohorts = {"beta": Stack.SERVICE}
    state = State(data=Data.NONE, cohorts=cohorts)
    cohorts["beta"] = Stack.MONOLITH
    assert dict(state.cohorts) == {"beta": Stack.SERVICE}
    with pytest.raises(TypeError):
        state.cohorts["beta"] = Stack.MONOLITH  # type: ignore[index]


def test_each_stack_is_the_others_other() -> None:
    assert [stack.other for stack in Stack] == [Stack.SERVICE, Stack.MONOLITH]


def test_the_owner_moves_forth_and_back_and_reads_go_with_it() -> None:
    back = transit(MOVED, StartMove())
    there = transit(back, SwitchOwner(epoch=back.epoch))
    steps = (MOVING, SWITCHED, MOVED, back, there, transit(there, CompleteMove(epoch=back.epoch)))
    assert [
        (each.stage, each.owner, each.share, each.move and (each.move.epoch, each.move.phase), each.reads_leave_owner)
        for each in steps
    ] == [
        (Stage.CANARY, Stack.MONOLITH, 2_500, (4, Phase.PREPARED), True),
        (Stage.SERVICE, Stack.SERVICE, WHOLE, (4, Phase.SWITCHED), False),
        (Stage.SERVICE, Stack.SERVICE, WHOLE, (4, Phase.DONE), False),
        (Stage.SERVICE, Stack.SERVICE, WHOLE, (7, Phase.PREPARED), False),
        (Stage.SHADOW, Stack.MONOLITH, 0, (7, Phase.SWITCHED), False),
        (Stage.SHADOW, Stack.MONOLITH, 0, (7, Phase.DONE), False),
    ]


def test_a_move_that_is_aborted_leaves_everything_as_it_was_but_for_its_epoch() -> None:
    aborted = transit(ABORTING, CompleteAbort(epoch=5))
    assert ABORTING.move == Move(epoch=5, source=Stack.MONOLITH, phase=Phase.ABORTING)
    assert aborted == replace(STREAMED_CANARY, epoch=6, move=replace(ABORTING.move, phase=Phase.ABORTED))
    assert transit(aborted, StartMove()).moving == Move(epoch=7, source=Stack.MONOLITH, phase=Phase.PREPARED)


def test_a_moved_capability_may_be_read_at_the_monolith_and_is_killed_towards_its_service() -> None:
    split = transit(MOVED, SetReads(share=9_000))
    killed = transit(split, Kill(reason="smoke"))
    assert (split.stage, split.reads_leave_owner) == (Stage.SERVICE, True)
    assert (killed.stage, killed.share, killed.killed) == (Stage.SERVICE, WHOLE, "smoke")
    assert transit(killed, StartMove()).moving is not None, "who is killed may still go back"


def test_streams_that_end_forget_the_last_move() -> None:
    assert transit(transit(ABORTING, CompleteAbort(epoch=5)), SetReads(share=0)).move is not None
    resting = transit(transit(transit(ABORTING, CompleteAbort(epoch=5)), SetReads(share=0)), StopSync())
    assert (resting.move, resting.stage) == (None, Stage.MONOLITH)


def test_a_kill_has_a_cutover_go_back_that_has_not_switched() -> None:
    """Whoever carries that on finds another epoch, and so is refused."""
    killed = transit(MOVING, Kill(reason="smoke"))
    assert killed.moving == Move(epoch=5, source=Stack.MONOLITH, phase=Phase.ABORTING)
    assert (killed.stage, killed.share, killed.killed) == (Stage.SHADOW, 0, "smoke")
    with pytest.raises(Refused, match="this wants the move of epoch 4 to be prepared"):
        transit(killed, SwitchOwner(epoch=4))
    assert transit(killed, CompleteAbort(epoch=5)).moving is None


@pytest.mark.parametrize("state", [SWITCHED, ABORTING, transit(MOVED, StartMove())])
def test_a_kill_latches_reads_and_leaves_any_other_move_under_way(state: State) -> None:
    killed = transit(state, Kill(reason="smoke"))
    assert (killed.move, killed.killed, killed.reads_leave_owner) == (state.move, "smoke", False)


def test_a_rollback_that_is_forced_has_the_monolith_own_and_the_copy_made_anew() -> None:
    barred = transit(BARRING, CompleteBar(epoch=7))
    assert [(each.stage, each.owner, each.share, each.data, each.move) for each in (FORCED, BARRING, barred)] == [
        (Stage.MONOLITH, Stack.MONOLITH, 0, Data.ABSENT, Move(epoch=7, source=Stack.SERVICE, phase=phase))
        for phase in (Phase.FORCED, Phase.BARRING, Phase.DONE)
    ]
    assert [each.moving is None for each in (FORCED, BARRING, barred)] == [False, True, True]
    assert transit(barred, StartSync()).stage is Stage.SYNCING


@pytest.mark.parametrize(
    "state", [MOVED, SWITCHED, transit(MOVED, StartMove()), transit(transit(MOVED, StartMove()), AbortMove(epoch=7))]
)
def test_a_rollback_is_forced_whatever_the_service_was_about_to_do(state: State) -> None:
    forced = transit(state, ForceMove())
    assert forced.moving == Move(epoch=state.epoch + 1, source=Stack.SERVICE, phase=Phase.FORCED)


def test_writes_are_refused_and_reads_are_with_whoever_can() -> None:
    stale = transit(transit(MOVED, Kill(reason="smoke")), RefuseWrites(reason="fire", readers=Stack.MONOLITH))
    assert (stale.share, stale.killed, stale.read_only, stale.reads_leave_owner) == (0, None, "fire", True)
    cleared = transit(stale, Clear())
    assert (cleared.share, cleared.read_only) == (WHOLE, None)
    back = transit(stale, StartMove())
    assert transit(back, SwitchOwner(epoch=back.epoch)).read_only is None


@pytest.mark.parametrize(("keep_copy", "data"), [(True, Data.STREAMED), (False, Data.ABSENT)])
def test_a_capability_is_retired_with_or_without_a_copy(keep_copy: bool, data: Data) -> None:
    retired = transit(MOVED, Retire(keep_copy=keep_copy))
    assert (retired.stage, retired.owner, retired.share, retired.data) == (Stage.RETIRED, Stack.SERVICE, WHOLE, data)


def test_the_copy_of_what_is_retired_may_end_later() -> None:
    ended = transit(transit(MOVED, Retire(keep_copy=True)), StopSync())
    assert (ended.stage, ended.owner, ended.data) == (Stage.RETIRED, Stack.SERVICE, Data.ABSENT)
