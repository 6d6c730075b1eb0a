"""``fence``: who writes a capability's tables, and what keeps everybody but the sync from doing so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from strangler.cli.shell import (
    AsJson,
    CapabilityName,
    Failure,
    Reason,
    UsualReason,
    complete_capability,
    files_of,
    out,
    parse_duration,
    print_json,
    shell,
    who,
)
from strangler.ledger import Publisher
from strangler.project.values import printable
from strangler.sync import observing, raising
from strangler.sync.observed import NAME_MOST, Kind
from strangler.sync.observing import Standing
from strangler.sync.status import FRESH_S
from strangler.sync.syncing import Asked
from strangler.sync.telling import duration
from strangler.sync.writers import Found, FoundBoth, Place, Report

app = typer.Typer(help="See who writes a capability's tables, and keep out who may not.", no_args_is_help=True)
_LONGEST_S: Final = 90 * 86_400
_STYLES: Final = {
    Place.INSIDE: "[green]inside[/]",
    Place.OUTSIDE: "[red]outside[/]",
    Place.ALLOWED: "[yellow]allowed[/]",
    Place.EARLIER: "[dim]earlier[/]",
}
_TIME: Final = "%Y-%m-%d %H:%M"


@app.callback()
def fence() -> None:
    """See who writes a capability's tables, and keep out who may not."""


def parse_writer(text: str) -> tuple[Kind, str]:
    """Return a writer as ``fence report`` names it: KIND:NAME."""
    kind, _, name = text.partition(":")
    if kind not in tuple(Kind) or not 0 < len(name) <= NAME_MOST:
        kinds = ", ".join(Kind)
        raise typer.BadParameter(
            f"{text!r} is no writer; say it as fence report does, KIND:NAME, where KIND is one of {kinds}"
        )
    return Kind(kind), name


def parse_time(text: str) -> int:
    """Return for how long writers are observed, in seconds."""
    seconds = parse_duration(text)
    if not 0 < seconds <= _LONGEST_S:
        raise typer.BadParameter(f"{text!r} is no time to observe; say it from 1s to 90d, as in 7d")
    return seconds


@app.command()
def observe(
    context: typer.Context,
    capability: CapabilityName,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="How long; it ends by itself.")] = "7d",
    off: Annotated[bool, typer.Option("--off", help="End it now.")] = False,
    reason: UsualReason = "to see who writes",
) -> None:
    """Have every statement that writes the capability's tables told, with who ran it; all of them pass."""
    project = shell(context).project()
    files_of(project, capability)
    seconds = parse_time(lasting)
    asked = Asked(capability=capability, who=who(), reason=reason)
    with Publisher.open(project) as publisher:
        if off:
            observing.end(asked, project, publisher)
            out.print(
                f"{capability} is not observed any more; what was seen stays: strangler fence report {capability}"
            )
            return
        stack = observing.begin(asked, seconds, project, publisher)
    out.print(
        f"{capability}: who writes its tables in the {stack}'s database is told for {duration(seconds)}; all may."
    )
    out.print("  strangler sync run", "[dim]counts them, and ends it; keep it running[/]")
    out.print(f"  strangler fence report {capability}", "[dim]shows who was seen[/]")


@app.command()
def allow(
    context: typer.Context,
    capability: CapabilityName,
    writer: Annotated[
        str, typer.Option("--writer", metavar="KIND:NAME", help="As fence report names it.", show_default=False)
    ],
    reason: Reason,
) -> None:
    """Note that a writer from outside may meet the fence: it gets an error there, and that is known."""
    project = shell(context).project()
    files_of(project, capability)
    kind, name = parse_writer(writer)
    with Publisher.open(project) as publisher:
        observing.allow(Asked(capability=capability, who=who(), reason=reason), kind, name, project, publisher)
    out.print(f"{capability}: [bold]{escape(printable(writer))}[/] may meet the fence, and keeps no owner where it is")


@app.command("raise")
def raise_fence(context: typer.Context, capability: CapabilityName, reason: Reason) -> None:
    """Raise the fence anew around the tables of who does not own, as they are now; nothing passes it from then on."""
    project = shell(context).project()
    files_of(project, capability)
    with Publisher.open(project) as publisher:
        raised = raising.raise_anew(Asked(capability=capability, who=who(), reason=reason), project, publisher)
    out.print(f"{capability}: the {raised.stack} is fenced as its tables are now (epoch {raised.epoch})")
    for each in raised.drift:
        out.print(f"  since it was raised last: {printable(each)}", markup=False, soft_wrap=True)
    out.print(f"  strangler sync verify {capability}", "[dim]shows what was written past it; no earlier one counts[/]")


