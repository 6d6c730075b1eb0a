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


class Data(StrEnum):
    """What the stack that is not the owner holds of the capability's rows."""

    NONE = "none"  # the capability has no tables: nothing to copy, nothing to be stale
    ABSENT = "absent"  # it has tables, and the other side holds no complete copy
    SNAPSHOT = "snapshot"  # a complete copy as of `data_at`, older by the minute
    STREAMED = "streamed"  # a complete copy that every change reaches within moments


_OF_THE_SERVICE: Final = frozenset({Stage.SERVICE, Stage.RETIRED})
_DATA_IN: Final[Mapping[Stage, frozenset[Data]]] = MappingProxyType(
    {
        Stage.MONOLITH: frozenset({Data.NONE, Data.ABSENT, Data.SNAPSHOT}),
        Stage.SYNCING: frozenset({Data.ABSENT}),
        Stage.SHADOW: frozenset({Data.STREAMED}),
    }
)


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
        if self.data not in _DATA_IN.get(self.stage, Data):
            raise ValueError(f"stage is {self.stage}, and yet data is {self.data}")
        object.__setattr__(self, "cohorts", MappingProxyType(dict(sorted(self.cohorts.items()))))

    @property
    def reads_leave_owner(self) -> bool:
        """Whether any reader can be answered by the stack that does not own the data."""
        elsewhere = self.share if self.owner is Stack.MONOLITH else WHOLE - self.share
        return elsewhere > 0 or any(stack is not self.owner for stack in self.cohorts.values())

    @property
    def is_streamed(self) -> bool:
        """Whether streams run between the two sides: while the first copy is made, and ever after."""
        return self.stage is Stage.SYNCING or self.data is Data.STREAMED


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSync:
    """Begin to copy the rows while every change of them is streamed; a snapshot is not to be read any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteSync:
    """Record that the copy is complete and was found equal, and that the stream keeps it so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSync:
    """End the streams: what the service holds of the rows is not to be read any more."""


Command = SetReads | Kill | Clear | TakeSnapshot | DiscardCopy | StartSync | CompleteSync | StopSync

TRANSITIONS: Final[Mapping[tuple[Stage, type[Command]], frozenset[Stage]]] = MappingProxyType(
    {
        (Stage.MONOLITH, SetReads): frozenset({Stage.MONOLITH, Stage.CANARY}),
        (Stage.SHADOW, SetReads): frozenset({Stage.SHADOW, Stage.CANARY}),
        (Stage.CANARY, SetReads): frozenset({Stage.CANARY, Stage.MONOLITH, Stage.SHADOW}),
        (Stage.MONOLITH, Kill): frozenset({Stage.MONOLITH}),
        (Stage.SYNCING, Kill): frozenset({Stage.SYNCING}),
        (Stage.SHADOW, Kill): frozenset({Stage.SHADOW}),
        (Stage.CANARY, Kill): frozenset({Stage.MONOLITH, Stage.SHADOW}),
        (Stage.MONOLITH, Clear): frozenset({Stage.MONOLITH}),
        (Stage.SYNCING, Clear): frozenset({Stage.SYNCING}),
        (Stage.SHADOW, Clear): frozenset({Stage.SHADOW}),
        (Stage.MONOLITH, TakeSnapshot): frozenset({Stage.MONOLITH}),
        (Stage.MONOLITH, DiscardCopy): frozenset({Stage.MONOLITH}),
        (Stage.MONOLITH, StartSync): frozenset({Stage.SYNCING}),
        (Stage.SYNCING, CompleteSync): frozenset({Stage.SHADOW}),
        (Stage.SYNCING, StopSync): frozenset({Stage.MONOLITH}),
        (Stage.SHADOW, StopSync): frozenset({Stage.MONOLITH}),
    }
)


def transit(state: State, command: Command) -> State:
    """Return the state after ``command``, one epoch higher.

    Raises ``Refused`` when the step is not in ``TRANSITIONS`` or its guard does not hold.
    """
    allowed = TRANSITIONS.get((state.stage, type(command)))
    if allowed is None:
        raise Refused(_ILLEGAL[type(command)].format(stage=state.stage) + _why(state, type(command)))
    after = _apply(state, command)
    if after.stage not in allowed:
        raise Refused(f"there is no step from stage {state.stage} to {after.stage} this way")
    return replace(after, epoch=state.epoch + 1)


def _why(state: State, command: type[Command]) -> str:
    if state.owner is Stack.SERVICE:
        return "; its service owns the data and answers every read"
    return _HINTS.get((state.stage, command), "")


_ILLEGAL: Final[Mapping[type[Command], str]] = MappingProxyType(
    {
        SetReads: "reads cannot be set in stage {stage}",
        Kill: "there is nothing to kill in stage {stage}",
        Clear: "there is no kill to clear in stage {stage}",
        TakeSnapshot: "in stage {stage} no snapshot can be taken",
        DiscardCopy: "in stage {stage} no copy can be discarded",
        StartSync: "in stage {stage} no streams can begin",
        CompleteSync: "in stage {stage} there is no copy to complete",
        StopSync: "in stage {stage} no streams can end",
    }
)


_READ: Final = "; set reads to 0 first, and cohorts off"
_KEPT: Final = "; the stream keeps the copy as the owner's rows are"
_HINTS: Final[Mapping[tuple[Stage, type[Command]], str]] = MappingProxyType(
    {
        (Stage.CANARY, TakeSnapshot): _READ,
        (Stage.CANARY, DiscardCopy): _READ,
        (Stage.CANARY, StartSync): _READ,
        (Stage.CANARY, StopSync): _READ,
        (Stage.SYNCING, SetReads): "; its tables are being copied",
        (Stage.SYNCING, TakeSnapshot): _KEPT,
        (Stage.SYNCING, DiscardCopy): _KEPT,
        (Stage.SYNCING, StartSync): "; they have begun already",
        (Stage.SHADOW, TakeSnapshot): _KEPT,
        (Stage.SHADOW, DiscardCopy): _KEPT,
        (Stage.SHADOW, StartSync): "; they have begun already",
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
        case StartSync():
            return replace(_copied(state, Data.ABSENT, None), stage=Stage.SYNCING)
        case CompleteSync():
            return replace(state, data=Data.STREAMED, stage=Stage.SHADOW)
        case StopSync():
            return replace(state, data=Data.ABSENT, stage=Stage.MONOLITH)


def _set_reads(state: State, command: SetReads) -> State:
    if state.killed is not None:
        raise Refused(f"it is killed ({state.killed}); clear that first, with a reason")
    cohorts = {**state.cohorts, **command.cohorts}
    after = replace(
        state,
        stage=Stage.CANARY,
        share=state.share if command.share is None else command.share,
        cohorts={name: stack for name, stack in cohorts.items() if stack is not None},
    )
    _guard_data(after, allow_stale=command.allow_stale)
    return after if after.reads_leave_owner else replace(after, stage=_at_rest(after))


def _at_rest(state: State) -> Stage:
    """Return the stage of a capability whose reads are all with the monolith."""
    return Stage.SHADOW if state.data is Data.STREAMED else Stage.MONOLITH


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
    stage = state.stage if state.stage is Stage.SYNCING else _at_rest(state)
    return replace(state, stage=stage, share=0, cohorts={}, killed=reason)


def _clear(state: State) -> State:
    if state.killed is None:
        raise Refused("it is not killed")
    return replace(state, killed=None)


def _copied(state: State, data: Data, at: datetime | None) -> State:
    if state.data is Data.NONE:
        raise Refused("it has no tables as published; publish its mapping first if it has one")
    return replace(state, data=data, data_at=at)
