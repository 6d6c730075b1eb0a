"""``status``: where every capability stands, and who routes by what."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from strangler.capability import Phase, State
from strangler.cli.shell import (
    AsJson,
    out,
    print_json,
    shell,
    show_data,
    show_owner,
    show_share,
    show_stage,
    until_interrupted,
)
from strangler.ledger import Publisher, Worker
from strangler.ledger.publish import LIVE_S
from strangler.project import Project
from strangler.routing.table import state_to_json

# Fast enough to watch a toggle arrive, slow enough to cost nothing: two small queries a time.
_REFRESH_S = 0.5


def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show every change; Ctrl-C leaves.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where every capability stands."""
    project = shell(context).project()
    with Publisher.open(project) as publisher:
        if as_json:
            print_json(_plain(publisher, project))
        elif watch:
            _watch(publisher)
        else:
            out.print(_view(publisher))


def _watch(publisher: Publisher) -> None:
    with until_interrupted(), Live(_view(publisher), console=out, auto_refresh=False) as live:
        while True:
            time.sleep(_REFRESH_S)
            live.update(_view(publisher), refresh=True)


def _plain(publisher: Publisher, project: Project) -> dict[str, object]:
    newest = publisher.ledger.newest()
    return {
        "version": newest.version if newest else None,
        "capabilities": {
            name: {**state_to_json(state), **_team(project, name)} for name, state in publisher.ledger.states().items()
        },
        "workers": [
            {
                "id": worker.id,
                "about": worker.about,
                "version": worker.version,
                "age_s": round(worker.age, 3),
                "live": worker.age <= LIVE_S,
            }
            for worker in publisher.workers()
        ],
    }


def _team(project: Project, name: str) -> dict[str, str | None]:
    """Return who looks after a capability, as the files here say."""
    files = project.capabilities.get(name)
    team = files.team if files is not None else None
    return {"team": team.name if team else None, "contact": (team.contact or None) if team else None}


def _view(publisher: Publisher) -> RenderableType:
    newest = publisher.ledger.newest()
    states = publisher.ledger.states()
    lines: list[RenderableType] = [_capabilities(states) if states else Text("no capability is published yet")]
    if newest is not None:
        lines += [Text(), _workers(publisher.workers(), newest.version)]
    return Group(*lines)


def _capabilities(states: dict[str, State]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("capability", "stage", "reads", "cohorts", "owner", "data", "epoch"):
        table.add_column(column, justify="right" if column in ("reads", "epoch") else "left")
    for name, state in states.items():
        cohorts = " ".join(f"{cohort}={stack}" for cohort, stack in state.cohorts.items()) or "–"
        table.add_row(
            name,
            show_stage(state),
            show_share(state.share),
            cohorts,
            show_owner(state),
            show_data(state),
            str(state.epoch),
        )
        if state.killed is not None:
            table.add_row("", f"[red]{escape(state.killed)}[/]")
        if state.read_only is not None:
            table.add_row("", f"[red]takes no writes: {escape(state.read_only)}[/]")
        if state.move is not None and state.move.phase is Phase.BARRING:
            table.add_row("", "[red]its service's database is not fenced since the forced rollback[/]")
    return table


def _workers(workers: list[Worker], version: int) -> RenderableType:
    live = [worker for worker in workers if worker.age <= LIVE_S]
    late = [worker for worker in live if worker.version < version]
    if not live:
        return Text(f"routing table {version}; no proxy worker is live", style="yellow")
    if late:
        names = ", ".join(f"{worker.about} at {worker.version}" for worker in late)
        return Text(f"routing table {version}; {len(late)} of {len(live)} workers are behind: {names}", style="red")
    return Text(f"routing table {version}, routed by all {len(live)} live workers", style="green")
