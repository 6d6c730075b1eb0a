"""The vocabulary of a move: who answers reads, who owns writes, and every legal step between such states.

Traffic and data ownership are one state machine. A capability has one ``State``; a toggle is a ``Command`` that
``transit`` turns into the next state, or refuses. The table ``TRANSITIONS`` is the whole law: what is absent
from it is illegal, whatever the command carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

WHOLE: Final = 10_000
"""All readers, in basis points: the unit of a share."""


class Stack(StrEnum):
    """One of the two implementations."""

    MONOLITH = "monolith"
    SERVICE = "service"

    @property
    def other(self) -> Stack:
        return Stack.SERVICE if self is Stack.MONOLITH else Stack.MONOLITH


class Stage(StrEnum):
    """The human name of a state."""

    MONOLITH = "monolith"
    SYNCING = "syncing"
    SHADOW = "shadow"
    CANARY = "canary"
    SERVICE = "service"
    RETIRED = "retired"


_OF_THE_SERVICE: Final = frozenset({Stage.SERVICE, Stage.RETIRED})


class Data(StrEnum):
    """What the stack that is not the owner holds of the capability's rows."""

    NONE = "none"  # the capability has no tables: nothing to copy, nothing to be stale
    ABSENT = "absent"  # it has tables, and the other side holds no complete copy
    SNAPSHOT = "snapshot"  # a complete copy as of `data_at`, older by the minute


class Refused(Exception):
    """The step is not legal from this state. Nothing was changed; the message says what would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that routing and data ownership may depend on, for one capability.

    ``share`` is the part of read traffic that the service answers, in basis points (0 to 10,000). ``cohorts``
    maps the name of a cohort to the stack that its readers go to. ``killed`` holds the reason while latched.
    """

    epoch: int = 0
    stage: Stage = Stage.MONOLITH
    owner: Stack = Stack.MONOLITH
    share: int = 0
    cohorts: Mapping[str, Stack] = field(default_factory=dict)
    killed: str | None = None
    data: Data = Data.ABSENT
    data_at: datetime | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share <= WHOLE:
            raise ValueError(f"share is {self.share} basis points; it lies between 0 and {WHOLE}")
        if self.epoch < 0:
            raise ValueError(f"epoch is {self.epoch}; it starts at 0 and rises")
        if (self.data is Data.SNAPSHOT) != (self.data_at is not None):
            raise ValueError(f"data is {self.data} and data_at is {self.data_at}; a snapshot has a time")
        if self.data_at is not None and self.data_at.tzinfo is None:
            raise ValueError("data_at has no time zone")
        if self.killed is not None and self.reads_leave_owner:
            raise ValueError("killed, and yet reads leave the owner")
        if (self.stage in _OF_THE_SERVICE) != (self.owner is Stack.SERVICE):
            raise ValueError(f"stage is {self.stage}, and yet the owner is the {self.owner}")
        object.__setattr__(self, "cohorts", MappingProxyType(dict(sorted(self.cohorts.items()))))

    @property
    def reads_leave_owner(self) -> bool:
        """Whether any reader can be answered by the stack that does not own the data."""
        elsewhere = self.share if self.owner is Stack.MONOLITH else WHOLE - self.share
        return elsewhere > 0 or any(stack is not self.owner for stack in self.cohorts.values())


BORN: Final = State(stage=Stage.SERVICE, owner=Stack.SERVICE, share=WHOLE)
"""The first state of a capability that was born in its service: the monolith never held any of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReads:
    """Change the share, cohorts, or both. ``share`` None keeps it; a cohort set to None is taken out."""

    share: int | None = None
    cohorts: Mapping[str, Stack | None] = field(default_factory=dict)
    allow_stale: bool = False

    def __post_init__(self) -> None:
        if self.share is not None and not 0 <= self.share <= WHOLE:
            raise ValueError(f"share is {self.share} basis points; it lies between 0 and {WHOLE}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Send every read to the owner and latch it there, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """Take the latch of a kill off. Reads stay at 0 until they are set again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshot:
    """Record that the service now holds a complete copy of the rows as of ``at``."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardCopy:
    """Record that the service's copy is not to be read any more: it is about to be made anew."""


