"""The use cases: streams begun, their copy found complete, and all of it taken away again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from strangler.capability import (
    Command,
    CompleteSync,
    Phase,
    Refused,
    Stack,
    Stage,
    StartSync,
    State,
    StopSync,
    transit,
)
from strangler.ledger import Change, Publisher
from strangler.project import Project
from strangler.sync import ending, fence, fencing, filling, install, observations, record, status, transfer, verdicts
from strangler.sync.check import refuse_losses
from strangler.sync.direction import Direction, Way, directions
from strangler.sync.errors import RightMissing, SyncError, TimedOut, Unreachable
from strangler.sync.pgoutput import lsn_text
from strangler.sync.verdicts import Tell, keeping
from strangler.sync.verify import Progress, Settle, Verdict, Verifying, pause

_LOG: Final = logging.getLogger("strangler.sync")
_SHUT_S: Final = 10.0
"""How long the fence around the service's tables may wait for who writes there: nobody should, and none is served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """For which capability, by whom and why."""

    capability: str
    who: str
    reason: str


def start(asked: Asked, project: Project, publisher: Publisher, *, replace: bool = False) -> None:
    """Begin both streams of a capability; from now on no change of its tables is lost, and the service's are fenced.

    ``replace`` empties the service's tables first. Raises ``Refused``, ``NotEmpty``, ``RightMissing``,
    ``MappingInvalid``, ``Unreachable``, ``TimedOut``; run again, it carries on where it was cut short.
    """
    forward, back = _both_ways(asked, project)
    state = publisher.ledger.state(asked.capability)
    transit(state, StartSync())  # refuses now what would be refused at the end
    _refuse_owned(forward, state)
    _refuse_one_database(forward)
    if not replace:  # before anything is taken away: a fence that is there stays where this is refused
        with forward.open() as (source, target):
            transfer.refuse_rows(target, forward.projections(source, target))
    # The state says that nothing is streamed: what is there is the rest of a start or a remove that was cut short.
    take_away((forward, back))
    _forget(project, asked.capability)
    with forward.open() as (source, target):
        projections = forward.projections(source, target)
        refuse_losses(forward, source, target)
        if replace:
            transfer.empty(target, projections)
        transfer.refuse_rows(target, projections)
    install.install(back, copying=False)
    install.install(forward, copying=True)
    _shut(forward, publisher.ledger.state(asked.capability).epoch + 1)
    _record(publisher, project, asked, StartSync())


def _shut(forward: Direction, epoch: int) -> None:
    """Fence the service's tables: as long as the monolith owns the rows nobody but the stream writes them there."""
    shut = fencing.fence_of(forward)
    with forward.open() as (source, target):
        for database in (source, target):
            fence.claim(database, shut.capability, epoch)
        fence.raise_fence(target, shut, epoch=epoch, owner=shut.stack.other, budget_s=_SHUT_S)


def complete(
    asked: Asked, project: Project, publisher: Publisher, told: Tell = _LOG.warning
) -> Generator[Progress, None, Verdict]:
    """Compare both sides after the copy; when they are equal, the service's rows may be read from now on.

    The verdict is kept; ``told`` hears what kept it from being so.
    Raises ``Refused`` when there is no copy to complete, and what ``verify`` raises.
    """
    transit(publisher.ledger.state(asked.capability), CompleteSync())
    forward, _ = _both_ways(asked, project)
    ending.complete(forward)

    def settle() -> None:
        filling.catch_up(forward)

    comparing = Verifying(capability=asked.capability, settle=settle, proving=True)
    verdict = yield from keeping(comparing, project, told)
    if verdict.equal:
        _record(publisher, project, asked, CompleteSync(), _evidence(verdict, forward))
    return verdict


def remove(asked: Asked, project: Project, publisher: Publisher) -> None:
    """End the streams, and leave nothing of them in either database; rows stay as they are.

    Raises ``Refused`` while readers are on the service, and ``SyncError`` naming a side that was not reached, after
    clearing the other one.
    """
    forward, back = _both_ways(asked, project)
    state = publisher.ledger.state(asked.capability)
    _refuse_unbarred(state)
    if state.owner is Stack.MONOLITH:
        _refuse_owned(forward, state)
    if state.is_streamed:
        _record(publisher, project, asked, StopSync())  # first: from here on nobody reads rows that are left behind
    _forget(project, asked.capability)
    take_away((forward, back), stays_fenced=state.stage is Stage.RETIRED)


def _refuse_unbarred(state: State) -> None:
    """Raise ``Refused`` where the service's database may be unfenced: by what would go it is known when it is back."""
    if state.move is not None and state.move.phase in (Phase.FORCED, Phase.BARRING):
        transit(state, StartSync())


