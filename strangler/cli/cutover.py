"""``cutover``, ``rollback`` and ``resume``: which stack may write a capability's data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from strangler.capability import Stack
from strangler.cli import force as forced
from strangler.cli.shell import AsJson, CapabilityName, Failure, Reason, err, files_of, out, print_json, shell, who
from strangler.cli.verify import warn, watched
from strangler.cutover import conductor, forcing, moving
from strangler.cutover.conductor import PAUSE_S, Moved, Performed
from strangler.cutover.gates import Outcome as Gated
from strangler.cutover.gates import Verdict, passes
from strangler.cutover.protocol import End, Outcome
from strangler.ledger import Publisher
from strangler.project import Project
from strangler.sync.syncing import Asked

_PAUSE: Final = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)(ms|s)")
_MARKS: Final = {Gated.PASS: "[green]✓[/]", Gated.FAIL: "[red]✗[/]", Gated.INCONCLUSIVE: "[yellow]?[/]"}
_USUAL: Final = f"{PAUSE_S:g}s"
_SHORTEST_S: Final = 0.05
_LONGEST_S: Final = 30.0


def parse_pause(text: str) -> float:
    """Return a pause such as "2s" or "500ms" in seconds."""
    match = _PAUSE.fullmatch(text)
    seconds = float(match[1]) / (1_000 if match[2] == "ms" else 1) if match else -1.0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise typer.BadParameter(f"{text!r} is no pause; say it from 50ms to 30s, as in 2s or 500ms")
    return seconds


AcceptLoss = Annotated[
    bool, typer.Option(forced.ACCEPT, help="Accept what --force says will be lost, without being asked.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Measure the gates, and move nothing.")]
PauseBudget = Annotated[
    str,
    typer.Option("--pause-budget", metavar="PAUSE", help="How long writes may wait; what takes longer is aborted."),
]


def cutover(
    context: typer.Context,
    capability: CapabilityName,
    reason: Reason,
    dry_run: DryRun = False,
    pause_budget: PauseBudget = _USUAL,
    unobserved: Annotated[
        bool, typer.Option("--unobserved", help="Also where nobody has looked at who writes its tables.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the service the owner of a capability's data: from then on it alone may write, and nothing is lost."""
    _move(
        context,
        capability,
        reason,
        Stack.SERVICE,
        dry_run=dry_run,
        pause_s=parse_pause(pause_budget),
        as_json=as_json,
        unobserved=unobserved,
    )


def rollback(
    context: typer.Context,
    capability: CapabilityName,
    reason: Reason,
    dry_run: DryRun = False,
    pause_budget: PauseBudget = _USUAL,
    force: Annotated[
        bool, typer.Option("--force", help="Go back without what the monolith lacks; the service's database is gone.")
    ] = False,
    accept_loss: AcceptLoss = False,
    as_json: AsJson = False,
) -> None:
    """Make the monolith the owner again, with all that the service has written meanwhile."""
    if accept_loss and not force:
        raise typer.BadParameter("without --force nothing is lost", param_hint=forced.ACCEPT)
    if not force:
        pause_s = parse_pause(pause_budget)
        _move(context, capability, reason, Stack.MONOLITH, dry_run=dry_run, pause_s=pause_s, as_json=as_json)
        return
    project = shell(context).project()
    files_of(project, capability)
    asked = Asked(capability=capability, who=who(), reason=reason)
    with Publisher.open(project) as publisher:
        forced.force(asked, project, publisher, accepted=accept_loss, dry_run=dry_run, as_json=as_json)


def resume(context: typer.Context, capability: CapabilityName, reason: Reason, as_json: AsJson = False) -> None:
    """Bring a move of the owner to its end that somebody has left: forward if it has switched, else back."""
    project = shell(context).project()
    files_of(project, capability)
    asked = Asked(capability=capability, who=who(), reason=reason)
    with _left_as_it_is(capability), Publisher.open(project) as publisher:
        by_force = forcing.carry_on(asked, project, publisher, tell=_unheard if as_json else _say_words)
        if by_force is not None:
            forced.conclude(by_force, as_json=as_json)
            return
        moved = conductor.carry_on(asked, project, publisher, told=quietly if as_json else say)
    if moved is None:
        raise Failure(f"the owner of {capability} is not being moved")
    _conclude(capability, moved, as_json=as_json, back_is_well=True)


