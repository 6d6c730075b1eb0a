"""``sync check``: whether streams can be begun, and the statements that make them so."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from strangler.cli.shell import AsJson, CapabilityName, Failure, complain, err, files_of, out, print_json, shell
from strangler.project import Project, ProjectInvalid
from strangler.project.values import printable
from strangler.sync.check import NOT_LOOKED_AT, WHERE, Finding, Level
from strangler.sync.check import check as look
from strangler.sync.direction import Direction, directions
from strangler.sync.errors import NotListed, SyncError
from strangler.sync.manage import ask
from strangler.sync.pending import Listing, parse

_STOPPED: Final = 1
_NOT_CHECKED: Final = 2
_MARKS: Final = {Level.STOP: ("✗", "red"), Level.WARN: ("!", "yellow")}


def check(
    context: typer.Context,
    capability: CapabilityName,
    migrations: Annotated[
        str,
        typer.Option("--migrations", metavar="FILE", help="Pending migrations, as manage.py lists them; - for stdin."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Say what stands in the way of a capability's streams, with the statements that mend it. Writes nothing.

    Exit code 0 when nothing does, 1 when something does, 2 when it could not be looked at.
    """
    try:
        project = shell(context).project()
        forward = directions(files_of(project, capability), project)[0]
        findings = [*look(forward, _read(migrations))] if migrations else _asked(forward, project)
    except (SyncError, ProjectInvalid, Failure) as exc:
        complain(exc)
        raise typer.Exit(_NOT_CHECKED) from exc
    if as_json:
        print_json([asdict(each) for each in findings])
    else:
        _show(capability, findings)
    if any(each.level is Level.STOP for each in findings):
        raise typer.Exit(_STOPPED)


def _read(name: str) -> Listing:
    """Return the listing that a file has. Raises ``Failure``, ``NotListed``."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise Failure(f"--migrations {name} cannot be read: {exc}") from exc
    return parse(text, "standard input" if name == "-" else name)


def _asked(forward: Direction, project: Project) -> list[Finding]:
    """Return the findings where manage.py itself is asked, or that nobody is."""
    if project.manage is None:
        return [*look(forward), Finding(level=Level.WARN, where=WHERE, found=NOT_LOOKED_AT)]
    try:
        listing = ask(project.manage, project.root)
    except NotListed as exc:
        return [*look(forward), Finding(level=Level.STOP, where=WHERE, found=str(exc))]
    return [*look(forward, listing)]


def _show(capability: str, findings: Sequence[Finding]) -> None:
    for each in findings:
        mark, style = _MARKS[each.level]
        err.print(Text.assemble((f"{mark} ", style), (each.where, "bold"), ": ", printable(each.found)), soft_wrap=True)
    for line in _statements(findings):
        out.print(printable(line), markup=False, soft_wrap=True)
    if not any(each.level is Level.STOP for each in findings):
        err.print(f"{capability}: streams can be begun", style="green", markup=False)


def _statements(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield SQL and nothing else, so that it may be pasted, or piped, whole: what only might be wished, as comments."""
    for where in dict.fromkeys(each.where for each in findings if each.statement):
        yield f"-- in the {where}, as an administrator"
        yield from dict.fromkeys(_statement(each) for each in findings if each.where == where and each.statement)


def _statement(finding: Finding) -> str:
    perhaps = "-- perhaps: " if finding.level is Level.WARN else ""
    return f"{perhaps}{finding.statement};{' -- then restart the server' if finding.restart else ''}"
