"""The use cases: a capability's writers looked at for a while, told of, and allowed; and what keeps looking at them.

Each statement is told of in the WAL of the owner's database, and the stream that reads it counts them. While nobody
runs the streams nothing is lost: the WAL is kept for them, and what it tells is counted when they go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from strangler.capability import Refused, Stack, State
from strangler.ledger import Ledger, LedgerError, Line, Publisher
from strangler.project import CapabilityFiles, Project, ProjectInvalid
from strangler.sync import fence, fencing, observations, status
from strangler.sync.direction import Direction, directions
from strangler.sync.errors import SyncError
from strangler.sync.fence import Claim
from strangler.sync.fenced import Fires, faults
from strangler.sync.fencing import Fence
from strangler.sync.observed import Kind
from strangler.sync.syncing import Asked
from strangler.sync.transfer import open_database
from strangler.sync.writers import Report, report

BUDGET_S: Final = 2.0
"""So long it may wait for who writes, and who comes meanwhile waits behind it: what a cutover's pause has, too."""
_AGAIN_S: Final = 60.0
_TOLD: Final = 10
_NAME: Final = "strangler fence"
Tell = Callable[[str], None]


def begin(asked: Asked, for_s: float, project: Project, publisher: Publisher) -> Stack:
    """Have every statement told that writes the capability's tables, for so many seconds; return in whose database.

    Where they are told already, it is looked at anew: who was seen before, and is not seen again, is no matter then.
    Raises ``Refused`` where nothing is streamed or the owner is being moved, ``SyncError``, ``TimedOut``.
    """
    state = _observable(asked.capability, publisher)
    direction = _towards(state.owner, project.capabilities[asked.capability], project)
    with _control(project) as control:
        observations.last(control, asked.capability)  # a ledger that cannot keep it is told of before anything is on
        if not _is_on(direction):
            _switch(direction, on=True)
        observations.begin(control, asked.capability, state.owner, asked.who, asked.reason, for_s)
    _note(asked, "fence-observe", publisher, {"stack": str(state.owner), "for_s": for_s})
    return state.owner


def end(asked: Asked, project: Project, publisher: Publisher) -> None:
    """Have no statement told any more. Raises ``SyncError`` where none is, ``TimedOut``."""
    with _control(project) as control:
        found = observations.last(control, asked.capability)
        under_way = found is not None and found.ended_at is None
        stack = found.stack if found is not None and under_way else publisher.ledger.state(asked.capability).owner
        direction = _towards(stack, project.capabilities[asked.capability], project)
        was_on = _is_on(direction)
        if not _off(direction) and not under_way:
            raise SyncError(f"{asked.capability} is not observed")
        observations.end(control, asked.capability, asked.reason, was_on=was_on)
    _note(asked, "fence-observe-off", publisher, {})


