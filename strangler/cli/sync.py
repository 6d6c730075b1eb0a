"""``sync``: the service's copy of a capability's tables."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Annotated, Final

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from strangler.capability import Stage
from strangler.cli import map as mapping
from strangler.cli import refill, repair, streams, sync_check, verify
from strangler.cli.shell import CapabilityName, Failure, UsualReason, err, files_of, out, shell, show_data, who
from strangler.ledger import Publisher
from strangler.project import Project
from strangler.sync import syncing
from strangler.sync.backfill import Submit
from strangler.sync.copying import Copying, copy
from strangler.sync.plan import Progress, Throttle

app = typer.Typer(
    help="Keep the service's copy of a capability's tables equal: begin, copy, follow, prove, end.",
    no_args_is_help=True,
)

_SILENCE_S: Final = 10.0


@app.callback()
def sync() -> None:
    """Keep the service's copy of a capability's tables equal: begin, copy, follow, prove, end."""


def backfill(
    context: typer.Context,
    capability: CapabilityName,
    reason: UsualReason = "backfill",
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
    max_source_load: Annotated[
        int | None,
        typer.Option("--max-source-load", min=1, help="Wait while more sessions than this are active on the source."),
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
        throttle=Throttle(rows_per_s=rows_per_second, lag_s=max_lag, busy=max_source_load),
    )
    with Publisher.open(project) as publisher:
        rows = _show(copy(asked, project, publisher), capability)
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


def _show(progress: Iterator[Progress], capability: str) -> int:
    last: Progress | None = None
    with _bar() as bar:
        task = bar.add_task(capability, total=None, remaining="")
        remarks = _Remarks(bar.console, capability)
        try:
            for step in progress:
                last = step
                total = max(step.rows, step.rows_done)
                bar.waits = step.waits
                bar.update(task, total=total, completed=step.rows_done, remaining=_remaining(step))
                remarks.hear(step, time.monotonic())
        except KeyboardInterrupt:
            if last is not None:
                done = f"{last.rows_done:,} of {last.rows:,} rows"
                words = f"{capability}: paused, {done} are copied; the same command goes on from there"
                err.print(words, style="yellow", markup=False, soft_wrap=True)
            raise
    return last.rows_done if last else 0


def _remaining(step: Progress) -> str:
    left = step.remaining_s
    return "" if left is None or left < 1 else f"about {left:,.0f} s left"


class _Remarks:
    """What is said beside the bar, at most every 10 s: that no worker is there, and without a terminal why it waits."""

    def __init__(self, console: Console, capability: str) -> None:
        self._console, self._capability = console, capability
        self._rows, self._moved_at = -1, 0.0
        self._warned, self._said_at = False, -math.inf

    def hear(self, step: Progress, now: float) -> None:
        if step.rows_done != self._rows or step.waits is not None:
            self._rows, self._moved_at = step.rows_done, now
        elif not self._warned and step.rows_done < step.rows and now - self._moved_at > _SILENCE_S:
            self._warned = True
            self._console.print("no worker takes chunks; is one running? (strangler up, or --inline)", style="yellow")
        if step.waits is not None and not self._console.is_terminal and now - self._said_at > _SILENCE_S:
            self._said_at = now
            self._console.print(f"{self._capability} waits: {step.waits}", markup=False, soft_wrap=True)


class _Bar(Bar):
    """The bar, and below it what the copy waits for."""

    waits: str | None = None

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.waits is not None:
            yield Text(f"waits: {self.waits}", style="yellow")


def _bar() -> _Bar:
    return _Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
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


# In the order in which a capability comes to them.
app.command("map")(mapping.draft_map)
app.command("check")(sync_check.check)
app.command()(streams.start)
app.command()(streams.run)
app.command()(backfill)
app.command("status")(streams.show_status)
app.command()(verify.verify)
app.command()(repair.repair)
app.command()(refill.refill)
app.command()(streams.remove)
