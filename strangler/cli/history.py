"""``history``: who decided what, when and why."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from strangler.capability import State
from strangler.cli.shell import AsJson, complete_capability, files_of, out, print_json, shell, show_share
from strangler.ledger import Entry, Ledger
from strangler.routing.table import state_to_json


def history(
    context: typer.Context,
    capability: Annotated[
        str | None, typer.Argument(metavar="CAPABILITY", help="Only this one's.", autocompletion=complete_capability)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the ledger: every transition, the newest first."""
    project = shell(context).project()
    with Ledger.open(project) as ledger:
        entries = ledger.history(capability, limit)
    if capability is not None and not entries:  # one that has left the files has its history yet
        files_of(project, capability)
    if as_json:
        print_json([_plain(entry) for entry in entries])
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("when", "capability", "epoch", "what", "who", "why"):
        table.add_column(column, no_wrap=column == "when", justify="right" if column == "epoch" else "left")
    for entry in entries:
        when = f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}"
        table.add_row(when, entry.capability, str(entry.epoch), _what(entry), escape(entry.who), escape(entry.reason))
    out.print(table if entries else "nothing was decided yet")


def _plain(entry: Entry) -> dict[str, object]:
    states = {"before": entry.before, "after": entry.after}
    plain = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return {**plain, **{key: state_to_json(state) if state else None for key, state in states.items()}}


def _what(entry: Entry) -> str:
    before, after = entry.before or State(), entry.after or State()
    parts = [entry.command]
    if before.share != after.share:
        parts.append(f"{show_share(before.share)} → {show_share(after.share)}")
    names = sorted(before.cohorts.keys() | after.cohorts.keys())
    moved = (name for name in names if before.cohorts.get(name) != after.cohorts.get(name))
    return " ".join([*parts, *(f"{name}={after.cohorts.get(name, 'off')}" for name in moved)])
