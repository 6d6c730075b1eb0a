"""``check``: everything that the files promise, tried; and what can be told of one service."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from strangler.check import Finding, Wrong, proof
from strangler.check import check as look
from strangler.cli.shell import AsJson, Failure, out, print_json, shell
from strangler.conforming import Bounds, Subject, Verdict, examine
from strangler.conforming import Finding as Found
from strangler.project import Project
from strangler.routing.address import parse_endpoint

_MARKS: Final[Mapping[Verdict, str]] = {
    Verdict.PASS: "[green]✓[/]",
    Verdict.FAIL: "[red]✗[/]",
    Verdict.INCONCLUSIVE: "[yellow]?[/]",
}


def check(
    context: typer.Context,
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Ask this service whether it may stand behind the proxy.")
    ] = "",
    run: Annotated[
        str, typer.Option("--run", metavar="COMMAND", help="Start the service by this, and see how it stops, too.")
    ] = "",
    grace: Annotated[
        float, typer.Option("--grace", min=1, max=600, help="Seconds in which it has to end after SIGTERM.")
    ] = Bounds().grace,
    as_json: AsJson = False,
) -> None:
    """Validate the files, connect everywhere, and say every problem at once."""
    if run and not service:
        raise typer.BadParameter("--run starts a service; name it with --service")
    if service:
        _examine(shell(context).project(), service, Bounds(grace=grace), run, as_json=as_json)
        return
    findings = look(shell(context).project())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        out.print(_table((mark, each.subject, text) for each in findings for mark, text in [_said(each)]))
    if any(finding.wrong for finding in findings):
        raise typer.Exit(1)


def _said(finding: Finding) -> tuple[str, str]:
    if finding.wrong is not None:
        return "[red]✗[/]", finding.wrong
    return ("[green]✓[/]", finding.detail) if finding.warning is None else ("[yellow]![/]", finding.warning)


def _table(rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for mark, *texts in rows:
        table.add_row(mark, *map(escape, texts))
    return table


# --- one service ---


def _examine(project: Project, name: str, limits: Bounds, run: str, *, as_json: bool) -> None:
    upstream = project.services.get(name)
    if upstream is None:
        known = ", ".join(project.services) or "none yet"
        raise Failure(f"there is no service named {name!r}; there: {known}")
    endpoints = upstream.endpoints[:1] if run else upstream.endpoints
    found = {each: examine(_subject(project, name, each), limits=limits, command=run) for each in endpoints}
    if as_json:
        print_json([{"endpoint": at, **asdict(finding)} for at, findings in found.items() for finding in findings])
    else:
        for endpoint, findings in found.items():
            _show(name, endpoint, findings)
    if any(each.verdict is Verdict.FAIL for findings in found.values() for each in findings):
        raise typer.Exit(1)


def _subject(project: Project, name: str, endpoint: str) -> Subject:
    return Subject.of(project, name, endpoint, _proof(project, endpoint))


def _proof(project: Project, endpoint: str) -> ssl.SSLContext | None:
    try:
        return proof(project.proxy.tls) if parse_endpoint(endpoint).secure else None
    except Wrong as exc:
        raise Failure(str(exc)) from exc


def _show(name: str, endpoint: str, findings: Sequence[Found]) -> None:
    out.print(f"{name} at {endpoint}", markup=False)
    out.print(_table((_MARKS[each.verdict], each.rule, _told(each)) for each in findings))
    counted = {verdict: sum(each.verdict is verdict for each in findings) for verdict in Verdict}
    out.print(", ".join(f"{count} {verdict}" for verdict, count in counted.items()), markup=False)


def _told(finding: Found) -> str:
    told = f"{finding.asked}: {finding.came}"
    return f"{told}\n→ {finding.would_do}" if finding.would_do else told
