"""A rollback that is forced: the monolith owns again, without what it lacks of what the service has written.

For when the service's database is gone, or its stream towards the monolith broken: a move would wait for ever. The
ledger comes first. From there it is only carried on, by whoever comes, each step as often as it takes:

    forced    shut    the service's database is claimed and fenced, where it answers
              take    the monolith's is claimed, and the stream into it ends: none of those writes is ever applied
              count   its sequences go on far past its rows
              open    its fence is lowered
    barring   tidy    nothing is kept there any more for a stream that has no target
              bar     the service's database is claimed and fenced as soon as it answers; what it wrote and the
                      monolith lacks is read out, by its keys, before the slot is dropped that has it

A database that was gone may come back unfenced, and takes writes until somebody bars it: ``strangler sync run`` looks
every second. The proxies send it none, and nothing that it took is applied to the monolith.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import sql

from strangler.capability import (
    Command,
    CompleteBar,
    CompleteForce,
    ForceMove,
    Move,
    Phase,
    Refused,
    Stack,
    transit,
)
from strangler.cutover.conductor import PATIENCE_S, Unfinished
from strangler.ledger import Change, Line, Publisher, Unacknowledged
from strangler.ledger.publish import WAIT_S
from strangler.project import Project
from strangler.sync import fence, fencing, install, lost, sequences, status, watermark
from strangler.sync.catalogue import identifier
from strangler.sync.direction import Direction, directions
from strangler.sync.errors import StaleEpoch, SyncError, Unreachable
from strangler.sync.lost import Lost
from strangler.sync.syncing import Asked
from strangler.sync.transfer import open_database

_SHUT_S: Final = 5.0
_LOWER_S: Final = 30.0
_LOCK_S: Final = 2.0
_AGAIN_S: Final = 0.2
_ENDED: Final = "the rollback was forced: nothing of it is applied any more"
_NAME: Final = "strangler rollback"
_STREAM: Final = """
select lsn::text, heartbeat_at, extract(epoch from clock_timestamp() - heartbeat_at)::float8
from strangler_sync.stream where name = %s
"""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What going back by force would lose: all that the service acknowledged after ``until``.

    ``until`` is when it wrote the last heartbeat that came to the monolith, ``age_s`` how long ago that was; None where
    none ever came. ``position`` is up to where in its WAL the monolith has applied, ``pending_bytes`` how much more
    there is, None where its server cannot be asked. ``why`` is why nothing else will do.
    """

    why: str
    position: str | None
    until: datetime | None
    age_s: float | None
    pending_bytes: int | None = None

    def __str__(self) -> str:
        if self.until is None:
            return "nobody knows since when the monolith lacks what the service has written: no heartbeat has come"
        more = "" if self.pending_bytes is None else f" ({self.pending_bytes:,} bytes of its WAL)"
        return (
            f"writes that the service acknowledged after {self.until.astimezone():%Y-%m-%d %H:%M:%S %Z}, some"
            f" {max(0.0, self.age_s or 0.0):,.0f} s ago, are not in the monolith and will be lost{more}"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "why": self.why,
            "position": self.position,
            "until": None if self.until is None else self.until.isoformat(),
            "age_s": self.age_s,
            "pending_bytes": self.pending_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """How it ended: the monolith owns since ``epoch``. ``lost`` is None while the service's database is not barred."""

    capability: str
    epoch: int
    lost: Lost | None

    def to_json(self) -> dict[str, Any]:
        return {
            "capability": self.capability,
            "end": "forced",
            "epoch": self.epoch,
            "owner": str(Stack.MONOLITH),
            "barred": self.lost is not None,
            "lost": self.lost and self.lost.to_json(),
        }


def look(capability: str, project: Project, publisher: Publisher) -> Loss:
    """Return what a forced rollback would lose. Raises ``Refused`` where a rollback without any loss is possible."""
    state = publisher.ledger.state(capability)
    if state.owner is Stack.MONOLITH:
        raise Refused(f"the monolith owns {capability} already")
    transit(state, ForceMove())
    _, back = directions(project.capabilities[capability], project)
    with open_database(back.target_url, back.target, _NAME) as monolith:
        claim = fence.standing(monolith, capability)
        if claim is None or claim.epoch > state.epoch:
            stands = "has no fence of it" if claim is None else f"stands at epoch {claim.epoch}"
            raise Refused(
                f"the monolith's database {stands}, and the ledger at {state.epoch}: restore the newer ledger first"
            )
        row = monolith.execute(_STREAM, [back.name]).fetchone()
    position, until, age = row or (None, None, None)
    why, pending = _broken(capability, back)
    return Loss(why=why, position=position, until=until, age_s=age, pending_bytes=pending)


def _broken(capability: str, back: Direction) -> tuple[str, int | None]:
    """Return why the way back cannot bring what is written, and how much that is where this can be known."""
    try:
        with open_database(back.source_url, back.source, _NAME):
            pass
    except Unreachable as exc:
        return str(exc), None
    found = status.of(back)
    if found.begun and found.problem is None:
        applied = "" if found.running else "; nobody applies it: start strangler sync run"
        raise Refused(
            f"the service's database answers and its stream to the monolith is whole, so nothing has to be lost:"
            f" strangler rollback {capability}{applied}"
        )
    return found.problem or "no stream leads to the monolith", found.lag_bytes


def force(asked: Asked, project: Project, publisher: Publisher, loss: Loss, *, epoch: int, tell: Tell) -> Forced:
    """Make the monolith the owner, at the loss that somebody has accepted at ``epoch``.

    Raises ``Conflict`` where the capability has moved on since, ``Unfinished`` where the ledger has it and a database
    does not.
    """
    change = _change(asked, ForceMove(), {"loss": loss.to_json()}, epoch)
    started = time.monotonic()
    publisher.push(publisher.ledger.apply(change), started=started, wait_s=None)
    tell("the ledger has it: the monolith owns, and its database is opened")
    forced = carry_on(asked, project, publisher, tell=tell)
    if forced is None:
        raise Unfinished(f"somebody else has carried the rollback of {asked.capability} on; see strangler history")
    return forced


def carry_on(
    asked: Asked, project: Project, publisher: Publisher, *, tell: Tell, patience_s: float = PATIENCE_S
) -> Forced | None:
    """Bring a forced rollback as far as it goes now; None where there is none under way.

    Raises ``Unfinished`` where the monolith cannot be opened within ``patience_s`` a step.
    """
    move = forced_move(publisher, asked.capability)
    if move is None:
        return None
    forward, back = directions(project.capabilities[asked.capability], project)
    if move.phase is Phase.FORCED:
        _patiently(lambda: _shut(forward, move, tell), "the service's database is not fenced", patience_s)
        _patiently(lambda: _open(back, move, tell), "the monolith's database is not opened", patience_s)
        _completed(asked, project, publisher, CompleteForce(epoch=move.epoch), {})
    return Forced(capability=asked.capability, epoch=move.epoch, lost=bar(asked, project, publisher))


def forced_move(publisher: Publisher, capability: str) -> Move | None:
    """Return the forced rollback of a capability that is not over: the monolith not open, or the service not barred."""
    move = publisher.ledger.state(capability).move
    return move if move is not None and move.phase in (Phase.FORCED, Phase.BARRING) else None


def bar(asked: Asked, project: Project, publisher: Publisher) -> Lost | None:
    """Fence the service's database if it answers, and return what it wrote that was lost; None where it does not.

    Raises ``SyncError`` where it answers and cannot be fenced.
    """
    move = forced_move(publisher, asked.capability)
    if move is None:
        return None
    forward, back = directions(project.capabilities[asked.capability], project)
    try:
        with open_database(back.source_url, back.source, _NAME) as service:
            _fence(service, forward, move.epoch)  # before anything else
            service.execute("select pg_advisory_lock(hashtext(%s))", [f"{_NAME} {asked.capability}"])
            if forced_move(publisher, asked.capability) is None:
                return Lost(since=0, why="somebody else has read it just now; it stands in the history")
            found = _read(service, back)
            evidence = {"lost": found.to_json()}
            publisher.ledger.note(Line(asked.capability, "move-lost", asked.who, asked.reason, evidence))
            install.remove_from_target(service, forward)
            install.close_source(service, back)
        _tidy(forward)
        _forget(back)
    except (Unreachable, psycopg.OperationalError):
        _tidy(forward)
        return None
    except psycopg.Error as exc:
        raise SyncError(_said(exc)) from exc
    _completed(asked, project, publisher, CompleteBar(epoch=move.epoch), evidence)
    return found


# --- the service's database ---


def _shut(forward: Direction, move: Move, tell: Tell) -> None:
    """Fence what may answer still, before the other side is opened; what is gone is barred when it comes back."""
    try:
        with open_database(forward.target_url, forward.target, _NAME) as service:
            _fence(service, forward, move.epoch)
    except (Unreachable, psycopg.OperationalError) as exc:
        tell(f"{_said(exc)}; strangler sync run fences it as soon as it does")
        return
    tell("the service's database is fenced")


def _fence(service: psycopg.Connection, forward: Direction, epoch: int) -> None:
    around = fencing.fence_of(forward)
    if fence.standing(service, around.capability) is None:  # restored from a backup, or made anew
        install.prepare(service)
        fencing.install(service, around)
    fence.claim(service, around.capability, epoch)
    fence.raise_fence(service, around, epoch=epoch, owner=Stack.MONOLITH, budget_s=_SHUT_S)


def _read(service: psycopg.Connection, back: Direction) -> Lost:
    """Return what was written behind the watermark, which stays in the monolith until this is known."""
    with open_database(back.target_url, back.target, _NAME) as monolith:
        at = watermark.standing(monolith, back.name) if watermark.exists(monolith) else None
    if at is None:
        return Lost(since=0, why="the monolith has no watermark of its stream any more")
    install.free_slot(service, back.name, grace_s=0)  # whoever reads on applies nothing any more
    return lost.read(service, back, at.lsn)


# --- the monolith's database ---


def _open(back: Direction, move: Move, tell: Tell) -> None:
    """Let writers in, once nothing of the stream can be applied any more: whoever does so finds another epoch."""
    around = fencing.fence_of(back)
    with open_database(back.target_url, back.target, _NAME) as monolith:
        fence.claim(monolith, back.capability, move.epoch)
        if watermark.exists(monolith):
            with monolith.transaction():  # whoever applies holds it for an instant, and whoever was stopped for ever
                monolith.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(int(1000 * _LOCK_S))))
                watermark.end(monolith, back.name, move.epoch, _ENDED)
        standing = fence.standing(monolith, back.capability)
        if standing is not None and standing.raised:
            with monolith.transaction():
                fence.hold(monolith, around, move.epoch)
                sequences.count_far(monolith, _oids(monolith, around.tables))
        fence.lower_fence(monolith, around, epoch=move.epoch, budget_s=_LOWER_S)
    tell("the monolith may write")


