"""Walks every world that can be reached, and tells how one got there that must not be.

Breadth first, so that what it tells is the shortest way. Beside what must hold in each world, it tries from each
whether whoever is left alone, with everything answering, brings the transition to its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from strangler.capability import Phase, Stack
from strangler.cutover.protocol import Outcome, Step
from tests.unit.strangler.cutover.smaller import closer, common, forgetting, mirrored
from tests.unit.strangler.cutover.world import (
    INDEX,
    SIDES,
    At,
    Batch,
    Bounds,
    Event,
    Fault,
    Nature,
    World,
    advanced,
    decided,
    first,
    fresh,
    record,
    unfenced,
)

# A conductor alone takes 11 steps at most, each with one look at the ledger.
ENDLESS: Final = 30


class Broken(StrEnum):
    """What must never be."""

    TWO_WRITERS = "both sides can be written"
    LOST = "a side can be written that does not hold what was acknowledged, whole, once and in order"
    NOT_OWNER = "a side can be written that is not the owner"
    NOBODY = "the transition has ended, and nobody can write"
    SPOILED = "sequences were set on a side that can be written"
    ENDLESS = "a conductor left alone does not end"
    NO_WAY_ON = "a conductor that starts anew does not bring it to its end"
    NO_NEXT = "ownership cannot be moved any more"


PROMISE: Final = frozenset({Broken.TWO_WRITERS, Broken.LOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What a walk found. ``exhausted`` unless it ended early, at what is broken or at its limit."""

    states: int
    depth: int
    exhausted: bool
    broken: Broken | None = None
    story: tuple[str, ...] = ()
    seen: frozenset[World] = field(default=frozenset(), repr=False)


def small(nature: Nature, world: World) -> World:
    """Return the smallest likeness of a world."""
    world = nature.tidy(world)
    return mirrored(closer(forgetting(world) if nature.forgets else world))


def lacking(world: World) -> int:
    return world.acknowledged - common(world)


def explore(
    bounds: Bounds, *faults: Fault, looking_for: frozenset[Broken] = frozenset(Broken), limit: int | None = None
) -> Explored:
    """Walk all worlds, or until one of what is looked for is broken, or past ``limit`` of them."""
    nature = Nature(bounds, *faults)
    alone = Alone(nature)
    start = small(nature, first(Stack.MONOLITH))
    came_from: dict[World, World | None] = {start: None}
    front, depth = [start], 0
    while front and (limit is None or len(came_from) <= limit):
        ahead: list[World] = []
        for world in front:
            for _, raw in nature.moves(world, lacking(world)):
                after = small(nature, raw)
                if after in came_from:
                    continue
                came_from[after] = world
                ahead.append(after)
                for broken in (*_broken(after), *alone.broken(after)):
                    if broken in looking_for:
                        story = tuple(_story(nature, came_from, after))
                        return Explored(
                            states=len(came_from), depth=depth + 1, exhausted=False, broken=broken, story=story
                        )
        front, depth = ahead, depth + 1
    return Explored(states=len(came_from), depth=depth, exhausted=not front, seen=frozenset(came_from))


def _broken(world: World) -> Iterator[Broken]:
    written, owner = unfenced(world), record(world.told).owner
    if len(written) > 1:
        yield Broken.TWO_WRITERS
    if any(world.sides[INDEX[stack]].rows != tuple(range(1, world.acknowledged + 1)) for stack in written):
        yield Broken.LOST
    if any(stack is not owner for stack in written):
        yield Broken.NOT_OWNER
    if world.told[2].is_settled and not written:
        yield Broken.NOBODY
    if world.spoiled:
        yield Broken.SPOILED