Command = SetReads | Kill | Clear | TakeSnapshot | DiscardCopy

TRANSITIONS: Final[Mapping[tuple[Stage, type[Command]], frozenset[Stage]]] = MappingProxyType(
    {
        (Stage.MONOLITH, SetReads): frozenset({Stage.MONOLITH, Stage.CANARY}),
        (Stage.CANARY, SetReads): frozenset({Stage.CANARY, Stage.MONOLITH}),
        (Stage.MONOLITH, Kill): frozenset({Stage.MONOLITH}),
        (Stage.CANARY, Kill): frozenset({Stage.MONOLITH}),
        (Stage.MONOLITH, Clear): frozenset({Stage.MONOLITH}),
        (Stage.MONOLITH, TakeSnapshot): frozenset({Stage.MONOLITH}),
        (Stage.MONOLITH, DiscardCopy): frozenset({Stage.MONOLITH}),
    }
)


def transit(state: State, command: Command) -> State:
    """Return the state after ``command``, one epoch higher.

    Raises ``Refused`` when the step is not in ``TRANSITIONS`` or its guard does not hold.
    """
    allowed = TRANSITIONS.get((state.stage, type(command)))
    if allowed is None:
        why = "" if state.owner is Stack.MONOLITH else "; its service owns the data and answers every read"
        raise Refused(_ILLEGAL[type(command)].format(stage=state.stage) + why)
    after = _apply(state, command)
    if after.stage not in allowed:
        raise Refused(f"there is no step from stage {state.stage} to {after.stage} this way")
    return replace(after, epoch=state.epoch + 1)


_ILLEGAL: Final[Mapping[type[Command], str]] = MappingProxyType(
    {
        SetReads: "reads cannot be set in stage {stage}",
        Kill: "there is nothing to kill in stage {stage}",
        Clear: "there is no kill to clear in stage {stage}",
        TakeSnapshot: "in stage {stage} readers would see the copy change; set reads to 0 first, and cohorts off",
        DiscardCopy: "in stage {stage} readers would lose the copy; set reads to 0 first, and cohorts off",
    }
)


def _apply(state: State, command: Command) -> State:
    match command:
        case SetReads():
            return _set_reads(state, command)
        case Kill(reason=reason):
            return _kill(state, reason)
        case Clear():
            return _clear(state)
        case TakeSnapshot(at=at):
            return _copied(state, Data.SNAPSHOT, at)
        case DiscardCopy():
            return _copied(state, Data.ABSENT, None)


def _set_reads(state: State, command: SetReads) -> State:
    if state.killed is not None:
        raise Refused(f"it is killed ({state.killed}); clear that first, with a reason")
    cohorts = {**state.cohorts, **command.cohorts}
    after = replace(
        state,
        share=state.share if command.share is None else command.share,
        cohorts={name: stack for name, stack in cohorts.items() if stack is not None},
    )
    _guard_data(after, allow_stale=command.allow_stale)
    return replace(after, stage=Stage.CANARY if after.reads_leave_owner else Stage.MONOLITH)


def _guard_data(after: State, *, allow_stale: bool) -> None:
    if not after.reads_leave_owner:
        return
    if after.data is Data.ABSENT:
        raise Refused("the service holds no copy of its tables yet; run the backfill first")
    if after.data is Data.SNAPSHOT and not allow_stale:
        raise Refused(
            f"the service holds a snapshot of {after.data_at:%Y-%m-%d %H:%M:%S %Z}, and readers would not see "
            "later writes; say --allow-stale if they may"
        )


def _kill(state: State, reason: str) -> State:
    if not reason.strip():
        raise Refused("a kill wants a reason")
    return replace(state, stage=Stage.MONOLITH, share=0, cohorts={}, killed=reason)


def _clear(state: State) -> State:
    if state.killed is None:
        raise Refused("it is not killed")
    return replace(state, killed=None)


def _copied(state: State, data: Data, at: datetime | None) -> State:
    if state.data is Data.NONE:
        raise Refused("it has no tables as published; publish its mapping first if it has one")
    return replace(state, data=data, data_at=at)
