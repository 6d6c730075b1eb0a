"""``sync map``: what begins a move of tables, drafted from the monolith's catalogue."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from strangler.cli.shell import CapabilityName, Failure, err, out, shell
from strangler.project.values import printable
from strangler.sync.draft import Finding, Weight
from strangler.sync.drafting import Drafted, draft_move

_WEIGHTS: Final = {Weight.DECIDE: ("decide", "bold yellow"), Weight.KNOW: ("know", "dim")}


def draft_map(
    context: typer.Context,
    capability: CapabilityName,
    tables: Annotated[
        str, typer.Option("--tables", help="The monolith's tables, with commas between.", show_default=False)
    ],
    service: Annotated[
        str | None, typer.Option("--service", help="The service, for a capability that is new.", show_default=False)
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the files; without it they are only shown.")] = False,
) -> None:
    """Draft a capability's mapping and its service's tables from the monolith's catalogue."""
    names = list(dict.fromkeys(name.strip() for name in tables.split(",") if name.strip()))
    if not names:
        raise Failure("no table was named; say --tables reviews_review,reviews_photo")
    here = shell(context)
    drafted = draft_move(here.project(), here.project_file, capability, names, service)
    if write:
        drafted.write()
    else:
        _show_mapping(drafted.draft.mapping)
    for line in _report(drafted, write):
        err.print(line)


def _show_mapping(text: str) -> None:
    if out.is_terminal:
        out.print(Syntax(text, "toml", theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        typer.echo(text, nl=False)


def _report(drafted: Drafted, written: bool) -> Iterator[Text | Padding]:
    findings = drafted.draft.findings
    for table in dict.fromkeys(each.table for each in findings):
        yield Text(printable(table), style="bold")
        yield Padding(_grid([each for each in findings if each.table == table]), (0, 0, 1, 2))
    count = sum(each.weight is Weight.DECIDE for each in findings)
    mapped = drafted.draft.mapped
    yield Text(
        f"{_many(len(mapped), 'table')} mapped to {drafted.service}, parents first: {', '.join(mapped)}", "green"
    )
    yield Text(f"{_many(count, 'thing')} to decide" if count else "nothing to decide", "yellow" if count else "green")
    paths = ", ".join(_near(path) for path in drafted.files)
    yield Text(f"written: {paths}" if written else f"nothing is written yet; --write makes {paths}")
    if written and drafted.example_route:
        yield Text(f"the route {drafted.example_route} in capability.toml is an example: name the real ones", "yellow")


def _grid(findings: Sequence[Finding]) -> Table:
    shown = Table.grid(padding=(0, 2))
    for each in sorted(findings, key=lambda finding: finding.weight is Weight.KNOW):
        word, style = _WEIGHTS[each.weight]
        shown.add_row(Text(word, style), Text(printable(each.text)))
        for choice in each.choices:
            if not choice.startswith(" "):  # what is meant to be copied stands in the file
                shown.add_row("", Text(printable(choice), "dim"))
    return shown


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _near(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
