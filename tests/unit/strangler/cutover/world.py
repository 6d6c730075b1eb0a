"""Everything that a move of ownership touches, small enough to try all that can happen to it.

Two databases, the ledger, conductors, and what is on its way between them. ``Nature.moves`` names each thing that can
happen next; the protocol itself is the toolkit's own, step for step. What is assumed of PostgreSQL, and to be shown
against a real one: a transaction is whole or not at all, raising a fence waits for writers under way, and a marker
stands in the WAL behind all that they committed. Nobody has to do anything: whoever does nothing more has crashed, and
whoever does something after long has slept. A message that comes twice is one that was taken for lost and comes late.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple, TypeVar

from strangler.capability import Move, Phase, Stack
from strangler.cutover.protocol import (
    PLACE,
    End,
    Outcome,
    Place,
    Progress,
    Step,
    advance,
    begin,
    found,
    resume,
    written,
)

SIDES: Final = (Stack.MONOLITH, Stack.SERVICE)
OTHER: Final = {stack: stack.other for stack in SIDES}
INDEX: Final = {stack: index for index, stack in enumerate(SIDES)}
CLAIMS: Final = frozenset({Step.CLAIM_SOURCE, Step.CLAIM_TARGET, Step.RECLAIM})
STATEMENTS: Final = frozenset(step for step in Step if PLACE[step] is not Place.PROXY) - {Step.DRAIN}
"""The steps that change something when they arrive late."""


class Fault(StrEnum):
    """What can be taken out of the protocol, to see that the exploration notices."""

    EARLY_UNFENCE = "the target is unfenced once it is proved, before the switch"
    ABORT_AFTER_SWITCH = "the ledger lets a transition be aborted that has switched"
    NO_EPOCH = "the databases do not compare epochs"
    UNCONDITIONAL_WATERMARK = "an applier does not compare the watermark"
    MARKER_BEFORE_LOCK = "the marker is emitted before the fence is raised"
    LOWER_BEFORE_LEDGER = "an abort lowers the fence before the ledger knows"
    NO_DRAIN = "nobody waits for the marker"
    NO_RECLAIM = "an abort does not claim the source"
    NO_TARGET_CLAIM = "the target is not claimed"
    LOST_IS_DONE = "an answer that was lost is taken for a yes"
    SWITCH_ANYHOW = "the ledger switches without a look at epoch and phase"
    PROVE_ANYHOW = "sequences are set without a look at the fence"
    APPLY_UNFENCED = "an applier does not look at the fence"
    APPLY_AT_ANY_EPOCH = "an applier does not compare epochs"


class Side(NamedTuple):
    """One database."""

    claim: int
    fenced: bool
    rows: tuple[int, ...]  # the writes that it holds, in the order in which they came
    wal: tuple[int, ...]  # the writes that it took itself, and its markers as negative epochs
    applied: int  # its watermark: how much of the other side's WAL it has applied


Told = tuple[int, Stack, Phase]  # what the ledger knows
At = tuple[int, Stack, Step, bool]  # where a conductor stands
Sent = tuple[int, Stack, Step]  # a statement that arrives whenever


class Batch(NamedTuple):
    """What an applier has read and not yet applied."""

    target: int
    expected: int
    claim: int
    entries: tuple[int, ...]


class World(NamedTuple):
    sides: tuple[Side, Side]
    told: Told
    acknowledged: int
    conductors: tuple[At, ...]
    sent: tuple[Sent, ...]
    batches: tuple[Batch, ...]
    spoiled: bool  # sequences were set on a side that is written


Event = tuple[str, Batch | At | Sent | Stack, Outcome | int | None]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much there may be at once: writes that one side lacks, conductors, late statements, batches under way."""

    writes: int
    conductors: int
    late: int
    batches: int


def record(told: Told) -> Move:
    return Move(epoch=told[0], source=told[1], phase=told[2])


def _progress(at: At) -> Progress:
    return Progress(epoch=at[0], source=at[1], step=at[2], unsure=at[3])