def _oids(connection: psycopg.Connection, tables: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in tables:
        quoted = identifier(name).as_string(connection)
        row = connection.execute("select to_regclass(%s)::oid::bigint", [quoted]).fetchone()
        if row is not None and row[0] is not None:
            found[name] = row[0]
    return found


def _tidy(forward: Direction) -> None:
    """Keep nothing of the monolith's WAL for a copy that is to be made anew."""
    with (
        suppress(SyncError, psycopg.Error),  # whoever bars the service tries again
        open_database(forward.source_url, forward.source, _NAME) as monolith,
    ):
        install.close_source(monolith, forward)


def _forget(back: Direction) -> None:
    with open_database(back.target_url, back.target, _NAME) as monolith:
        install.remove_from_target(monolith, back)


# --- steps that are done until they are ---


def _patiently(act: Callable[[], None], what: str, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while True:
        try:
            act()
            return
        except StaleEpoch as exc:
            raise Unfinished(f"{what}: {exc}") from exc
        except (SyncError, psycopg.Error) as exc:
            if time.monotonic() > until:
                raise Unfinished(f"{what}: {_said(exc)}; mend that, or stop it, then strangler resume") from exc
            time.sleep(_AGAIN_S)


def _said(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]


def _completed(
    asked: Asked, project: Project, publisher: Publisher, command: Command, evidence: Mapping[str, Any]
) -> None:
    """Write a step into the ledger, unless somebody else has done so."""
    started = time.monotonic()
    publisher.ledger.reconnect(project)
    try:
        publication = publisher.ledger.apply(_change(asked, command, evidence))
    except Refused:
        return
    with suppress(Unacknowledged):  # it is committed: who is late hears of it
        publisher.push(publication, started=started, wait_s=WAIT_S)


def _change(asked: Asked, command: Command, evidence: Mapping[str, Any], epoch: int | None = None) -> Change:
    return Change(
        capability=asked.capability,
        command=command,
        who=asked.who,
        reason=asked.reason,
        epoch=epoch,
        evidence=evidence,
    )
