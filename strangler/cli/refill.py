"""``sync refill``: the tables of who does not own made what the owner's are, after a database was put back."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from strangler.capability import Refused
from strangler.cli import verify
from strangler.cli.shell import CapabilityName, Failure, Reason, complain, err, files_of, out, shell, who
from strangler.ledger import LedgerError, Publisher
from strangler.project import ProjectInvalid
from strangler.sync import refilling
from strangler.sync.errors import SyncError
from strangler.sync.plan import Progress
from strangler.sync.refilling import Refilled
from strangler.sync.syncing import Asked

_DIFFERENT: Final = 1
_NOT_DONE: Final = 2


def refill(
    context: typer.Context,
    capability: CapabilityName,
    reason: Reason,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss", help="Also where the owner's database was put back, and only the other side has it."
        ),
    ] = False,
    chunk_rows: Annotated[
        int | None, typer.Option("--chunk-rows", min=1, help="About how many rows a range has; by itself, some 32 MB.")
    ] = None,
) -> None:
    """Fill the tables of who does not own from the owner's, begin both streams anew, and compare.

    Exit code 0 when both sides are equal then, 1 when not, 2 when it could not be done.
    """
    try:
        project = shell(context).project()
        files_of(project, capability)
        asked = Asked(capability=capability, who=who(), reason=reason)
        with Publisher.open(project) as publisher:
            steps = refilling.refill(asked, project, publisher, accept_loss=accept_loss, chunk_rows=chunk_rows)
            _tell(capability, _watched(steps, capability))
        verdict = verify.watched(refilling.prove(capability, project, verify.warn))
    except (SyncError, LedgerError, ProjectInvalid, Refused, Failure) as exc:
        complain(exc)
        raise typer.Exit(_NOT_DONE) from exc
    out.print(verify.view(verdict, out.width))
    if not verdict.equal:
        raise typer.Exit(_DIFFERENT)


def _tell(capability: str, found: Refilled) -> None:
    for name, rows in found.tables.items():
        counts = f"{rows.inserted:,} inserted, {rows.updated:,} updated, {rows.deleted:,} deleted"
        out.print(f"{capability}: {name}: {counts}", markup=False, soft_wrap=True)
    out.print(
        f"{capability}: the {found.stack}'s tables are filled, and both streams begun anew; comparing", style="dim"
    )


def _watched(steps: Generator[Progress, None, Refilled], capability: str) -> Refilled:
    with _bar() as bar:
        task = bar.add_task(capability, total=None, remaining="")
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                found: Refilled = end.value
                return found
            left = step.remaining_s
            words = "" if left is None or left < 1 else f"about {left:,.0f} s left"
            bar.update(task, total=step.rows, completed=step.rows_done, remaining=words)


def _bar() -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TextColumn("{task.fields[remaining]}"),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