class Alone:
    """Whether one conductor, with all others asleep and everything answering, comes to an end, and to the right one."""

    def __init__(self, nature: Nature) -> None:
        self._nature = nature
        self._ended: dict[tuple[object, ...], World | None] = {}
        self._went_on: dict[tuple[object, ...], Broken | None] = {}

    def broken(self, world: World) -> Iterator[Broken]:
        if any(self._end(world, at) is None for at in world.conductors):
            yield Broken.ENDLESS
        if (broken := self._after_start(world)) is not None:
            yield broken

    def _after_start(self, world: World) -> Broken | None:
        key = (world.sides, world.told, world.acknowledged)
        if key not in self._went_on:
            self._went_on[key] = self._start(world)
        return self._went_on[key]

    def _start(self, world: World) -> Broken | None:
        settled = world if world.told[2].is_settled else self._end(world, fresh(world.told))
        if settled is None or not _is_at_rest(settled):
            return Broken.NO_WAY_ON
        moved = self._end(settled, fresh(settled.told))
        if moved is None or not _is_at_rest(moved) or moved.told[2] is not Phase.DONE:
            return Broken.NO_NEXT
        return None

    def _end(self, world: World, at: At | None) -> World | None:
        key = (world.sides, world.told, world.acknowledged, at)
        if key not in self._ended:
            self._ended[key] = self._run(world, at)
        return self._ended[key]

    def _run(self, world: World, at: At | None) -> World | None:
        for _ in range(ENDLESS):
            if at is None:
                return world
            if at[3]:
                at = decided(at, world.told)
                continue
            if at[2] is Step.DRAIN:
                world = self._streamed(world, 1 - INDEX[at[1]])
            world, outcome = self._nature.perform(world, at[:3])
            if outcome is None:
                return None
            at = advanced(at, outcome)
        return None

    def _streamed(self, world: World, target: int) -> World:
        side = world.sides[target]
        pending = world.sides[1 - target].wal[side.applied :]
        return self._nature.landed(world, Batch(target, side.applied, side.claim, pending)) or world


def _is_at_rest(world: World) -> bool:
    return world.told[2].is_settled and not [broken for broken in _broken(world) if broken is not Broken.SPOILED]


def _story(nature: Nature, came_from: dict[World, World | None], end: World) -> Iterator[str]:
    """Tell the way to a world in the numbers that it had on the way, not in the smallest."""
    way, world = [end], came_from[end]
    while world is not None:
        way.append(world)
        world = came_from[world]
    raw = first(Stack.MONOLITH)
    for likeness in way[-2::-1]:
        event, raw = next(
            (event, after)
            for event, after in nature.moves(nature.tidy(raw), lacking(raw))
            if small(nature, after) == likeness
        )
        yield told(event)
    yield f"  ledger: epoch {raw.told[0]}, away from {raw.told[1]}, {raw.told[2]}; acknowledged: {raw.acknowledged}"
    for stack, side in zip(SIDES, raw.sides, strict=True):
        rows = " ".join(map(str, side.rows)) or "nothing"
        yield f"  {stack}: {'fenced' if side.fenced else 'UNFENCED'}, claim {side.claim}, holds {rows}"


def told(event: Event) -> str:
    """Put an event in words."""
    what, who, how = event
    if isinstance(who, Batch):
        return (
            f"an applier to {SIDES[who.target]}, claim {who.claim}, {what}: {len(who.entries)} of the other side's WAL"
        )
    if isinstance(who, Stack):
        return f"a client {what} {how} on {who}: acknowledged"
    epoch, source, step = who[:3]
    if what == "arrives":
        return f"a late `{step}` of epoch {epoch}, away from {source}, arrives: {how}"
    name = f"the conductor of epoch {epoch}, away from {source}, at `{step}`"
    match what:
        case "starts":
            return f"a conductor starts: epoch {epoch}, away from {source}, at `{step}`"
        case "performs":
            return f"{name}: {how}"
        case "hears no answer" if isinstance(how, Outcome):
            return f"{name}: {how}, and its answer is lost"
        case "is never heard":
            return f"{name}: lost on the way"
        case "is heard late":
            return f"{name}: under way, and given up as lost"
        case "looks":
            return f"{name}: reads the ledger"
    return f"{name}: {what}"
