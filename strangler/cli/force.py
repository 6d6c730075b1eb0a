"""A rollback that is forced: what would be lost is said first, and somebody has to accept it."""

from __future__ import annotations

import sys
from typing import Final

import typer

from strangler.cli.shell import Failure, out, print_json
from strangler.cutover import forcing
from strangler.cutover.forcing import Forced, Loss
from strangler.ledger import Publisher
from strangler.project import Project
from strangler.sync.syncing import Asked

ACCEPT: Final = "--accept-loss"


def force(
    asked: Asked, project: Project, publisher: Publisher, *, accepted: bool, dry_run: bool = False, as_json: bool
) -> None:
    """Say what would be lost, have that accepted, and make the monolith the owner."""
    epoch = publisher.ledger.state(asked.capability).epoch
    loss = forcing.look(asked.capability, project, publisher)
    if not as_json:
        _show(asked.capability, loss)
    if dry_run:
        if as_json:
            print_json({"capability": asked.capability, "loss": loss.to_json()})
        else:
            out.print("nothing was changed")
        return
    _have_accepted(asked.capability, accepted=accepted)
    forced = forcing.force(asked, project, publisher, loss, epoch=epoch, tell=_unheard if as_json else _say)
    conclude(forced, as_json=as_json, loss=loss)


def conclude(forced: Forced, *, as_json: bool, loss: Loss | None = None) -> None:
    if as_json:
        print_json({**forced.to_json(), **({} if loss is None else {"loss": loss.to_json()})})
        return
    name = forced.capability
    out.print(f"{name}: the monolith owns it now (epoch {forced.epoch}), by force")
    if forced.lost is None:
        out.print(
            "  the service's database is not fenced: keep its tasks and other writers stopped, start it only beside a"
            " running strangler sync run, which fences it within a second or two",
            style="yellow",
            soft_wrap=True,
        )
        return
    out.print(f"  the service's database is fenced; {forced.lost}", markup=False, soft_wrap=True)
    if forced.lost.transactions:
        out.print(f"  which they are: strangler history {name} --json (move-lost); the rows stay in its tables")
    out.print(f"  the copy is to be made anew once nobody needs those: strangler sync start {name} --replace")


def _show(capability: str, loss: Loss) -> None:
    out.print(f"{capability}: {loss.why}", markup=False, soft_wrap=True)
    out.print(str(loss), style="bold red", markup=False, soft_wrap=True)


def _have_accepted(capability: str, *, accepted: bool) -> None:
    if accepted:
        return
    if not sys.stdin.isatty():
        raise Failure(f"nothing was changed: whoever accepts that loss says {ACCEPT}")
    if typer.prompt("Type the capability's name to accept that loss", default="", show_default=False) != capability:
        raise Failure("that is not its name; nothing was changed")


def _say(words: str) -> None:
    out.print(f"  {words}", markup=False)


def _unheard(words: str) -> None:
    """Say nothing of the steps: what came of them is in the JSON at the end."""
