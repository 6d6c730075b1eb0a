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


class Phase(StrEnum):
    """How far a move of the owner has come, as the ledger has it. The first four are on the way."""

    PREPARED = "prepared"  # from here it may be aborted
    SWITCHED = "switched"  # the owner is the other stack: from here it is only carried on
    ABORTING = "aborting"  # it goes back to where it came from
    FORCED = "forced"  # the owner is the other stack, without what that one lacks: from here it is only carried on
    BARRING = "barring"  # the new owner is written, and the one of before is not fenced yet
    DONE = "done"
    ABORTED = "aborted"

    @property
    def is_settled(self) -> bool:
        return self in (Phase.DONE, Phase.ABORTED, Phase.BARRING)


_ABOUT_TO_LEAVE: Final = frozenset({Phase.PREPARED, Phase.ABORTING, Phase.ABORTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A cutover or a rollback: from which stack the owner moves, and how far that has come.

    ``epoch`` is what both databases are claimed by: that of the state when the move was begun, or when it was aborted.
    """

    epoch: int
    source: Stack
    phase: Phase

    def __post_init__(self) -> None:
        if self.epoch < 0:
            raise ValueError(f"epoch is {self.epoch}; it starts at 0 and rises")

    @property
    def owner(self) -> Stack:
        """The stack that may write, if any may right now."""
        return self.source if self.phase in _ABOUT_TO_LEAVE else self.source.other


class Refused(Exception):
    """The step is not legal from this state. Nothing was changed; the message says what would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that routing and data ownership may depend on, for one capability.

    ``share`` is the part of read traffic that the service answers, in basis points (0 to 10,000). ``cohorts``
    maps the name of a cohort to the stack that its readers go to. ``killed`` holds the reason while latched,
    ``read_only`` the one for which writes are refused. ``move`` is the last move of the owner, under way or settled.
    """

    epoch: int = 0
    stage: Stage = Stage.MONOLITH
    owner: Stack = Stack.MONOLITH
    share: int = 0
    cohorts: Mapping[str, Stack] = field(default_factory=dict)
    killed: str | None = None
    read_only: str | None = None
    data: Data = Data.ABSENT
    data_at: datetime | None = None
    move: Move | None = None

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
        if self.move is not None and self.move.owner is not self.owner:
            raise ValueError(f"the owner is the {self.owner}, and yet its last move made it the {self.move.owner}")
        object.__setattr__(self, "cohorts", MappingProxyType(dict(sorted(self.cohorts.items()))))

    @property
    def reads_leave_owner(self) -> bool:
        """Whether any reader can be answered by the stack that does not own the data."""
        elsewhere = self.share if self.owner is Stack.MONOLITH else WHOLE - self.share
        return elsewhere > 0 or any(stack is not self.owner for stack in self.cohorts.values())

    @property
    def moving(self) -> Move | None:
        """The move that is under way."""
        return None if self.move is None or self.move.phase.is_settled else self.move

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
class RefuseWrites:
    """Take no write, with the reason, and have ``readers`` answer every read, as its rows are."""

    reason: str
    readers: Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """Take the latch of a kill off, and writes again. Reads stay with the owner until they are set again."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseFence:
    """Raise the fence anew of who does not own: what is known of its rows from before does not count any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMove:
    """Begin to move the owner to the other stack: a cutover or a rollback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchOwner:
    """Make the other stack the owner, and have it answer every read: the move of ``epoch`` cannot go back any more."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteMove:
    """Record that the new owner may write, and that the move of ``epoch`` is over."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortMove:
    """Have the move of ``epoch`` go back; it gets a new epoch, by which whoever still carries it on is refused."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteAbort:
    """Record that the owner of before may write again, and that the move of ``epoch`` is over."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceMove:
    """Make the monolith the owner without what it lacks of the service's rows, whatever move is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteForce:
    """Record that the monolith may write, while the service's database may come back unfenced: ``epoch``'s force."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteBar:
    """Record that the service's database has come back and is fenced: the forced move of ``epoch`` is over."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """Give up the way back. With ``keep_copy`` the monolith's tables go on to follow, for whoever reads them there."""

    keep_copy: bool


Moving = StartMove | SwitchOwner | CompleteMove | AbortMove | CompleteAbort | ForceMove | CompleteForce | CompleteBar
Reading = SetReads | Kill | RefuseWrites | Clear
Command = Reading | TakeSnapshot | DiscardCopy | StartSync | CompleteSync | StopSync | RaiseFence | Moving | Retire

_MOVED: Final = (Stage.SHADOW, Stage.CANARY, Stage.SERVICE)
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
        (Stage.SERVICE, SetReads): frozenset({Stage.SERVICE}),
        (Stage.SERVICE, Kill): frozenset({Stage.SERVICE}),
        (Stage.SERVICE, RefuseWrites): frozenset({Stage.SERVICE}),
        (Stage.SERVICE, Clear): frozenset({Stage.SERVICE}),
        **{(stage, RaiseFence): frozenset({stage}) for stage in _MOVED},
        **{(stage, StartMove): frozenset({stage}) for stage in _MOVED},
        (Stage.SHADOW, SwitchOwner): frozenset({Stage.SERVICE}),
        (Stage.CANARY, SwitchOwner): frozenset({Stage.SERVICE}),
        (Stage.SERVICE, SwitchOwner): frozenset({Stage.SHADOW}),
        (Stage.SHADOW, CompleteMove): frozenset({Stage.SHADOW}),
        (Stage.SERVICE, CompleteMove): frozenset({Stage.SERVICE}),
        **{(stage, AbortMove): frozenset({stage}) for stage in _MOVED},
        **{(stage, CompleteAbort): frozenset({stage}) for stage in _MOVED},
        (Stage.SERVICE, ForceMove): frozenset({Stage.MONOLITH}),
        (Stage.MONOLITH, CompleteForce): frozenset({Stage.MONOLITH}),
        (Stage.MONOLITH, CompleteBar): frozenset({Stage.MONOLITH}),
        (Stage.SERVICE, Retire): frozenset({Stage.RETIRED}),
        (Stage.RETIRED, StopSync): frozenset({Stage.RETIRED}),
    }
)


