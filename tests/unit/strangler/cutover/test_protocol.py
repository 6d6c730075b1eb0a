"""The rules of the machine one by one; what they add up to is explored in ``test_exploration.py``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Final

import pytest

from strangler.capability import Move, Phase, Stack
from strangler.cutover.protocol import (
    ABORTABLE,
    DURING,
    LEDGER,
    NEXT,
    PLACE,
    End,
    Outcome,
    Place,
    Progress,
    Step,
    advance,
    at_rest,
    begin,
    found,
    resume,
    written,
)

MONOLITH: Final = Stack.MONOLITH
EPOCHS: Final = range(1, 5)
EVERY_RECORD: Final = [
    Move(epoch=epoch, source=source, phase=phase) for epoch, source, phase in product(EPOCHS, Stack, Phase)
]
EVERY_PROGRESS: Final = [
    Progress(epoch=epoch, source=source, step=step, unsure=unsure)
    for epoch, source, step, unsure in product(EPOCHS, Stack, Step, (False, True))
]


def at(step: Step, *, epoch: int = 2, unsure: bool = False) -> Progress:
    return Progress(epoch=epoch, source=MONOLITH, step=step, unsure=unsure)


def record(phase: Phase, *, epoch: int = 2, source: Stack = MONOLITH) -> Move:
    return Move(epoch=epoch, source=source, phase=phase)


def walk(start: Progress | End) -> Iterator[str]:
    """Yield each step with its epoch when all of them are done, and the end."""
    while isinstance(start, Progress):
        yield f"{start.epoch} {start.step}"
        start = advance(start, Outcome.DONE)
    yield start


def test_a_cutover_goes_through_its_steps_one_epoch_higher() -> None:
    assert list(walk(begin(at_rest(owner=MONOLITH, epoch=1)))) == [
        "1 prepare",
        "2 claim source",
        "2 claim target",
        "2 hold",
        "2 fence",
        "2 drain",
        "2 prove",
        "2 switch",
        "2 unfence",
        "2 finish",
        "moved",
    ]


def test_an_abort_asks_the_ledger_first_and_needs_the_source_alone() -> None:
    start = advance(at(Step.FENCE), Outcome.FAILED)
    assert list(walk(start)) == ["2 abort", "3 reclaim", "3 lower", "3 finish abort", "aborted"]
    steps = [Step(name.partition(" ")[2]) for name in list(walk(start))[:-1]]
    assert {PLACE[step] for step in steps} == {Place.LEDGER, Place.SOURCE}


def test_a_rollback_is_a_cutover_away_from_the_service() -> None:
    start = begin(record(Phase.DONE))
    assert start == Progress(epoch=2, source=Stack.SERVICE, step=Step.PREPARE)


@pytest.mark.parametrize("phase", [Phase.PREPARED, Phase.SWITCHED, Phase.ABORTING, Phase.FORCED, Phase.BARRING])
def test_nothing_begins_while_a_transition_is_not_settled(phase: Phase) -> None:
    assert begin(record(phase)) is End.REFUSED


def test_whoever_starts_anew_aborts_what_is_prepared_and_carries_on_with_the_rest() -> None:
    assert {phase: resume(record(phase)) for phase in Phase} == {
        Phase.PREPARED: at(Step.ABORT),
        Phase.SWITCHED: at(Step.UNFENCE),
        Phase.ABORTING: at(Step.RECLAIM),
        Phase.DONE: End.MOVED,
        Phase.ABORTED: End.ABORTED,
        Phase.FORCED: End.OVERTAKEN,
        Phase.BARRING: End.OVERTAKEN,
    }


@pytest.mark.parametrize("step", Step)
def test_what_failed_is_aborted_before_the_switch_and_tried_again_behind_it(step: Step) -> None:
    after = advance(at(step), Outcome.FAILED)
    if step is Step.PREPARE:
        assert after is End.REFUSED
    else:
        assert after == (at(Step.ABORT) if step in ABORTABLE else at(step))


def test_no_step_behind_the_switch_can_be_aborted() -> None:
    assert {step for step, phase in DURING.items() if phase is Phase.PREPARED} - {Step.ABORT} == ABORTABLE


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UNKNOWN])
@pytest.mark.parametrize("step", Step)
def test_what_was_refused_or_lost_is_asked_of_the_ledger(step: Step, outcome: Outcome) -> None:
    assert advance(at(step), outcome) == at(step, unsure=True)


@pytest.mark.parametrize("step", Step)
def test_a_step_that_the_ledger_still_waits_for_is_performed_again(step: Step) -> None:
    phase = DURING[step] or Phase.ABORTED
    assert found(at(step, unsure=True), record(phase)) == at(step)


def test_a_switch_whose_answer_was_lost_is_what_the_ledger_says() -> None:
    lost = at(Step.SWITCH, unsure=True)
    assert found(lost, record(Phase.SWITCHED)) == at(Step.UNFENCE)
    assert found(lost, record(Phase.PREPARED)) == at(Step.SWITCH)
    assert found(lost, record(Phase.ABORTING, epoch=3)) is End.OVERTAKEN


def test_an_abort_that_came_too_late_carries_on_with_what_has_switched() -> None:
    assert found(at(Step.ABORT, unsure=True), record(Phase.SWITCHED)) == at(Step.UNFENCE)


def test_a_transition_that_may_be_anothers_is_aborted() -> None:
    lost = at(Step.PREPARE, epoch=1, unsure=True)
    assert found(lost, record(Phase.PREPARED)) == at(Step.ABORT)
    assert found(lost, record(Phase.PREPARED, epoch=3)) is End.REFUSED


def test_the_ledger_writes_only_what_stands_on_its_epoch_and_phase_and_never_goes_back() -> None:
    order = [None, Phase.PREPARED, Phase.SWITCHED, Phase.ABORTING, Phase.DONE, Phase.ABORTED]
    for before, progress in product(EVERY_RECORD, [each for each in EVERY_PROGRESS if each.step in LEDGER]):
        after = written(before, progress)
        if after is None:
            continue
        assert before.phase not in (Phase.FORCED, Phase.BARRING), "what is forced goes on by itself"
        assert before.epoch == progress.epoch
        assert (after.epoch, order.index(after.phase)) > (before.epoch, order.index(before.phase))
        assert LEDGER[progress.step] == (None if before.phase.is_settled else before.phase, after.phase)


def test_ownership_moves_with_the_switch_and_nothing_else() -> None:
    for before, progress in product(EVERY_RECORD, [each for each in EVERY_PROGRESS if each.step in LEDGER]):
        after = written(before, progress)
        if after is not None:
            assert (after.owner is not before.owner) == (progress.step is Step.SWITCH)


def test_neither_side_is_special() -> None:
    """What is explored away from the monolith is thereby explored away from the service."""
    for progress in EVERY_PROGRESS:
        mirrored = replace(progress, source=progress.source.other)
        for outcome in Outcome:
            assert advance(mirrored, outcome) == _mirrored(advance(progress, outcome))
        for each in EVERY_RECORD:
            other = replace(each, source=each.source.other)
            assert found(mirrored, other) == _mirrored(found(progress, each))
            if progress.step in LEDGER:
                assert written(other, mirrored) == _mirrored(written(each, progress))
    for each in EVERY_RECORD:
        other = replace(each, source=each.source.other)
        assert (begin(other), resume(other)) == (_mirrored(begin(each)), _mirrored(resume(each)))


def _mirrored(value: Progress | Move | End | None) -> Progress | Move | End | None:
    if isinstance(value, Progress | Move):
        return replace(value, source=value.source.other)
    return value


def test_every_step_has_its_place_its_phase_and_what_follows() -> None:
    assert set(PLACE) == set(DURING) == set(NEXT) == set(Step)


def test_an_epoch_below_zero_is_no_epoch() -> None:
    with pytest.raises(ValueError, match="epoch is -1; it starts at 0 and rises"):
        record(Phase.DONE, epoch=-1)
    with pytest.raises(ValueError, match="epoch is -1; it starts at 0 and rises"):
        at(Step.PREPARE, epoch=-1)
