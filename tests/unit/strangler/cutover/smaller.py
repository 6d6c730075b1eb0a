"""How a world is told by its smallest likeness, so that moves of ownership can follow one another without end.

Each likeness keeps what can happen next. Epochs are compared with each other and with the next one alone: kept is
which are equal, which is higher, and which follow one another. Positions and writes are compared for being equal: what
both sides hold is forgotten. Neither side is special: the last move was always away from the monolith.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from strangler.capability import Stack
from tests.unit.strangler.cutover.world import OTHER, Batch, Side, World

_CLOSE: Final = 2


def common(world: World) -> int:
    """Return how many of the first writes both sides hold, as they were acknowledged."""
    left, right = world.sides[0].rows, world.sides[1].rows
    if not left or not right:
        return 0
    count = 0
    for number in range(1, world.acknowledged + 1):
        if left[count : count + 1] != (number,) or right[count : count + 1] != (number,):
            break
        count = number
    return count


def forgetting(world: World) -> World:
    """Return the world without the writes that both sides hold, the WAL that was applied, and markers that are over.

    A marker is over with its epoch: who waits for it is refused later, whatever it finds.
    """
    shared = common(world)
    left, right = world.sides
    if not shared and not left.applied and not right.applied and not _has_old_markers(world):
        return world
    oldest = world.told[0]
    sides = (_without_past(world, 0, shared), _without_past(world, 1, shared))
    batches = [
        Batch(target, expected - world.sides[target].applied, claim, _kept(entries, oldest, shared))
        for target, expected, claim, entries in world.batches
    ]
    return World(
        sides,
        world.told,
        world.acknowledged - shared,
        world.conductors,
        world.sent,
        tuple(sorted([batch for batch in batches if batch.entries])),
        world.spoiled,
    )


def _without_past(world: World, index: int, shared: int) -> Side:
    claim, fenced, rows, wal, _ = world.sides[index]
    pending = _kept(wal[world.sides[1 - index].applied :], world.told[0], shared)
    return Side(claim, fenced, tuple([number - shared for number in rows[shared:]]), pending, 0)


def _kept(entries: tuple[int, ...], oldest: int, shared: int) -> tuple[int, ...]:
    return tuple([entry - shared if entry > 0 else entry for entry in entries if entry > 0 or -entry >= oldest])


def _has_old_markers(world: World) -> bool:
    oldest = -world.told[0]
    return any(oldest < entry < 0 for side in world.sides for entry in side.wal)


def closer(world: World) -> World:
    """Return the world with its epochs moved together."""
    new = _renumbered(tuple(sorted(set(_epochs(world)))))
    if new is None:
        return world

    def moved(entries: tuple[int, ...]) -> tuple[int, ...]:
        return tuple([-new[-entry] if entry < 0 else entry for entry in entries])

    left, right = (
        Side(new[claim], fenced, rows, moved(wal), applied) for claim, fenced, rows, wal, applied in world.sides
    )
    epoch, source, phase = world.told
    return World(
        (left, right),
        (new[epoch], source, phase),
        world.acknowledged,
        tuple([(new[at[0]], *at[1:]) for at in world.conductors]),
        tuple([(new[at[0]], *at[1:]) for at in world.sent]),
        tuple([Batch(each.target, each.expected, new[each.claim], moved(each.entries)) for each in world.batches]),
        world.spoiled,
    )


def _epochs(world: World) -> Iterator[int]:
    yield world.told[0]
    for side in world.sides:
        yield side.claim
        yield from (-entry for entry in side.wal if entry < 0)
    for at in world.conductors:
        yield at[0]
    for statement in world.sent:
        yield statement[0]
    for batch in world.batches:
        yield batch.claim
        yield from (-entry for entry in batch.entries if entry < 0)


@cache
def _renumbered(epochs: tuple[int, ...]) -> dict[int, int] | None:
    """Return the new number of each epoch, the first 1 and the next at most two higher; None where all have theirs."""
    new: dict[int, int] = {}
    last = before = 0
    for epoch in epochs:
        last += min(epoch - before, _CLOSE) if new else 1
        new[epoch] = last
        before = epoch
    return None if all(epoch == number for epoch, number in new.items()) else new


def mirrored(world: World) -> World:
    """Return the world with the sides changed for each other where the last move was away from the service."""
    epoch, source, phase = world.told
    if source is Stack.MONOLITH:
        return world
    return World(
        (world.sides[1], world.sides[0]),
        (epoch, OTHER[source], phase),
        world.acknowledged,
        tuple(sorted([(at[0], OTHER[at[1]], at[2], at[3]) for at in world.conductors])),
        tuple(sorted([(at[0], OTHER[at[1]], at[2]) for at in world.sent])),
        tuple(sorted([Batch(1 - each.target, each.expected, each.claim, each.entries) for each in world.batches])),
        world.spoiled,
    )