def transit(state: State, command: Command) -> State:
    """Return the state after ``command``, one epoch higher.

    Raises ``Refused`` when the step is not in ``TRANSITIONS`` or its guard does not hold.
    """
    _guard_move(state, command)
    allowed = None if _stands_alone(state) else TRANSITIONS.get((state.stage, type(command)))
    if allowed is None:
        raise Refused(_ILLEGAL[type(command)].format(stage=state.stage) + _why(state, type(command)))
    after = _apply(state, command)
    if after.stage not in allowed:
        raise Refused(f"there is no step from stage {state.stage} to {after.stage} this way")
    return replace(after, epoch=state.epoch + 1)


def _guard_move(state: State, command: Command) -> None:
    """Raise ``Refused`` for whatever does not belong to the move that is under way."""
    last = state.move
    if isinstance(command, SwitchOwner | CompleteMove | AbortMove | CompleteAbort | CompleteForce | CompleteBar):
        wanted = _IN_PHASE[type(command)]
        if last is None or last.epoch != command.epoch or last.phase is not wanted:
            raise Refused(f"this wants the move of epoch {command.epoch} to be {wanted}, and {_last(last)}")
    elif last is not None and last.phase is Phase.BARRING and isinstance(command, _COPYING):
        raise Refused(
            f"its service's database has not been fenced since the rollback that was forced (epoch {last.epoch}):"
            " whoever comes upon it does so first; start it, and strangler sync run"
        )
    elif state.moving is not None and not isinstance(command, Kill | ForceMove):
        move = state.moving
        raise Refused(f"its owner is being moved (epoch {move.epoch}, {move.phase}); wait until that has ended")


_COPYING: Final = (TakeSnapshot, DiscardCopy, StartSync)


def _last(move: Move | None) -> str:
    return "its owner was never moved" if move is None else f"the last one is of epoch {move.epoch} and {move.phase}"


def _stands_alone(state: State) -> bool:
    """Return whether only the service has the data: nothing of it can be with the monolith."""
    return state.owner is Stack.SERVICE and not state.is_streamed


def _why(state: State, command: type[Command]) -> str:
    if _stands_alone(state):
        return "; its service owns the data and answers every read"
    return _HINTS.get((state.stage, command), "")


