"""``strangler``: the root of the command line."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from strangler.capability import Refused
from strangler.cli import (
    check,
    cutover,
    demo,
    examples,
    fence,
    history,
    kill,
    local,
    playbook,
    proxy,
    publish,
    reads,
    retire,
    status,
    sync,
    top,
)
from strangler.cli.shell import Failure, Shell, complain
from strangler.cutover.conductor import Unfinished
from strangler.ledger import LedgerError
from strangler.project import ProjectInvalid
from strangler.sync.errors import SyncError

app = typer.Typer(
    name="strangler",
    help="Moves a Django monolith to services one business capability at a time, with a way back at every step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=examples.paragraphs(*examples.WAY),
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"strangler {version('strangler')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    project: Annotated[
        Path, typer.Option("--project", envvar="STRANGLER_PROJECT", help="The installation's file.")
    ] = Path("strangler.toml"),
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    context.obj = Shell(project)


# As the page of help has them, panel by panel.
app.command()(check.check)
app.command()(publish.publish)
app.command()(proxy.up)
app.command()(proxy.proxy)
app.command()(local.local)
app.command()(demo.demo)
app.command()(status.status)
app.command()(playbook.playbook)
app.command()(top.top)
app.command()(history.history)
app.command("set")(reads.set_reads)
app.command()(reads.override)
app.command()(cutover.cutover)
app.command()(cutover.resume)
app.command()(retire.retire)
app.command()(kill.kill)
app.command()(cutover.rollback)
app.add_typer(sync.app, name="sync")
app.add_typer(fence.app, name="fence")
examples.furnish(app)


def main() -> None:
    """Run the command line: a failure is one plain sentence on standard error and a non-zero exit.

    ``STRANGLER_DEBUG=1`` shows where an unexpected one came from.
    """
    try:
        app()
    except (ProjectInvalid, Refused, LedgerError, SyncError, Unfinished, Failure) as exc:
        complain(exc)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as exc:
        if os.environ.get("STRANGLER_DEBUG"):
            raise
        complain(Failure(f"this was not foreseen: {type(exc).__name__}: {exc} (STRANGLER_DEBUG=1 shows where)"))
        sys.exit(1)
