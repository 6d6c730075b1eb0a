"""``publish``: the project's files come into force."""

from __future__ import annotations

from typing import Annotated

import typer

from strangler.cli.reads import say_arrival
from strangler.cli.shell import NoWait, UsualReason, out, shell, who
from strangler.ledger import Publisher
from strangler.ledger.publish import WAIT_S


def publish(
    context: typer.Context,
    reason: UsualReason = "files published",
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop", help="Forget a capability that is gone from the files though its service owns the data."
        ),
    ] = None,
    no_wait: NoWait = False,
) -> None:
    """Bring the ledger's schema up to date and the project's routes into force."""
    project = shell(context).project()
    for name in set(drop or []) & set(project.capabilities):
        raise typer.BadParameter(f"{name} is still in the files; take its folder out first", param_hint="--drop")
    with Publisher.open(project) as publisher:
        publication, acknowledgement = publisher.enrol(
            project, who=who(), reason=reason, wait_s=None if no_wait else WAIT_S, drop=drop or ()
        )
    if publication is None or acknowledgement is None:
        out.print("the files are in force already")
        return
    count = len(project.capabilities)
    out.print(f"{count} {'capability is' if count == 1 else 'capabilities are'} in force")
    out.print(say_arrival(acknowledgement, no_wait=no_wait))