@contextmanager
def _left_as_it_is(capability: str) -> Iterator[None]:
    """Say at Ctrl-C that nothing is lost by it."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(
            f"{capability}: left as it is; strangler sync run brings the move to its end, or the same command",
            style="yellow",
        )
        raise


def _move(
    context: typer.Context,
    capability: str,
    reason: str,
    to: Stack,
    *,
    dry_run: bool,
    pause_s: float,
    as_json: bool,
    unobserved: bool = False,
) -> None:
    project = shell(context).project()
    files_of(project, capability)
    asked = Asked(capability=capability, who=who(), reason=reason)
    with Publisher.open(project) as publisher:
        if dry_run:
            _try(asked, to, project, publisher, as_json=as_json, unobserved=unobserved)
            return
        try:
            moved = moving.move(
                asked,
                to,
                project,
                publisher,
                told=quietly if as_json else say,
                measured=_unseen if as_json else show_gates,
                tell=warn,
                watch=watched,
                pause_s=pause_s,
                unobserved=unobserved,
            )
        except moving.GateFailed as exc:
            if as_json:
                print_json(
                    {"capability": capability, "end": "held", "gates": [each.to_json() for each in exc.verdicts]}
                )
            raise Failure(f"{capability} stays with its owner: {exc}") from exc
    _conclude(capability, moved, as_json=as_json)


def _try(asked: Asked, to: Stack, project: Project, publisher: Publisher, *, as_json: bool, unobserved: bool) -> None:
    """Say whether a move would begin now."""
    moving.refuse(asked, to, publisher)
    found = moving.gates(asked, project, publisher, warn, watched, unobserved=unobserved)
    if as_json:
        print_json(
            {"capability": asked.capability, "passes": passes(found), "gates": [each.to_json() for each in found]}
        )
    else:
        show_gates(found)
        would = "would move now" if passes(found) else "would not begin"
        out.print(f"{asked.capability} {would}; nothing was changed")
    if not passes(found):
        raise typer.Exit(1)


# --- what a person reads ---


def show_gates(found: Sequence[Verdict]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for each in found:
        table.add_row(_MARKS[each.outcome], each.gate, escape(each.measured))
        if each.cure:
            table.add_row("", "", f"[dim]→ {escape(each.cure)}[/]")
    out.print(table)


def say(step: Performed) -> None:
    mark = "[green]✓[/]" if step.outcome is Outcome.DONE else "[yellow]![/]"
    out.print(f"{mark} {step.step:<14}{step.ms:8.1f} ms  [dim]{escape(step.said)}[/]")


def quietly(step: Performed) -> None:
    """Say nothing of a step: all of them are in the JSON at the end."""


def _say_words(words: str) -> None:
    out.print(words, markup=False)


def _unheard(words: str) -> None:
    """Say nothing of the steps."""


def _unseen(found: Sequence[Verdict]) -> None:
    """Say nothing of the gates."""


def _conclude(capability: str, moved: Moved, *, as_json: bool, back_is_well: bool = False) -> None:
    if as_json:
        print_json({"capability": capability, **moved.to_json()})
    if moved.end is End.MOVED or (moved.end is End.ABORTED and back_is_well):
        if not as_json:
            waited = "" if moved.pause_ms is None else f"; writes waited {moved.pause_ms:.0f} ms at most"
            out.print(f"{capability}: the {moved.owner} owns it now (epoch {moved.epoch}){waited}")
        return
    if moved.end is End.OVERTAKEN:
        raise Failure(
            f"somebody else has carried the move of {capability} on, and the {moved.owner} owns it now; see strangler"
            f" history {capability}"
        )
    raise Failure(f"{capability} stays with the {moved.owner} ({moved.end}): {moved.why}")
