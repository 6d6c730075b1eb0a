"""``kill``: away from a service that does harm, at once and latched."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from strangler.capability import Clear, Kill, RefuseWrites, Stack, State, transit
from strangler.cli import force as forced
from strangler.cli.cutover import AcceptLoss, say, show_gates
from strangler.cli.reads import change, say_arrival
from strangler.cli.shell import CapabilityName, Failure, NoWait, Reason, files_of, out, shell, who
from strangler.cli.verify import warn, watched
from strangler.cutover import killing, moving
from strangler.cutover.conductor import PAUSE_S, Unfinished
from strangler.cutover.protocol import End
from strangler.ledger import Publisher, Unacknowledged
from strangler.ledger.publish import WAIT_S
from strangler.project import Project
from strangler.sync.errors import SyncError
from strangler.sync.syncing import Asked

_CHOICES: Final = (
    "\nWhat is left:\n"
    "  strangler kill {0} --read-only --reason ...  writes are refused, whoever can answers reads; nothing is lost\n"
    "  strangler kill {0} --force --reason ...      the monolith owns at once, without what it lacks; says what that is"
)


def kill(
    context: typer.Context,
    capability: CapabilityName,
    reason: Reason,
    clear: Annotated[
        bool, typer.Option("--clear", help="Take the latch off, and writes again; reads stay with the owner.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="After a cutover: go back without being asked.")] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="After a cutover: refuse writes, and have reads answered by who can.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="After a cutover: go back without what the monolith lacks.")
    ] = False,
    accept_loss: AcceptLoss = False,
    no_wait: NoWait = False,
) -> None:
    """Send every read of a capability to the monolith and latch it there; after a cutover, writes, too."""
    _refuse_mixed(clear=clear, read_only=read_only, force=force, accept_loss=accept_loss)
    project = shell(context).project()
    files_of(project, capability)
    if clear:
        change(project, capability, Clear(), reason, epoch=None, no_wait=no_wait)
        return
    asked = Asked(capability=capability, who=who(), reason=reason)
    with Publisher.open(project) as publisher:
        state = publisher.ledger.state(capability)
        if read_only:
            transit(state, RefuseWrites(reason=reason, readers=Stack.SERVICE))
            _refuse_writes(asked, project, publisher, yes=yes, no_wait=no_wait)
            return
        if state.moving is not None and not force:  # what is forced is so whatever is under way
            state = _end_move(asked, project, publisher, no_wait=no_wait)
            if state.owner is Stack.MONOLITH:
                return
        if state.owner is Stack.SERVICE:
            transit(state, Kill(reason=reason))  # refuses what has no way back
            if force:
                forced.force(asked, project, publisher, accepted=accept_loss, as_json=False)
            else:
                _go_back(asked, project, publisher, yes=yes)
        elif force:
            raise Failure(f"the monolith owns {capability} already; a kill needs no force")
    _latch(project, asked, no_wait=no_wait)


def _refuse_mixed(*, clear: bool, read_only: bool, force: bool, accept_loss: bool) -> None:
    if clear + read_only + force > 1:
        raise typer.BadParameter("say one of --clear, --read-only and --force")
    if accept_loss and not force:
        raise typer.BadParameter("without --force nothing is lost", param_hint=forced.ACCEPT)


def _latch(project: Project, asked: Asked, *, no_wait: bool) -> None:
    out.print(f"{asked.capability}: every read goes to the owner now; share 0 %, cohorts and overrides off, latched.")
    change(project, asked.capability, Kill(reason=asked.reason), asked.reason, epoch=None, no_wait=no_wait)


def _end_move(asked: Asked, project: Project, publisher: Publisher, *, no_wait: bool) -> State:
    """Latch reads first, then bring the move to its end: back, where it has not switched."""
    out.print(
        f"{asked.capability}: its owner is being moved; reads are latched now, and the move is brought to its end."
    )
    try:
        change(project, asked.capability, Kill(reason=asked.reason), asked.reason, epoch=None, no_wait=no_wait)
    except Unacknowledged as exc:  # whoever is late keeps nobody from going back
        warn(str(exc))
    try:
        state = killing.settle(asked, project, publisher, told=say)
    except Unfinished as exc:
        raise Failure(f"{exc}{_CHOICES.format(asked.capability)}") from exc
    out.print(f"{asked.capability}: the {state.owner} owns it (epoch {state.epoch})")
    return state


def _go_back(asked: Asked, project: Project, publisher: Publisher, *, yes: bool) -> None:
    name = asked.capability
    out.print(
        f"{name}: its service owns the data. A kill goes back: writes wait for {PAUSE_S:g} s at most, nothing that was"
        " acknowledged is lost; then the monolith owns, answers every read, and that is latched."
    )
    _have_confirmed(yes=yes)
    try:
        moved = moving.move(
            asked,
            Stack.MONOLITH,
            project,
            publisher,
            told=say,
            measured=show_gates,
            tell=warn,
            watch=watched,
            urgent=True,
        )
    except moving.GateFailed as exc:
        raise Failure(f"{name} stays with its service: {exc}{_CHOICES.format(name)}") from exc
    except SyncError as exc:
        raise Failure(
            f"{name} stays with its service, since there is no going back: {exc}{_CHOICES.format(name)}"
        ) from exc
    if moved.owner is not Stack.MONOLITH:
        raise Failure(f"{name} stays with its service ({moved.end}): {moved.why}{_CHOICES.format(name)}")
    if moved.end is End.MOVED:
        waited = "" if moved.pause_ms is None else f"; writes waited {moved.pause_ms:.0f} ms at most"
        out.print(f"{name}: the monolith owns it now (epoch {moved.epoch}){waited}")


def _refuse_writes(asked: Asked, project: Project, publisher: Publisher, *, yes: bool, no_wait: bool) -> None:
    name = asked.capability
    out.print(f"{name}: the proxies will refuse every write of it with 503, until: strangler kill {name} --clear")
    _have_confirmed(yes=yes)
    arrived = killing.refuse_writes(asked, project, publisher, wait_s=None if no_wait else WAIT_S)
    if publisher.ledger.state(name).share:
        out.print(f"{name}: writes are refused; its service answers every read")
    else:
        out.print(f"{name}: writes are refused; the monolith answers every read, with its rows as they came last")
    out.print(say_arrival(arrived, no_wait=no_wait))


def _have_confirmed(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure("nothing was changed: to do that without being asked, say --yes")
    if not typer.confirm("Go on?"):
        raise Failure("nothing was changed")
