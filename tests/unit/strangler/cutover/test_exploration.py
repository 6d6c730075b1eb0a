"""Every world that can be reached keeps the promise, and whatever is taken out of the protocol breaks it.

``make explore`` walks further. What the page in ``docs/explanation/cutover.md`` tells of it is compared with it here.
"""

from __future__ import annotations

import random
from typing import Final

import pytest

from strangler.capability import Phase, Stack
from strangler.cutover.protocol import PLACE, Place, Step
from tests.unit.strangler.cutover.exploring import PROMISE, Broken, Explored, explore, lacking, small
from tests.unit.strangler.cutover.found import DEFENCE_IN_DEPTH, FOUND, STATES, WHOLE
from tests.unit.strangler.cutover.world import STATEMENTS, Fault, Nature, first

# What a walk does mostly, so that it comes far.
LIKELY: Final = frozenset({"starts", "performs", "looks", "arrives", "applies", "lands"})


@pytest.fixture(scope="module")
def whole() -> Explored:
    return explore(WHOLE)


@pytest.mark.slow
def test_the_protocol_keeps_its_promise_in_every_world(whole: Explored) -> None:
    assert whole.broken is None, "\n".join((whole.broken or "", *whole.story))
    assert whole.exhausted
    assert whole.states == STATES, "the exploration has another size: say so in found.py, ADR 0022 and the page"


@pytest.mark.slow
def test_the_exploration_comes_by_every_step_and_phase(whole: Explored) -> None:
    steps = {step for step in Step if PLACE[step] is not Place.PROXY}
    for unsure in (False, True):
        assert {at[2] for world in whole.seen for at in world.conductors if at[3] is unsure} == steps
    assert {sent[2] for world in whole.seen for sent in world.sent} == STATEMENTS
    # What is forced is walked by itself: see test_forcing.py.
    assert {world.told[2] for world in whole.seen} == set(Phase) - {Phase.FORCED, Phase.BARRING}
    # Who sleeps while others go on, and would not be refused at once. Two epochs stand for two and more.
    asleep = {at[2] for world in whole.seen for at in world.conductors if world.told[0] >= at[0] + 2}
    assert asleep >= {Step.CLAIM_TARGET, Step.DRAIN, Step.PROVE, Step.UNFENCE, Step.RECLAIM, Step.LOWER}


def test_the_smallest_likeness_of_a_world_can_do_what_the_world_can() -> None:
    """Walk worlds as they are, their epochs and rows growing: a step from there is one from the likeness, too."""
    nature, dice = Nature(WHOLE), random.Random(21)
    highest = 0
    for _ in range(25):
        world = first(dice.choice(list(Stack)))
        for _ in range(250):
            likeness = small(nature, world)
            ahead = {small(nature, after) for _, after in nature.moves(likeness, lacking(likeness))} | {likeness}
            ways = list(nature.moves(world, lacking(world)))
            for event, after in ways:
                assert small(nature, after) in ahead, (world, event)
            likely = [after for event, after in ways if event[0] in LIKELY]
            world = dice.choice(likely if likely and dice.random() < 0.8 else [after for _, after in ways])
        highest = max(highest, world.told[0])
    assert highest > 20, "no walk saw many transitions follow one another"


@pytest.mark.parametrize("fault", FOUND)
def test_a_planted_fault_is_found(fault: Fault) -> None:
    bounds, promised = FOUND[fault]
    assert explore(bounds, fault).broken is not None
    explored = explore(bounds, fault, looking_for=PROMISE if promised in PROMISE else frozenset(Broken))
    assert explored.broken is promised


@pytest.mark.parametrize("fault", DEFENCE_IN_DEPTH)
def test_what_is_defence_in_depth_breaks_nothing_by_itself(fault: Fault) -> None:
    explored = explore(DEFENCE_IN_DEPTH[fault], fault)
    assert explored.broken is None, "\n".join(explored.story)
    assert explored.exhausted


def test_every_fault_is_planted() -> None:
    assert FOUND.keys() | DEFENCE_IN_DEPTH.keys() == set(Fault)


def test_a_counterexample_is_told_step_by_step() -> None:
    bounds, _ = FOUND[Fault.NO_DRAIN]
    assert explore(bounds, Fault.NO_DRAIN, looking_for=PROMISE).story == (
        "a client writes 1 on monolith: acknowledged",
        "a conductor starts: epoch 1, away from monolith, at `prepare`",
        "the conductor of epoch 1, away from monolith, at `prepare`: done",
        "the conductor of epoch 2, away from monolith, at `claim source`: done",
        "the conductor of epoch 2, away from monolith, at `claim target`: done",
        "the conductor of epoch 2, away from monolith, at `fence`: done",
        "the conductor of epoch 2, away from monolith, at `drain`: done",
        "the conductor of epoch 2, away from monolith, at `prove`: done",
        "the conductor of epoch 2, away from monolith, at `switch`: done",
        "the conductor of epoch 2, away from monolith, at `unfence`: done",
        "  ledger: epoch 2, away from monolith, switched; acknowledged: 1",
        "  monolith: fenced, claim 2, holds 1",
        "  service: UNFENCED, claim 2, holds nothing",
    )
