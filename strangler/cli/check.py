"""``check``: everything that the files promise, tried."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.markup import escape
from rich.table import Table

from strangler.check import Finding
from strangler.check import check as look
from strangler.cli.shell import AsJson, out, print_json, shell


def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Validate the files, connect everywhere, and say every problem at once."""
    findings = look(shell(context).project())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for finding in findings:
            mark, text = _said(finding)
            table.add_row(mark, escape(finding.subject), escape(text))
        out.print(table)
    if any(finding.wrong for finding in findings):
        raise typer.Exit(1)


def _said(finding: Finding) -> tuple[str, str]:
    if finding.wrong is not None:
        return "[red]✗[/]", finding.wrong
    return ("[green]✓[/]", finding.detail) if finding.warning is None else ("[yellow]![/]", finding.warning)
