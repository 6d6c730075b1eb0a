"""``retire``: the way back given up, by two people."""

from __future__ import annotations

from typing import Annotated

import typer

from strangler.capability import Data, Stage
from strangler.cli.shell import CapabilityName, Failure, files_of, out, shell, who
from strangler.cutover import retiring
from strangler.ledger import Publisher
from strangler.sync.syncing import Asked
from strangler.sync.telling import duration


def retire(
    context: typer.Context,
    capability: CapabilityName,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the history.", show_default=False)] = "",
    keep_copy: Annotated[
        bool, typer.Option("--keep-copy", help="The monolith's tables go on to follow, for whoever reads them there.")
    ] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="Do what another person has proposed.")] = False,
) -> None:
    """Give up the way back of a capability whose service owns it: one person proposes it, another confirms."""
    project = shell(context).project()
    files_of(project, capability)
    asked = Asked(capability=capability, who=who(), reason=reason)
    with Publisher.open(project) as publisher:
        state = publisher.ledger.state(capability)
        if confirm and keep_copy:
            raise typer.BadParameter("what was proposed is confirmed as it is", param_hint="--keep-copy")
        if state.stage is Stage.RETIRED:
            retiring.clear(capability, project, publisher)
            out.print(f"{capability} is retired already; nothing is left that it needs no more")
            return
        if confirm:
            proposed = retiring.confirm(asked, project, publisher)
            said = f"{proposed.who} proposed it ({proposed.reason}), {asked.who} confirmed"
            out.print(f"{capability} is retired: {said}", markup=False)
            followed = publisher.ledger.state(capability).data is Data.STREAMED
            out.print(f"  the monolith's tables are fenced{', and follow the service' if followed else ''}")
            return
        if not reason.strip():
            raise typer.BadParameter("say why", param_hint="--reason")
        _propose(
            asked,
            publisher,
            keep_copy=keep_copy,
            found=retiring.propose(asked, project, publisher, keep_copy=keep_copy),
        )


def _propose(asked: Asked, publisher: Publisher, *, keep_copy: bool, found: retiring.Found) -> None:
    name = asked.capability
    proposal = publisher.ledger.proposal(name, retiring.ACTION)
    if proposal is None:
        raise Failure(f"somebody has confirmed it meanwhile; see strangler history {name}")
    out.print(f"{name}: all rows were compared {duration(found.verified_s)} ago, and equal. To retire it means:")
    for each in retiring.effects(name, keep_copy=keep_copy):
        out.print(f"  - {each}", markup=False)
    until = f"{proposal.expires_at.astimezone():%Y-%m-%d %H:%M}"
    out.print(f"Proposed. Another person confirms it until {until}: strangler retire {name} --confirm")