def _at(where: Progress | End) -> At | None:
    return None if isinstance(where, End) else (where.epoch, where.source, where.step, where.unsure)


@cache
def advanced(at: At, outcome: Outcome) -> At | None:
    return _at(advance(_progress(at), outcome))


@cache
def decided(at: At, told: Told) -> At | None:
    return _at(found(_progress(at), record(told)))


@cache
def fresh(told: Told) -> At | None:
    """Return where a conductor starts that knows nothing: it takes up what is there, or begins a move."""
    where = resume(record(told))
    return _at(begin(record(told)) if isinstance(where, End) else where)


@cache
def wrote(told: Told, sent: Sent) -> Told | None:
    after = written(record(told), _progress((*sent, False)))
    return None if after is None else (after.epoch, after.source, after.phase)


def first(owner: Stack) -> World:
    """Return the world before anything moved: the owner is written, the other side fenced."""
    left, right = (Side(claim=1, fenced=stack is not owner, rows=(), wal=(), applied=0) for stack in SIDES)
    return World((left, right), (1, owner, Phase.ABORTED), 0, (), (), (), False)


def unfenced(world: World) -> list[Stack]:
    return [stack for stack, side in zip(SIDES, world.sides, strict=True) if not side.fenced]


def _with_side(world: World, index: int, side: Side) -> World:
    sides = (side, world.sides[1]) if index == 0 else (world.sides[0], side)
    return World(sides, *world[1:])


def _with_conductors(world: World, others: tuple[At, ...], at: At | None) -> World:
    conductors = others if at is None else (*others, at)
    return World(world.sides, world.told, world.acknowledged, conductors, *world[4:])


def _without(items: tuple[Item, ...], item: Item) -> tuple[Item, ...]:
    index = items.index(item)
    return items[:index] + items[index + 1 :]