def _refuse_owned(forward: Direction, state: State) -> None:
    """Raise ``SyncError`` where the monolith is fenced, and so the service owns, of which the ledger knows nothing.

    One that was restored from a backup may say so; what the service has written since would be lost.
    """
    with suppress(Unreachable), transfer.open_database(forward.source_url, forward.source) as source:
        claim = fence.standing(source, forward.capability)
        if claim is not None and claim.raised and state.moving is None:
            raise SyncError(
                f"the monolith's tables of {forward.capability} are fenced (epoch {claim.epoch}): by the databases the"
                f" service owns them, and by the ledger the monolith does (epoch {state.epoch}). Restore the newer"
                " ledger; nothing was changed"
            )


def _refuse_one_database(forward: Direction) -> None:
    with forward.open() as ends:
        query = "select system_identifier, current_database() from pg_control_system()"
        one, other = (each.execute(query).fetchone() for each in ends)
    if one == other:
        raise SyncError(
            f"the {forward.source} and the {forward.target} are one database: a fence, and who owns, are of a database;"
            " give the service one of its own"
        )


def leading(capability: str, project: Project) -> Direction:
    """Return the stream from the owner to the other side: who is fenced does not own. Raises ``Unreachable``."""
    forward, back = directions(project.capabilities[capability], project)
    with transfer.open_database(forward.source_url, forward.source) as source:
        claim = fence.standing(source, capability)
    return back if claim is not None and claim.raised else forward


def settling(direction: Direction) -> Settle:
    """Return what waits until rows in flight have come: for the stream where one is applied, else a moment."""
    if not status.of(direction).running:
        return pause

    def settle() -> None:
        filling.catch_up(direction)

    return settle


def refuse_stale(capability: str, project: Project) -> None:
    """Raise ``Refused`` when the stream from the owner does not follow: readers would not see later writes."""
    found = status.of(leading(capability, project))
    if found.follows:
        return
    age = "no heartbeat has come yet" if found.lag_s is None else f"its last heartbeat is {found.lag_s:,.0f} s old"
    why = found.problem or ("nobody applies it; start strangler sync run" if not found.running else age)
    raise Refused(
        f"the stream of {capability} does not follow, and readers would not see later writes: {why}; say --allow-stale"
        " if they may"
    )


def _forget(project: Project, capability: str) -> None:
    """Give up the copy that is under way, and forget what was found of an earlier one; writers that were seen stay."""
    with transfer.open_database(project.control.database.reveal(), "control database") as control:
        record.abandon(control, capability)
        verdicts.forget(control, capability)
        observations.forget(control, capability)


def _both_ways(asked: Asked, project: Project) -> tuple[Direction, Direction]:
    return directions(project.capabilities[asked.capability], project)


def take_away(chosen: Sequence[Direction], *, stays_fenced: bool = False) -> None:
    """Clear each of the two databases as far as it is reached: a slot that stays fills its server's disk.

    Watermarks go first, by which whoever applies ends. ``stays_fenced`` is said of the monolith's tables, whose service
    owns what was in them. Raises ``SyncError`` naming a side that was not reached.
    """
    forward = chosen[0]
    ends = {forward.source_url: forward.source, forward.target_url: forward.target}
    away: dict[str, str] = {}
    for clear in (_clear_as_target, _close_as_source if stays_fenced else _clear_as_source):
        for url, name in ends.items():
            why = _away(name, url, chosen, clear)
            if why is not None:
                away[name] = why
    if away:
        raise SyncError("; ".join(away.values()))


def _clear_as_target(database: psycopg.Connection, direction: Direction, url: str) -> None:
    if direction.target_url == url:
        install.remove_from_target(database, direction)


def _clear_as_source(database: psycopg.Connection, direction: Direction, url: str) -> None:
    if direction.source_url == url:
        install.remove_from_source(database, direction)


def _close_as_source(database: psycopg.Connection, direction: Direction, url: str) -> None:
    if direction.way is Way.REVERSE:
        _clear_as_source(database, direction, url)
    elif direction.source_url == url:
        install.close_source(database, direction)


def _away(
    name: str, url: str, both: Sequence[Direction], clear: Callable[[psycopg.Connection, Direction, str], None]
) -> str | None:
    """Clear one database, and return what kept it from being cleared."""
    try:
        with transfer.open_database(url, name, "strangler remove") as database:
            for each in both:
                clear(database, each, url)
    except (TimedOut, RightMissing) as exc:
        return f"the {name} is not cleared: {exc}"
    except (Unreachable, psycopg.OperationalError) as exc:
        return f"the {name} is not cleared: {str(exc).strip().splitlines()[0]}; run this again when it is back"
    return None


def _evidence(verdict: Verdict, forward: Direction) -> Mapping[str, Any]:
    rows = {table.target: table.service_rows for table in verdict.tables}
    return {"rows": rows, "seconds": round(verdict.seconds, 3), "lsn": lsn_text(filling.position(forward))}


def _record(
    publisher: Publisher, project: Project, asked: Asked, command: Command, evidence: Mapping[str, Any] | None = None
) -> None:
    publisher.change(
        Change(
            capability=asked.capability, command=command, who=asked.who, reason=asked.reason, evidence=evidence or {}
        ),
        project,
    )