_ILLEGAL: Final[Mapping[type[Command], str]] = MappingProxyType(
    {
        SetReads: "reads cannot be set in stage {stage}",
        Kill: "there is nothing to kill in stage {stage}",
        RefuseWrites: "writes cannot be refused in stage {stage}",
        Clear: "there is no kill to clear in stage {stage}",
        TakeSnapshot: "in stage {stage} no snapshot can be taken",
        DiscardCopy: "in stage {stage} no copy can be discarded",
        StartSync: "in stage {stage} no streams can begin",
        CompleteSync: "in stage {stage} there is no copy to complete",
        StopSync: "in stage {stage} no streams can end",
        RaiseFence: "in stage {stage} no fence can be raised anew",
        StartMove: "in stage {stage} the owner cannot be moved",
        SwitchOwner: "in stage {stage} the owner cannot be switched",
        CompleteMove: "in stage {stage} no move of the owner can end",
        AbortMove: "in stage {stage} no move of the owner can be aborted",
        CompleteAbort: "in stage {stage} no move of the owner can be aborted",
        ForceMove: "in stage {stage} no rollback can be forced",
        CompleteForce: "in stage {stage} no rollback was forced",
        CompleteBar: "in stage {stage} no rollback was forced",
        Retire: "in stage {stage} nothing can be retired",
    }
)
_IN_PHASE: Final[Mapping[type[Command], Phase]] = MappingProxyType(
    {
        SwitchOwner: Phase.PREPARED,
        CompleteMove: Phase.SWITCHED,
        AbortMove: Phase.PREPARED,
        CompleteAbort: Phase.ABORTING,
        CompleteForce: Phase.FORCED,
        CompleteBar: Phase.BARRING,
    }
)


_READ: Final = "; set reads to 0 first, and cohorts off"
_KEPT: Final = "; the stream keeps the copy as the owner's rows are"
_FOLLOW: Final = "; the service's tables must follow the monolith's first: strangler sync start"
_OWNED: Final = "; its service owns the data: roll back first"
_MOVE_FIRST: Final = "; its service must own the data first: strangler cutover"
_GONE: Final = "; it is retired: there is no way back"
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
        (Stage.MONOLITH, RaiseFence): "; there is none: strangler sync start",
        (Stage.SYNCING, RaiseFence): "; its tables are being copied, and compared at the end",
        (Stage.MONOLITH, StartMove): _FOLLOW,
        (Stage.SYNCING, StartMove): "; its tables are being copied",
        **{(Stage.RETIRED, each): _GONE for each in (SetReads, Kill, StartMove, ForceMove, Retire)},
        **{(stage, Retire): _MOVE_FIRST for stage in (Stage.MONOLITH, Stage.SYNCING, Stage.SHADOW, Stage.CANARY)},
        **{(Stage.SERVICE, each): _OWNED for each in (TakeSnapshot, DiscardCopy, StartSync, CompleteSync, StopSync)},
    }
)


def _apply(state: State, command: Command) -> State:
    match command:
        case SetReads():
            return _set_reads(state, command)
        case Kill(reason=reason):
            return _kill(state, reason)
        case RefuseWrites():
            return _refuse_writes(state, command)
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
            return _stop_sync(state)
        case RaiseFence():
            return _raise_fence(state)
        case StartMove():
            return _start_move(state)
        case SwitchOwner():
            return _switch_owner(state)
        case AbortMove():
            return _moved(state, Phase.ABORTING, epoch=state.epoch + 1)
        case CompleteMove():
            return _moved(state, Phase.DONE)
        case CompleteAbort():
            return _moved(state, Phase.ABORTED)
        case ForceMove():
            return _force(state)
        case CompleteForce():
            return _moved(state, Phase.BARRING)
        case CompleteBar():
            return _moved(state, Phase.DONE)
        case Retire():
            return _retire(state, command)


def _stop_sync(state: State) -> State:
    if state.stage is Stage.RETIRED:
        return replace(state, data=Data.ABSENT)
    return replace(state, data=Data.ABSENT, stage=Stage.MONOLITH, move=None)


def _raise_fence(state: State) -> State:
    if state.data is not Data.STREAMED:
        raise Refused("nothing of it is streamed, and there is no fence; begin with strangler sync start")
    return state