def allow(asked: Asked, kind: Kind, name: str, project: Project, publisher: Publisher) -> None:
    """Note that a writer that was seen may meet the fence, and that this is known.

    Raises ``SyncError`` for one that was not seen: it would be a name that nobody has.
    """
    with _control(project) as control:
        found = observations.last(control, asked.capability)
        seen = {} if found is None else observations.seen(control, asked.capability, found.stack).writers
        if (kind, name) not in {(each.kind, each.name) for each in seen}:
            told = ", ".join(dict.fromkeys(map(str, list(seen)[:_TOLD]))) or "nobody"
            raise SyncError(f"{kind}:{name} was not seen writing {asked.capability}; seen: {told}")
        observations.allow(control, asked.capability, kind, name, asked.who, asked.reason)
    _note(asked, "fence-allow", publisher, {"writer": f"{kind}:{name}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A capability's fence in the database of a stack: ``claim`` is None where there is none.

    ``drift`` is what may have passed it since it was raised. ``until`` is when it stops observing by itself, None where
    it does not observe. ``problem`` tells why nothing of this is known.
    """

    capability: str
    stack: Stack
    claim: Claim | None = None
    drift: tuple[str, ...] = ()
    until: datetime | None = None
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        claim = self.claim
        return {
            "capability": self.capability,
            "stack": self.stack,
            "there": claim is not None,
            "raised": claim is not None and claim.raised,
            "raised_on": claim and claim.raised_on,
            "epoch": claim and claim.epoch,
            "drift": list(self.drift),
            "observing": claim is not None and claim.observing,
            "until": self.until and self.until.isoformat(),
            "problem": self.problem,
        }


def standings(project: Project, names: Sequence[str] = ()) -> list[Standing]:
    """Return how the fences stand of the capabilities ``names``, of all that have tables without any."""
    chosen = [each for each in project.capabilities.values() if each.tables and (not names or each.name in names)]
    return [_standing(files, stack, project) for files in chosen for stack in Stack]


def _standing(files: CapabilityFiles, stack: Stack, project: Project) -> Standing:
    direction = _towards(stack, files, project)
    try:
        with open_database(direction.target_url, direction.target, _NAME) as database:
            claim = fence.standing(database, files.name)
            drift = tuple(fence.drift(database, fencing.fence_of(direction))) if claim is not None else ()
        found = _last(files.name, project) if claim is not None and claim.observing else None
    except (SyncError, psycopg.Error) as exc:
        return Standing(capability=files.name, stack=stack, problem=str(exc).strip().splitlines()[0])
    until = found.until if found is not None and found.stack is stack and found.ended_at is None else None
    return Standing(capability=files.name, stack=stack, claim=claim, drift=drift, until=until)


def _last(capability: str, project: Project) -> observations.Observation | None:
    with _control(project) as control:
        return observations.last(control, capability)


def reported(capability: str, project: Project) -> Report:
    """Return who was seen writing. Raises ``SyncError``, ``Unreachable``."""
    files = project.capabilities[capability]
    with _control(project) as control:
        found = observations.last(control, capability)
        if found is None:
            return Report(capability=capability)
        watched = {*observations.under_way(control), capability}
        tally = observations.seen(control, capability, found.stack)
        allowed = observations.allowed(control, capability)
    is_on = found.ended_at is None and _is_on(_towards(found.stack, files, project))
    beside = {each.name for each in project.capabilities.values() if each.tables and _shares(each, files, found.stack)}
    return report(
        files,
        project,
        found,
        is_on=is_on,
        behind_s=status.of(_towards(found.stack.other, files, project)).lag_s,
        tally=tally,
        allowed=allowed,
        unseen=beside - watched,
    )


def _shares(one: CapabilityFiles, other: CapabilityFiles, stack: Stack) -> bool:
    """Return whether two capabilities have their tables of a stack in one database."""
    return stack is Stack.MONOLITH or one.service == other.service


class Observing:
    """Keeps looking: ends what has lasted its time, and switches on again what was switched off by something else."""

    def __init__(self, project: Project, tell: Tell) -> None:
        self._project, self._tell = project, tell
        self._not_before: dict[str, float] = {}

    def look(self) -> None:
        """Look once. What cannot be reached, or waits for somebody, is looked at the next time."""
        try:
            with Ledger.open(self._project) as ledger:
                names = observations.under_way(ledger.connection)
                for name in names:
                    if name in self._project.capabilities and time.monotonic() >= self._not_before.get(name, 0.0):
                        self._look_at(name, ledger)
        except (LedgerError, SyncError, ProjectInvalid, psycopg.Error):
            return  # a ledger of a release before, or away, which is told by whoever holds its lock

    def _look_at(self, name: str, ledger: Ledger) -> None:
        try:
            self._look_after(name, ledger)
        except (LedgerError, SyncError, psycopg.Error) as exc:
            self._not_before[name] = time.monotonic() + _AGAIN_S
            self._tell(f"{name} is to be observed, and cannot be now: {str(exc).strip().splitlines()[0]}")

    def _look_after(self, name: str, ledger: Ledger) -> None:
        control, state = ledger.connection, ledger.state(name)
        found = observations.last(control, name)
        if found is None or found.ended_at is not None or state.moving is not None:
            return
        direction = _towards(found.stack, self._project.capabilities[name], self._project)
        if state.owner is not found.stack:
            self._end(name, control, "its owner has moved", was_on=True)
        elif found.is_over:
            was_on = _is_on(direction)
            _off(direction)
            self._end(name, control, "its time was over", was_on=was_on)
        elif _is_on(direction):
            observations.found_on(control, name)
        else:
            _switch(direction, on=True)
            observations.found_on(control, name, again=True)
            self._tell(f"{name} is observed again: its fence did not tell of every statement")

    def _end(self, name: str, control: psycopg.Connection, why: str, *, was_on: bool) -> None:
        observations.end(control, name, why, was_on=was_on)
        self._tell(f"{name} is not observed any more: {why}; see strangler fence report {name}")


# --- in the database ---


def _observable(capability: str, publisher: Publisher) -> State:
    state = publisher.ledger.state(capability)
    if state.moving is not None:
        raise Refused(f"the owner of {capability} is being moved; wait until that has ended")
    if not state.is_streamed:
        raise Refused(f"nothing of {capability} is streamed, and nobody reads what would be told: strangler sync start")
    return state


def _towards(stack: Stack, files: CapabilityFiles, project: Project) -> Direction:
    """Return the direction whose target is the database of a stack."""
    forward, back = directions(files, project)
    return forward if stack is Stack.SERVICE else back


def _switch(direction: Direction, *, on: bool) -> None:
    with open_database(direction.target_url, direction.target, _NAME) as database:
        fencing.install(database, fencing.fence_of(direction))
        fence.observe(database, fencing.fence_of(direction), on=on, budget_s=BUDGET_S)


def _off(direction: Direction) -> bool:
    """Switch it off, and return whether it was on; where the fence was raised since, or taken away, it is off."""
    with open_database(direction.target_url, direction.target, _NAME) as database:
        claim = fence.standing(database, direction.capability)
        if claim is None or not claim.observing:
            return False
        fence.observe(database, fencing.fence_of(direction), on=False, budget_s=BUDGET_S)
        return True


def _is_on(direction: Direction) -> bool:
    """Return whether each statement is told of. Raises ``Unreachable``."""
    with open_database(direction.target_url, direction.target, _NAME) as database:
        return tells(database, fencing.fence_of(direction), fence.standing(database, direction.capability))


def tells(database: psycopg.Connection, of: Fence, claim: Claim | None) -> bool:
    """Return whether a fence observes, and every statement meets it."""
    if claim is None or not claim.observing:
        return False
    return not any(faults(fencing.read(database, of), fencing.observing(database, of), Fires.ALWAYS))


def _control(project: Project) -> AbstractContextManager[psycopg.Connection]:
    return open_database(project.control.database.reveal(), "control database", _NAME)


def _note(asked: Asked, command: str, publisher: Publisher, evidence: dict[str, object]) -> None:
    publisher.ledger.note(
        Line(capability=asked.capability, command=command, who=asked.who, reason=asked.reason, evidence=evidence)
    )