class Nature:
    """What can happen, within bounds, and with faults where some are planted."""

    def __init__(self, bounds: Bounds, *faults: Fault) -> None:
        self._bounds = bounds
        self._faults = frozenset(faults)
        self._has_epochs = Fault.NO_EPOCH not in faults
        self._claims_are_loose = bool({Fault.NO_RECLAIM, Fault.NO_TARGET_CLAIM} & self._faults)
        self._compares_watermark = Fault.UNCONDITIONAL_WATERMARK not in faults
        self._compares_applier = self._has_epochs and Fault.APPLY_AT_ANY_EPOCH not in faults

    def perform(self, world: World, sent: Sent) -> tuple[World, Outcome | None]:
        """Return the world after a step and how it went, None where it has to wait."""
        place = PLACE[sent[2]]
        if place is Place.LEDGER:
            return self._in_ledger(world, sent)
        if place is Place.PROXY:
            return self._in_proxy(world, sent)
        source = INDEX[sent[1]]
        return self._in_database(world, sent, source if place is Place.SOURCE else 1 - source)

    def _in_ledger(self, world: World, sent: Sent) -> tuple[World, Outcome]:
        epoch, source, step = sent
        told = wrote(world.told, sent)
        if step is Step.ABORT and Fault.LOWER_BEFORE_LEDGER in self._faults:
            side = world.sides[INDEX[source]]
            world = _with_side(world, INDEX[source], side._replace(fenced=side.fenced and side.claim != epoch))
        if step is Step.ABORT and Fault.ABORT_AFTER_SWITCH in self._faults:
            told = told or wrote((*world.told[:2], Phase.PREPARED), sent)
        if step is Step.SWITCH and Fault.SWITCH_ANYHOW in self._faults:
            told = (epoch, source, Phase.SWITCHED)
        if told is None:
            return world, Outcome.REFUSED
        return World(world.sides, told, *world[2:]), Outcome.DONE

    def _in_proxy(self, world: World, sent: Sent) -> tuple[World, Outcome]:
        epoch, source, step = sent
        if step is Step.HOLD and Fault.MARKER_BEFORE_LOCK in self._faults:
            side = world.sides[INDEX[source]]
            world = _with_side(world, INDEX[source], side._replace(wal=(*side.wal, -epoch)))
        return world, Outcome.DONE

    def _in_database(self, world: World, sent: Sent, index: int) -> tuple[World, Outcome | None]:
        epoch, _, step = sent
        claim, _, rows, wal, applied = world.sides[index]
        if step is Step.DRAIN:
            pending = world.sides[1 - index].wal[applied:]
            return world, Outcome.DONE if -epoch not in pending or Fault.NO_DRAIN in self._faults else None
        if step in CLAIMS:
            return self._claimed(world, sent, index)
        if self._is_refused(claim, epoch):
            return world, Outcome.REFUSED
        if step is Step.PROVE:
            return self._proved(world, index)
        if step is not Step.FENCE:
            return _with_side(world, index, Side(claim, False, rows, wal, applied)), Outcome.DONE
        # A marker right behind the same marker, neither applied yet, says nothing new.
        if wal[world.sides[1 - index].applied :][-1:] != (-epoch,) and Fault.MARKER_BEFORE_LOCK not in self._faults:
            wal = (*wal, -epoch)
        return _with_side(world, index, Side(claim, True, rows, wal, applied)), Outcome.DONE

    def _claimed(self, world: World, sent: Sent, index: int) -> tuple[World, Outcome]:
        epoch, _, step = sent
        left_out = {Step.RECLAIM: Fault.NO_RECLAIM, Step.CLAIM_TARGET: Fault.NO_TARGET_CLAIM}.get(step)
        if left_out in self._faults:
            return world, Outcome.DONE
        claim, fenced, rows, wal, applied = world.sides[index]
        if claim > epoch and self._has_epochs:
            return world, Outcome.REFUSED
        return _with_side(world, index, Side(epoch, fenced, rows, wal, applied)), Outcome.DONE

    def _is_refused(self, claim: int, epoch: int) -> bool:
        if self._claims_are_loose:
            return claim > epoch
        return claim != epoch and self._has_epochs

    def _proved(self, world: World, index: int) -> tuple[World, Outcome]:
        side = world.sides[index]
        if side.fenced:
            early = Fault.EARLY_UNFENCE in self._faults
            return (_with_side(world, index, side._replace(fenced=False)) if early else world), Outcome.DONE
        if Fault.PROVE_ANYHOW in self._faults:
            return world._replace(spoiled=True), Outcome.DONE
        return world, Outcome.REFUSED

    def moves(self, world: World, lacking: int) -> Iterator[tuple[Event, World]]:
        """Yield each thing that can happen, and the world after it, when one side lacks so many of the writes."""
        if lacking < self._bounds.writes:
            yield from self._writes(world)
        yield from self._streams(world)
        for sent in dict.fromkeys(world.sent):
            after, outcome = self.perform(world, sent)
            yield ("arrives", sent, outcome), after._replace(sent=_without(world.sent, sent))
        for at in dict.fromkeys(world.conductors):
            yield from self._conducts(world, at)
        at_first = fresh(world.told)
        if at_first is not None and len(world.conductors) < self._bounds.conductors:
            yield ("starts", at_first, None), _with_conductors(world, world.conductors, at_first)

    def _writes(self, world: World) -> Iterator[tuple[Event, World]]:
        number = world.acknowledged + 1
        for index, (claim, fenced, rows, wal, applied) in enumerate(world.sides):
            if not fenced:
                after = _with_side(world, index, Side(claim, fenced, (*rows, number), (*wal, number), applied))
                yield ("writes", SIDES[index], number), after._replace(acknowledged=number)

    def _streams(self, world: World) -> Iterator[tuple[Event, World]]:
        for index, side in enumerate(world.sides):
            pending = world.sides[1 - index].wal[side.applied :]
            for count in sorted({1, len(pending)}) if pending else ():
                batch = Batch(index, side.applied, side.claim, pending[:count])
                if count == 1 and (after := self.landed(world, batch)) is not None:
                    yield ("applies", batch, None), after
                if len(world.batches) < self._bounds.batches:
                    yield ("reads", batch, None), world._replace(batches=(*world.batches, batch))
        for batch in dict.fromkeys(world.batches):
            if (after := self.landed(world, batch)) is not None:
                yield ("lands", batch, None), after._replace(batches=_without(world.batches, batch))
            yield ("crashes", batch, None), world._replace(batches=_without(world.batches, batch))

    def landed(self, world: World, batch: Batch) -> World | None:
        """Return the world with a batch applied, None where it is refused."""
        claim, fenced, rows, wal, _ = world.sides[batch.target]
        if self._is_stale(world, batch) or not (fenced or Fault.APPLY_UNFENCED in self._faults):
            return None
        rows += tuple([entry for entry in batch.entries if entry > 0])
        return _with_side(world, batch.target, Side(claim, fenced, rows, wal, batch.expected + len(batch.entries)))

    def _is_stale(self, world: World, batch: Batch) -> bool:
        side = world.sides[batch.target]
        if batch.expected != side.applied and self._compares_watermark:
            return True
        return batch.claim != side.claim and self._compares_applier

    def _conducts(self, world: World, at: At) -> Iterator[tuple[Event, World]]:
        others = _without(world.conductors, at)
        yield ("crashes", at, None), _with_conductors(world, others, None)
        if at[3]:
            yield ("looks", at, None), _with_conductors(world, others, decided(at, world.told))
            return
        unsure = advanced(at, Outcome.DONE if Fault.LOST_IS_DONE in self._faults else Outcome.UNKNOWN)
        failed = advanced(at, Outcome.FAILED)
        if failed != at:
            yield ("performs", at, Outcome.FAILED), _with_conductors(world, others, failed)
        in_doubt = _with_conductors(world, others, unsure)
        yield ("is never heard", at, None), in_doubt
        if at[2] in STATEMENTS and len(world.sent) < self._bounds.late:
            yield ("is heard late", at, None), in_doubt._replace(sent=(*world.sent, at[:3]))
        after, outcome = self.perform(world, at[:3])
        if outcome is not None:
            yield ("performs", at, outcome), _with_conductors(after, others, advanced(at, outcome))
        if after is not world:
            yield ("hears no answer", at, outcome), _with_conductors(after, others, unsure)

    def tidy(self, world: World) -> World:
        """Return the world without what is refused for ever, and all that has no order in one order.

        A statement that is refused once is refused for ever: neither claims nor the ledger nor a watermark go back.
        So a conductor ends, whatever happens, where its next statement is refused and the ledger has no place for it,
        nor for one that gives up.
        """
        conductors = [self._past_proxy(at) for at in world.conductors]
        return World(
            world.sides,
            world.told,
            world.acknowledged,
            tuple(sorted([at for at in conductors if not self._is_over(world, at)])),
            tuple(sorted([each for each in world.sent if self.perform(world, each)[1] is not Outcome.REFUSED])),
            tuple(sorted([batch for batch in world.batches if not self._is_stale(world, batch)])),
            world.spoiled,
        )

    def _past_proxy(self, at: At) -> At:
        """Return where a conductor stands behind a step of the proxy: that touches nothing here, and fails alike."""
        if PLACE[at[2]] is not Place.PROXY or Fault.MARKER_BEFORE_LOCK in self._faults:
            return at
        after = advanced((*at[:3], False), Outcome.DONE)
        assert after is not None
        return (*after[:3], at[3])

    def _is_over(self, world: World, at: At) -> bool:
        if decided(at, world.told) is not None:
            return False
        if at[3]:
            return True
        failed = advanced(at, Outcome.FAILED)
        has_way_out = failed is not None and decided(failed, world.told) is not None
        return not has_way_out and self.perform(world, at[:3])[1] is Outcome.REFUSED

    @property
    def forgets(self) -> bool:
        """Whether what was applied can be forgotten: not where an applier may go back to it."""
        return self._compares_watermark
