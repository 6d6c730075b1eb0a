"""How the ownership of writes moves: one pure state machine, for a cutover and, the other way, for a rollback.

Three things keep what must survive a crash, and each is changed by compare-and-set alone:

- The **ledger** holds the ``Move`` of the last transition. A step of the ledger names the epoch and the phase that
  it stands on, and is refused where the ledger stands elsewhere (``written``).
- Either **database** holds a claim: the highest epoch that may touch its fence and its watermark. A claim never
  falls. Every other statement there is refused unless the claim is its own epoch, compared in the transaction
  that does the work; so a conductor or an applier that was stopped and wakes later changes nothing, also two
  transitions later.

A conductor holds a ``Progress`` and nothing else. It performs ``at.step`` where ``PLACE`` says, tells ``advance`` how
that went, and goes on from what it gets back. Whatever it is not sure of, the ledger decides (``found``); whoever
starts anew asks the ledger, too (``resume``). So a crash needs no step of its own.

Why it is so. An abort is written in the ledger before anything is undone, and not once ownership has switched: of
a conductor that goes on and one that gives up, the ledger picks one. It then claims the source alone, since the
target may be what is dead: it was never unfenced. A transition is taken for one's own only where the ledger said so to
this conductor: of one that was found prepared nobody knows who else performs it, and it is aborted.

What the steps ask of who performs them:

- ``FENCE`` raises the fence and emits the marker of its epoch in one transaction, the marker after all locks are held.
- ``DRAIN`` is done when the target has applied and flushed the last marker of that epoch in the source's WAL. A fence
  that is raised twice emits two, with no write between them.
- ``PROVE`` sets sequences: in one transaction with a look at claim and fence, and refused where the target is unfenced.
  A statement of it may arrive when the target is written already, at the very same epoch.
- ``FAILED`` is said only of what certainly did not happen. All else that went wrong is ``UNKNOWN``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from strangler.capability import Move, Phase, Stack


class Step(StrEnum):
    """What a conductor does next."""

    PREPARE = "prepare"
    CLAIM_SOURCE = "claim source"
    CLAIM_TARGET = "claim target"
    HOLD = "hold"
    FENCE = "fence"
    DRAIN = "drain"
    PROVE = "prove"
    SWITCH = "switch"
    UNFENCE = "unfence"
    FINISH = "finish"
    ABORT = "abort"
    RECLAIM = "reclaim"
    LOWER = "lower"
    FINISH_ABORT = "finish abort"


class Place(StrEnum):
    """Where a step is performed: ``source`` and ``target`` are the databases of the owner and of who is to be it."""

    LEDGER = "ledger"
    SOURCE = "source"
    TARGET = "target"
    PROXY = "proxy"


class Outcome(StrEnum):
    """How performing a step went."""

    DONE = "done"
    FAILED = "failed"  # it certainly did not happen: a gate, a lock's timeout, a server that was never reached
    REFUSED = "refused"  # by compare-and-set: the ledger or the claim stands elsewhere
    UNKNOWN = "unknown"  # the answer was lost: it happened, or did not, or will


class End(StrEnum):
    """How it ended for one conductor."""

    MOVED = "moved"
    ABORTED = "aborted"
    OVERTAKEN = "overtaken"  # another conductor has taken the transition over, and what became of it is in the ledger
    REFUSED = "refused"  # it never began


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where one conductor stands: about to perform ``step``, or, ``unsure``, to read the ledger first."""

    epoch: int
    source: Stack
    step: Step
    unsure: bool = False

    def __post_init__(self) -> None:
        _guard_epoch(self.epoch)


def _guard_epoch(epoch: int) -> None:
    if epoch < 0:
        raise ValueError(f"epoch is {epoch}; it starts at 0 and rises")


LEDGER: Final[Mapping[Step, tuple[Phase | None, Phase]]] = MappingProxyType(
    {
        Step.PREPARE: (None, Phase.PREPARED),
        Step.SWITCH: (Phase.PREPARED, Phase.SWITCHED),
        Step.FINISH: (Phase.SWITCHED, Phase.DONE),
        Step.ABORT: (Phase.PREPARED, Phase.ABORTING),
        Step.FINISH_ABORT: (Phase.ABORTING, Phase.ABORTED),
    }
)
"""The steps of the ledger: the phase that each stands on (None: any that is settled), and the one that it writes."""

PLACE: Final[Mapping[Step, Place]] = MappingProxyType(
    {
        **dict.fromkeys(LEDGER, Place.LEDGER),
        **dict.fromkeys((Step.CLAIM_SOURCE, Step.FENCE, Step.RECLAIM, Step.LOWER), Place.SOURCE),
        **dict.fromkeys((Step.CLAIM_TARGET, Step.DRAIN, Step.PROVE, Step.UNFENCE), Place.TARGET),
        Step.HOLD: Place.PROXY,
    }
)

