"""A rollback that is forced, from every point of a move: what it adds to the protocol is walked by itself.

The service may be dead at any moment: then nothing is done there, and it returns as it was. So there is no step of
dying; each step at the service may come late, or never. What a move has under way goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

import pytest

from strangler.capability import Phase, Stack
from tests.unit.strangler.cutover.exploring import lacking
from tests.unit.strangler.cutover.world import INDEX, Batch, Bounds, Nature, World, first, record, unfenced

HERE: Final = INDEX[Stack.MONOLITH]
THERE: Final = INDEX[Stack.SERVICE]
BOUNDS: Final = Bounds(writes=1, conductors=1, late=1, batches=0)
LAST_EPOCH: Final = 2
"""No move begins from here on: one, with its abort, goes before what is forced, and is under way meanwhile."""


LONGEST: Final = 2
"""So much there is in a WAL: a fence that is raised again and again writes another marker each time."""


class Fault(StrEnum):
    """What can be left out."""

    NO_TAKE = "the monolith is not claimed"
    NO_CLAIM_AT_RETURN = "the service is fenced when it returns, and not claimed"
    STREAM_GOES_ON = "the stream into the monolith goes on"
    OPEN_FIRST = "the monolith is opened before the ledger knows"


class Broken(StrEnum):
    TWO_WRITERS = "both sides can be written, and not because the service has returned and is not barred yet"
    NOBODY = "it is over, and nobody can write"
    APPLIED = "the monolith holds what the service took after it was left"


class Forced(NamedTuple):
    """A world, and what became of forcing in it.

    ``knew`` is how many writes there were when the stream had ended. ``barred``: the service was claimed and fenced.
    """

    world: World
    epoch: int = 0
    taken: bool = False
    knew: int = 0
    barred: bool = False


def phase(at: Forced) -> Phase:
    return at.world.told[2]


class Forcing:
    """What can happen, beside what can in any case."""

    def __init__(self, *faults: Fault) -> None:
        self._nature, self._faults = Nature(BOUNDS), frozenset(faults)

    def moves(self, at: Forced) -> Iterator[tuple[str, Forced]]:
        for (what, who, how), after in self._nature.moves(at.world, lacking(at.world) if not at.epoch else 0):
            if self._happens(at, what, who) and all(len(side.wal) <= LONGEST for side in after.sides):
                yield f"{what} {who} {how}", at._replace(world=self._nature.tidy(after))
        if at.epoch:
            yield from self._goes_on(at)
        elif record(at.world.told).owner is Stack.SERVICE:
            told = (at.world.told[0] + 1, Stack.SERVICE, Phase.FORCED)
            yield "forced", Forced(self._nature.tidy(at.world._replace(told=told)), told[0])
            if Fault.OPEN_FIRST in self._faults:
                yield "opened first", at._replace(world=_changed(at.world, HERE, fenced=False))

    def _happens(self, at: Forced, what: str, who: object) -> bool:
        if what == "starts":
            return not at.epoch and at.world.told[0] < LAST_EPOCH
        if what == "writes":
            return at.world.acknowledged < 2
        if Fault.STREAM_GOES_ON in self._faults:
            return True
        into_the_monolith = isinstance(who, Batch) and who.target == HERE
        return not (at.taken and into_the_monolith and what in ("reads", "applies"))

    def _goes_on(self, at: Forced) -> Iterator[tuple[str, Forced]]:
        here, there = at.world.sides
        if phase(at) is Phase.FORCED and here.claim <= at.epoch and not at.taken:
            claim = here.claim if Fault.NO_TAKE in self._faults else at.epoch
            yield (
                "taken",
                at._replace(world=_changed(at.world, HERE, claim=claim), taken=True, knew=at.world.acknowledged),
            )
        if at.taken and (here.claim == at.epoch or Fault.NO_TAKE in self._faults):
            yield "opened", at._replace(world=_changed(at.world, HERE, fenced=False))
            if phase(at) is Phase.FORCED and not here.fenced:
                yield "complete", self._told(at, Phase.BARRING)
        if phase(at) in (Phase.FORCED, Phase.BARRING):
            yield from self._bars(at)
        if phase(at) is Phase.BARRING and there.fenced and self._is_claimed(at):
            yield "over", self._told(at, Phase.DONE)

    def _bars(self, at: Forced) -> Iterator[tuple[str, Forced]]:
        if Fault.NO_CLAIM_AT_RETURN not in self._faults and at.world.sides[THERE].claim < at.epoch:
            yield "the service is claimed", at._replace(world=_changed(at.world, THERE, claim=at.epoch))
        elif self._is_claimed(at):
            yield "the service is fenced", at._replace(world=_changed(at.world, THERE, fenced=True), barred=True)

    def _is_claimed(self, at: Forced) -> bool:
        return at.world.sides[THERE].claim == at.epoch or Fault.NO_CLAIM_AT_RETURN in self._faults

    def _told(self, at: Forced, to: Phase) -> Forced:
        return at._replace(world=self._nature.tidy(at.world._replace(told=(*at.world.told[:2], to))))


def _changed(world: World, index: int, **what: int | bool) -> World:
    side = world.sides[index]._replace(**what)  # type: ignore[arg-type]
    sides = (side, world.sides[1]) if index == 0 else (world.sides[0], side)
    return world._replace(sides=sides)


def broken(at: Forced) -> Broken | None:
    here = at.world.sides[HERE]
    may_return = at.epoch and phase(at) in (Phase.FORCED, Phase.BARRING) and not at.barred
    if len(unfenced(at.world)) > 1 and not may_return:
        return Broken.TWO_WRITERS
    if at.epoch and phase(at) in (Phase.BARRING, Phase.DONE) and here.fenced:
        return Broken.NOBODY
    if at.taken and not set(here.rows) <= {*range(1, at.knew + 1), *here.wal}:
        return Broken.APPLIED
    return None


def explore(*faults: Fault, limit: int = 400_000) -> tuple[int, set[Phase], Broken | None, tuple[str, ...]]:
    """Walk all that can be reached; return how many worlds, the phases seen, and what broke with the way there."""
    forcing = Forcing(*faults)
    came_from: dict[Forced, tuple[Forced, str] | None] = {Forced(first(stack)): None for stack in Stack}
    front = list(came_from)
    while front:
        ahead = []
        for at in front:
            for event, after in forcing.moves(at):
                if after in came_from:
                    continue
                came_from[after] = at, event
                ahead.append(after)
                if (found := broken(after)) is not None:
                    return len(came_from), set(), found, _story(came_from, after)
        front = ahead
        assert len(came_from) < limit, "the walk has no end"
    return len(came_from), {phase(at) for at in came_from if at.epoch}, None, ()


def _story(came_from: dict[Forced, tuple[Forced, str] | None], end: Forced) -> tuple[str, ...]:
    way: list[str] = []
    step = came_from[end]
    while step is not None:
        way.append(step[1])
        step = came_from[step[0]]
    return tuple(reversed(way))


def test_never_are_both_sides_open_but_for_a_service_that_is_not_barred_yet() -> None:
    worlds, phases, found, story = explore()
    assert found is None, "\n".join((found or "", *story))
    assert phases == {Phase.FORCED, Phase.BARRING, Phase.DONE}
    assert worlds > 10_000, "the walk has shrunk"


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (Fault.NO_TAKE, Broken.NOBODY),
        (Fault.NO_CLAIM_AT_RETURN, Broken.TWO_WRITERS),
        (Fault.STREAM_GOES_ON, Broken.APPLIED),
        (Fault.OPEN_FIRST, Broken.TWO_WRITERS),
    ],
)
def test_what_is_left_out_is_found(fault: Fault, what: Broken) -> None:
    assert explore(fault)[2] is what
