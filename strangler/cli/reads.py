"""``set`` and ``override``: who answers reads."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from strangler.capability import Command, Data, SetReads, Stack, State, transit
from strangler.cli.shell import (
    CapabilityName,
    Failure,
    NoWait,
    Reason,
    Shell,
    files_of,
    out,
    parse_cohort,
    parse_duration,
    parse_share,
    shell,
    show_share,
    who,
)
from strangler.ledger import Acknowledgement, Change, Publication, Publisher
from strangler.ledger.publish import WAIT_S
from strangler.project import CapabilityFiles, Project
from strangler.routing.keys import sign_override
from strangler.sync import syncing


def set_reads(
    context: typer.Context,
    capability: CapabilityName,
    reason: Reason,
    reads: Annotated[str | None, typer.Option("--reads", help="The service's share of readers, as in 25%.")] = None,
    cohort: Annotated[
        list[str] | None, typer.Option("--cohort", help="NAME=service, NAME=monolith or NAME=off; repeatable.")
    ] = None,
    allow_stale: Annotated[
        bool,
        typer.Option("--allow-stale", help="Readers may see the service's copy as it is, older than the owner's rows."),
    ] = False,
    epoch: Annotated[
        int | None, typer.Option("--epoch", help="Refuse unless the capability is still at this epoch.")
    ] = None,
    no_wait: NoWait = False,
) -> None:
    """Change which readers of a capability its service answers."""
    if reads is None and not cohort:
        raise typer.BadParameter("say --reads, --cohort, or both")
    project = shell(context).project()
    cohorts = dict(parse_cohort(each) for each in cohort or [])
    _refuse_unknown(files_of(project, capability), cohorts)
    share = None if reads is None else parse_share(reads)
    command = SetReads(share=share, cohorts=cohorts, allow_stale=allow_stale)
    change(project, capability, command, reason, epoch=epoch, no_wait=no_wait)


def override(
    context: typer.Context,
    capability: CapabilityName,
    stack: Annotated[Stack, typer.Option("--stack", help="The stack that should answer.")] = Stack.SERVICE,
    lasting: Annotated[str, typer.Option("--for", help="How long it is good: 90s, 30m, 8h, 7d.")] = "8h",
) -> None:
    """Sign a tester's wish for one stack; it holds for reads only, and never against a kill."""
    project = shell(context).project()
    files_of(project, capability)
    expires = int(time.time()) + parse_duration(lasting)
    token = sign_override(capability, stack, expires, project.control.keys())
    typer.echo(f"X-Strangler-Override: {token}")


def _refuse_unknown(files: CapabilityFiles, cohorts: dict[str, Stack | None]) -> None:
    names = [each.name for each in files.cohorts]
    for name, stack in cohorts.items():
        if stack is not None and name not in names:
            raise Failure(f"{files.name} has no cohort named {name!r}; there: {', '.join(names) or 'none yet'}")


def change(
    project: Project, capability: str, command: Command, reason: str, *, epoch: int | None, no_wait: bool
) -> None:
    """Make a change of who answers reads, and say what came of it."""
    with Publisher.open(project) as publisher:
        seen = publisher.ledger.state(capability).epoch if epoch is None and isinstance(command, SetReads) else epoch
        if isinstance(command, SetReads):
            _refuse_stale(project, capability, command, publisher.ledger.state(capability))
        change = Change(capability=capability, command=command, who=who(), reason=reason, epoch=seen)
        publication, acknowledgement = publisher.change(change, project, wait_s=None if no_wait else WAIT_S)
    out.print(f"{capability}: {_difference(publication)}")
    out.print(say_arrival(acknowledgement, no_wait=no_wait))


def _refuse_stale(project: Project, capability: str, command: SetReads, state: State) -> None:
    if state.data is not Data.STREAMED or command.allow_stale:
        return
    after = transit(state, command)
    copy = state.owner.other
    cohorts = after.cohorts.items() - state.cohorts.items()
    more = after.share > state.share if copy is Stack.SERVICE else after.share < state.share
    if more or any(stack is copy for _, stack in cohorts):
        syncing.refuse_stale(capability, project)


def _difference(publication: Publication) -> str:
    before, after = publication.before, publication.after
    if before is None or after is None:
        return ""
    parts = [f"reads {show_share(before.share)} → {show_share(after.share)}"]
    if before.cohorts != after.cohorts:
        parts.append(f"cohorts {_cohorts(before)} → {_cohorts(after)}")
    if before.killed != after.killed:
        parts.append("killed" if after.killed else "kill cleared")
    if before.read_only != after.read_only:
        parts.append("writes refused" if after.read_only else "writes taken again")
    if before.stage != after.stage:
        parts.append(f"stage {before.stage} → {after.stage}")
    return f"{', '.join(parts)} [dim](epoch {after.epoch})[/]"


def _cohorts(state: State) -> str:
    return " ".join(f"{name}={stack}" for name, stack in state.cohorts.items()) or "none"


def say_arrival(acknowledgement: Acknowledgement, *, no_wait: bool) -> str:
    """Return how a publication arrived at the proxies, as one line."""
    version = f"version {acknowledgement.version}"
    if no_wait:
        return f"{version} is committed; not waited for."
    if not acknowledgement.workers:
        return f"{version} is committed; no proxy worker is live, the next one to start routes by it."
    by = "worker routes" if acknowledgement.workers == 1 else "workers route"
    way = "" if acknowledgement.pushed else ", through the database: Valkey does not answer"
    return f"{version}: {acknowledgement.workers} {by} by it after {acknowledgement.ms:.0f} ms{way}."


__all__ = ["Shell", "change", "override", "say_arrival", "set_reads"]