NEXT: Final[Mapping[Step, Step | End]] = MappingProxyType(
    {
        Step.PREPARE: Step.CLAIM_SOURCE,
        Step.CLAIM_SOURCE: Step.CLAIM_TARGET,
        Step.CLAIM_TARGET: Step.HOLD,
        Step.HOLD: Step.FENCE,
        Step.FENCE: Step.DRAIN,
        Step.DRAIN: Step.PROVE,
        Step.PROVE: Step.SWITCH,
        Step.SWITCH: Step.UNFENCE,
        Step.UNFENCE: Step.FINISH,
        Step.FINISH: End.MOVED,
        Step.ABORT: Step.RECLAIM,
        Step.RECLAIM: Step.LOWER,
        Step.LOWER: Step.FINISH_ABORT,
        Step.FINISH_ABORT: End.ABORTED,
    }
)
"""What follows when a step is done."""

FAILING: Final[Mapping[Step, Step | End]] = MappingProxyType(
    {
        Step.PREPARE: End.REFUSED,
        Step.CLAIM_SOURCE: Step.ABORT,
        Step.CLAIM_TARGET: Step.ABORT,
        Step.HOLD: Step.ABORT,
        Step.FENCE: Step.ABORT,
        Step.DRAIN: Step.ABORT,
        Step.PROVE: Step.ABORT,
        Step.SWITCH: Step.ABORT,
    }
)
"""What follows when a step failed. The others have no way back: they are performed until they are done."""

RESUMING: Final[Mapping[Phase, Step | End]] = MappingProxyType(
    {
        Phase.PREPARED: Step.ABORT,
        Phase.SWITCHED: Step.UNFENCE,
        Phase.ABORTING: Step.RECLAIM,
        Phase.DONE: End.MOVED,
        Phase.ABORTED: End.ABORTED,
        Phase.FORCED: End.OVERTAKEN,  # see forcing
        Phase.BARRING: End.OVERTAKEN,
    }
)
"""Where whoever finds a transition in this phase goes on."""

ABORTABLE: Final = frozenset(step for step, after in FAILING.items() if after is Step.ABORT)
"""The steps before the point of no return, at which a transition can still be given up."""

_AT_REST: Final = frozenset({Phase.DONE, Phase.ABORTED})

RAISING: Final = frozenset({Step.PREPARE, Step.ABORT})
"""The steps that raise the epoch, so that whoever acts on the one before is refused."""


def _phases() -> Iterator[tuple[Step, Phase | None]]:
    for first in (Step.PREPARE, Step.ABORT):
        step: Step | End = first
        phase = LEDGER[first][0]
        while isinstance(step, Step):
            yield step, phase
            phase = LEDGER[step][1] if step in LEDGER else phase
            step = NEXT[step]


DURING: Final[Mapping[Step, Phase | None]] = MappingProxyType(dict(_phases()))
"""The phase in which each step is performed (None: any that is settled)."""


def at_rest(*, owner: Stack, epoch: int) -> Move:
    """Return the record of a capability whose ownership was never moved."""
    return Move(epoch=epoch, source=owner, phase=Phase.ABORTED)


def begin(record: Move) -> Progress | End:
    """Return the start of a move away from the owner, or the refusal where another has not ended."""
    if record.phase not in _AT_REST:
        return End.REFUSED
    return Progress(epoch=record.epoch, source=record.owner, step=Step.PREPARE)


def resume(record: Move) -> Progress | End:
    """Return where whoever starts anew takes a transition up, or how it has ended."""
    return _to(RESUMING[record.phase], epoch=record.epoch, source=record.source)


def written(record: Move, at: Progress) -> Move | None:
    """Return what the ledger holds once it has written a step of its own, or None where it refuses."""
    if not _is_due(record, at):
        return None
    return Move(epoch=_epoch_after(at), source=at.source, phase=LEDGER[at.step][1])


def advance(at: Progress, outcome: Outcome) -> Progress | End:
    """Return where a conductor stands once ``at.step`` went so.

    What is lost or refused makes it unsure: it reads the ledger and goes on from what ``found`` returns. A step with
    no way back that failed is returned as it is, to be performed again.
    """
    match outcome:
        case Outcome.DONE:
            return _to(NEXT[at.step], epoch=_epoch_after(at), source=at.source)
        case Outcome.FAILED:
            return _to(FAILING.get(at.step, at.step), epoch=at.epoch, source=at.source)
        case Outcome.REFUSED | Outcome.UNKNOWN:
            return replace(at, unsure=True)


def found(at: Progress, record: Move) -> Progress | End:
    """Return where a conductor that was unsure stands, now that it has read the ledger."""
    if _is_due(record, at):
        return replace(at, unsure=False)
    if record.source is at.source and record.epoch in (at.epoch, _epoch_after(at)):
        return resume(record)
    return End.REFUSED if at.step is Step.PREPARE else End.OVERTAKEN


def _is_due(record: Move, at: Progress) -> bool:
    """Tell whether the ledger stands where ``at.step`` is to be performed."""
    phase = DURING[at.step]
    if phase is None:
        return record.epoch == at.epoch and record.phase in _AT_REST and record.owner is at.source
    return record.epoch == at.epoch and record.phase is phase and record.source is at.source


def _epoch_after(at: Progress) -> int:
    return at.epoch + (at.step in RAISING)


def _to(step: Step | End, *, epoch: int, source: Stack) -> Progress | End:
    return step if isinstance(step, End) else Progress(epoch=epoch, source=source, step=step)