def _start_move(state: State) -> State:
    if state.data is not Data.STREAMED:
        raise Refused(f"its owner cannot be moved{_FOLLOW}")
    if state.owner is Stack.MONOLITH and state.killed is not None:
        raise Refused(f"it is killed ({state.killed}); clear that first, with a reason")
    return replace(state, move=Move(epoch=state.epoch + 1, source=state.owner, phase=Phase.PREPARED))


def _switch_owner(state: State) -> State:
    """Have the other stack own the data and answer all: what was wrong with it as a reader is not known here."""
    to = state.owner.other
    stage, share = (Stage.SERVICE, WHOLE) if to is Stack.SERVICE else (Stage.SHADOW, 0)
    moved = None if state.move is None else replace(state.move, phase=Phase.SWITCHED)
    return replace(state, owner=to, stage=stage, share=share, cohorts={}, read_only=None, move=moved)


def _force(state: State) -> State:
    """Have the monolith own the data as they are there: the service's are no copy of them, nor the other way round."""
    move = Move(epoch=state.epoch + 1, source=Stack.SERVICE, phase=Phase.FORCED)
    to = Stack.MONOLITH
    return replace(
        state, owner=to, stage=Stage.MONOLITH, share=0, cohorts={}, read_only=None, data=Data.ABSENT, move=move
    )


def _retire(state: State, command: Retire) -> State:
    if state.reads_leave_owner:
        raise Refused("some of its reads are with the monolith; set reads to 100 % first, and cohorts off")
    if state.read_only is not None:
        raise Refused(f"it takes no writes ({state.read_only}); clear that first, with a reason")
    return replace(state, stage=Stage.RETIRED, data=Data.STREAMED if command.keep_copy else Data.ABSENT)


def _moved(state: State, phase: Phase, epoch: int | None = None) -> State:
    if state.move is None:
        raise Refused("its owner was never moved")
    return replace(state, move=replace(state.move, phase=phase, epoch=epoch or state.move.epoch))


def _set_reads(state: State, command: SetReads) -> State:
    if state.killed is not None:
        raise Refused(f"it is killed ({state.killed}); clear that first, with a reason")
    if state.read_only is not None:
        raise Refused(f"it takes no writes ({state.read_only}); clear that first, with a reason")
    cohorts = {**state.cohorts, **command.cohorts}
    after = replace(
        state,
        stage=state.stage if state.owner is Stack.SERVICE else Stage.CANARY,
        share=state.share if command.share is None else command.share,
        cohorts={name: stack for name, stack in cohorts.items() if stack is not None},
    )
    _guard_data(after, allow_stale=command.allow_stale)
    return after if after.reads_leave_owner else replace(after, stage=_at_rest(after))


def _at_rest(state: State) -> Stage:
    """Return the stage of a capability whose reads are all with its owner."""
    if state.stage in (Stage.SYNCING, Stage.SERVICE):
        return state.stage
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
    """Send reads to the owner. A move that was to make the service the owner goes back, where it still can."""
    if not reason.strip():
        raise Refused("a kill wants a reason")
    share = 0 if state.owner is Stack.MONOLITH else WHOLE
    move = state.move
    if move is not None and move.phase is Phase.PREPARED and move.source is Stack.MONOLITH:
        move = replace(move, phase=Phase.ABORTING, epoch=state.epoch + 1)
    return replace(state, stage=_at_rest(state), share=share, cohorts={}, killed=reason, move=move)


def _refuse_writes(state: State, command: RefuseWrites) -> State:
    if not command.reason.strip():
        raise Refused("to refuse writes wants a reason")
    share = WHOLE if command.readers is Stack.SERVICE else 0
    return replace(state, share=share, cohorts={}, killed=None, read_only=command.reason)


def _clear(state: State) -> State:
    if state.killed is None and state.read_only is None:
        raise Refused("there is no kill to clear, and writes are taken")
    back = state if state.read_only is None else replace(state, share=WHOLE, cohorts={})
    return replace(back, killed=None, read_only=None)


def _copied(state: State, data: Data, at: datetime | None) -> State:
    if state.data is Data.NONE:
        raise Refused("it has no tables as published; publish its mapping first if it has one")
    return replace(state, data=data, data_at=at)
