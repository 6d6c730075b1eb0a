"""``sync``: the service's copy of a capability's tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from strangler.capability import Stage
from strangler.cli import map as mapping
from strangler.cli import repair, streams, sync_check, verify
from strangler.cli.shell import CapabilityName, Failure, err, files_of, out, shell, show_data, who
from strangler.ledger import Publisher
from strangler.project import Project
from strangler.sync import syncing
from strangler.sync.backfill import Submit
from strangler.sync.copying import Copying, copy
from strangler.sync.plan import FREELY, Progress, Throttle

app = typer.Typer(help="The service's copy of a capability's tables.", no_args_is_help=True)

_SILENCE_S: Final = 10.0


@app.callback()
def sync() -> None:
    """The service's copy of a capability's tables."""


app.command("map")(mapping.draft_map)
app.command("check")(sync_check.check)
app.command()(verify.verify)
app.command()(repair.repair)
app.command()(streams.start)
app.command()(streams.run)
app.command("status")(streams.show_status)
app.command()(streams.remove)


@app.command()
def backfill(
    context: typer.Context,
    capability: CapabilityName,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the history.")] = "backfill",
    replace: Annotated[bool, typer.Option("--replace", help="Empty the service's tables and copy anew.")] = False,
    inline: Annotated[bool, typer.Option("--inline", help="Copy in this process, without Celery.")] = False,
    chunk_rows: Annotated[
        int | None, typer.Option("--chunk-rows", min=1, help="About how many rows a chunk has; by itself, some 32 MB.")
    ] = None,
    rows_per_second: Annotated[
        float | None, typer.Option("--rows-per-second", min=1, help="Copy no faster than this.")
    ] = None,
    max_lag: Annotated[
        float | None, typer.Option("--max-lag", min=1, help="Wait while the stream is so many seconds behind.")
    ] = None,
) -> None:
    """Copy a capability's rows into its service; an unfinished copy is carried on."""
    project = shell(context).project()
    files_of(project, capability)
    asked = Copying(
        capability=capability,
        who=who(),
        reason=reason,
        replace=replace,
        submit=None if inline else _submitter(project),
        chunk_rows=chunk_rows,
        throttle=Throttle(rows_per_s=rows_per_second, lag_s=max_lag),
    )
    with Publisher.open(project) as publisher:
        rows = _show(copy(asked, project, publisher), capability, throttled=asked.throttle != FREELY)
        state = publisher.ledger.state(capability)
        if state.stage is Stage.SYNCING:
            _complete(syncing.Asked(capability=capability, who=who(), reason=reason), project, publisher)
        else:
            out.print(f"{capability}: {rows:,} rows copied; the service holds a {show_data(state)}")


def _complete(asked: syncing.Asked, project: Project, publisher: Publisher) -> None:
    out.print(f"{asked.capability}: all rows are copied; comparing both sides", style="dim")
    verdict = verify.watched(syncing.complete(asked, project, publisher, verify.warn))
    out.print(verify.view(verdict, out.width))
    if not verdict.equal:
        raise Failure(
            f"{asked.capability} stays in stage {Stage.SYNCING}, since the two sides differ; see who writes to the"
            " service's tables, then begin anew: strangler sync remove, strangler sync start --replace"
        )
    out.print(f"{asked.capability}: stage {Stage.SHADOW}; the stream keeps the copy as the monolith's rows are")


def _submitter(project: Project) -> Submit:
    try:
        from strangler.jobs import submitter
    except ImportError as exc:
        raise Failure("Celery is not installed; run: pip install 'strangler[jobs]', or say --inline") from exc
    return submitter(project)


def _show(progress: Iterator[Progress], capability: str, *, throttled: bool) -> int:
    rows, silent_since, warned = 0, time.monotonic(), False
    with _bar() as bar:
        task = bar.add_task(capability, total=None, remaining="")
        for step in progress:
            if step.rows_done != rows:
                silent_since = time.monotonic()
            rows = step.rows_done
            left = step.remaining_s
            words = "" if left is None or left < 1 else f"about {left:,.0f} s left"
            bar.update(task, total=max(step.rows, step.rows_done), completed=step.rows_done, remaining=words)
            if not (warned or throttled) and rows < step.rows and time.monotonic() - silent_since > _SILENCE_S:
                warned = True
                bar.console.print("no worker takes chunks; is one running? (strangler up, or --inline)", style="yellow")
    return rows


def _bar() -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        _Pace(),
        TextColumn("{task.fields[remaining]}"),
        console=err,
    )


class _Pace(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} rows/s" if speed else "", style="dim")