@app.command("status")
def show_status(
    context: typer.Context,
    capability: Annotated[
        str | None, typer.Argument(metavar="CAPABILITY", help="Only this one's.", autocompletion=complete_capability)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show where writers are kept out, and where they are observed."""
    project = shell(context).project()
    if capability is not None:
        files_of(project, capability)
    found = observing.standings(project, [capability] if capability is not None else [])
    if as_json:
        print_json([each.to_json() for each in found])
        return
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in ("capability", "database of the", "writers"):
        table.add_column(name, overflow="fold")
    for each in found:
        table.add_row(each.capability, str(each.stack), _state(each))
    out.print(table)


def _state(each: Standing) -> str:
    claim = each.claim
    if each.problem is not None:
        return f"[red]not known: {escape(printable(each.problem))}[/]"
    if claim is None:
        return "[dim]may write: there is no fence[/]"
    if claim.raised:
        passed = f"; [red]{escape(printable('; '.join(each.drift)))}[/]" if each.drift else ""
        return f"kept out since epoch {claim.raised_on}{passed}"
    if claim.observing:
        until = "" if each.until is None else f" until {each.until.astimezone():{_TIME}}"
        return f"may write, [yellow]observed{until}[/]"
    return "may write"


@app.command("report")
def show_report(context: typer.Context, capability: CapabilityName, as_json: AsJson = False) -> None:
    """Show who was seen writing a capability's tables, and what is to be done before its owner moves."""
    project = shell(context).project()
    files_of(project, capability)
    found = observing.reported(capability, project)
    if as_json:
        print_json(found.to_json())
        return
    if found.observation is None:
        raise Failure(f"{capability} was never observed; run: strangler fence observe {capability}")
    out.print(_headline(found))
    if found.writers:
        out.print(_writers(found.writers))
    for each in found.writers:
        for line in _about(each):
            out.print(line)
    for pair in found.both:
        out.print(_both(pair, capability))
    for line in _rest(found):
        out.print(line, style="dim")


def _headline(found: Report) -> str:
    seen = found.observation
    assert seen is not None  # noqa: S101  # asked before
    state = f"until {seen.until.astimezone():{_TIME}}" if seen.ended_at is None else f"until it ended: {seen.why}"
    gap = "without a gap"
    if found.missed_s:
        gap = f"with gaps of {duration(found.missed_s)} in all"
    return (
        f"{found.capability}: observed in the {seen.stack}'s database for {duration(found.seconds)}, {gap}"
        f" ({escape(printable(state))}); {found.statements:,} statements of {len(found.writers)} writers"
    )


def _writers(found: Sequence[Found]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in ("", "writer", "role", "statements", "last seen", "tables"):
        table.add_column(name, justify="right" if name == "statements" else "left", overflow="fold")
    for each in found:
        table.add_row(
            _STYLES[each.place],
            escape(str(each.writer)),
            escape(each.writer.role),
            f"{each.count.number:,}",
            f"{each.count.last_at.astimezone():{_TIME}}",
            escape(", ".join(sorted(name.removeprefix("public.") for name in each.count.tables))),
        )
    return table


def _about(each: Found) -> Iterator[str]:
    """Yield what is to be done about a writer, and by which statement it is found in the code."""
    if each.todo:
        yield f"[red]→[/] [bold]{escape(str(each.writer))}[/]: {escape(each.todo)}"
        yield f"  [dim]{escape(each.count.sample)}[/]"


def _both(each: FoundBoth, capability: str) -> str:
    both = each.both
    return (
        f"{_STYLES[each.place]} {each.times.number:,} transactions in which [bold]{escape(str(both.own))}[/] wrote"
        f" {capability}, and [bold]{escape(str(both.others))}[/] wrote {escape(both.other)}: what is one transaction"
        " now will be two, and one of them may fail alone"
    )


def _rest(found: Report) -> Iterator[str]:
    if found.observation is not None and found.observation.ended_at is None and not found.is_on:
        yield "right now not every statement is told of; strangler sync run sees to that, is it running?"
    if found.behind_s is None or found.behind_s > FRESH_S:
        last = "" if found.behind_s is None else f" in the last {duration(found.behind_s)}"
        yield f"what was written{last} is not counted yet; strangler sync run does so, is it running?"
    if found.unseen:
        names = ", ".join(sorted(found.unseen))
        yield f"transactions that write another capability, too, are seen where that is observed as well; not: {names}"
