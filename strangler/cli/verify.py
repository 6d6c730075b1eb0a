"""``sync verify``: whether the service's tables hold what the monolith's rows make."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from strangler.cli.shell import AsJson, CapabilityName, Failure, complain, err, files_of, out, print_json, shell
from strangler.project import ProjectInvalid
from strangler.project.values import printable
from strangler.sync.errors import SyncError
from strangler.sync.pgoutput import lsn_text
from strangler.sync.since import Proof, verify_changed
from strangler.sync.syncing import leading, settling
from strangler.sync.verdicts import keeping
from strangler.sync.verify import (
    CHUNK_ROWS,
    TOLD,
    Cell,
    Difference,
    Kind,
    Progress,
    TableVerdict,
    Verdict,
    Verifying,
    pause,
    to_json,
)

Found = TypeVar("Found")

_DIFFERENT: Final = 1
_NOT_COMPARED: Final = 2
# What a row of differing values has around them: the column's name, and the gaps.
_AROUND: Final = 6
_NARROWEST: Final = 12
# Of a value in JSON: a page of text. One value in PostgreSQL may have a gigabyte.
_WIDTH: Final = 2_000
# A key tells which row it is, so it is given room; most are numbers, and a uuid has 36 characters.
_KEY: Final = 60
# Columns of one row: a screenful. A row that differs in more is another row, and JSON tells all of them.
_COLUMNS: Final = 20


def verify(
    context: typer.Context,
    capability: CapabilityName,
    table: Annotated[
        list[str] | None, typer.Option("--table", help="Only this table, by its name on either side; repeatable.")
    ] = None,
    as_json: AsJson = False,
    rows: Annotated[int, typer.Option("--rows", min=0, help="How many differing rows of a table to tell.")] = TOLD,
    chunk_rows: Annotated[
        int, typer.Option("--chunk-rows", min=1, help="About how many rows a statement reads.")
    ] = CHUNK_ROWS,
    width: Annotated[
        int, typer.Option("--width", min=_NARROWEST, help="How many characters of a value --json tells.")
    ] = _WIDTH,
    changed_since: Annotated[
        str | None,
        typer.Option(
            "--changed-since",
            metavar="POSITION",
            help="Only rows changed since this position of the WAL, or since 'last': the last verify of all rows.",
        ),
    ] = None,
) -> None:
    """Prove by checksums that the service holds what the mapping makes of the monolith's rows.

    Exit code 0 when all is equal, 1 when not, 2 when it could not be compared.
    """
    try:
        project = shell(context).project()
        files = files_of(project, capability)
        asked = Verifying(capability=capability, tables=tuple(table or ()), told=rows, chunk_rows=chunk_rows)
        if changed_since is None:
            if files.tables:
                stream = leading(capability, project)
                settle = settling(stream)
                asked = replace(asked, settle=settle, proving=settle is not pause, way=stream.way)
            part = None if table is None else ", ".join(table)
            verdict = watched(keeping(asked, project, warn, part=part))
            _show(verdict, to_json(verdict, width) if as_json else None)
        else:
            if files.tables:
                asked = replace(asked, way=leading(capability, project).way)
            proof = watched(verify_changed(asked, changed_since, project, warn))
            verdict = proof.verdict
            if not as_json:
                out.print(_changed(proof))
            _show(verdict, proof.to_json(width) if as_json else None)
    except (SyncError, ProjectInvalid, Failure) as exc:
        complain(exc)
        raise typer.Exit(_NOT_COMPARED) from exc
    if not verdict.equal:
        raise typer.Exit(_DIFFERENT)


def _show(verdict: Verdict, values: dict[str, Any] | None) -> None:
    if values is None:
        out.print(view(verdict, out.width))
    else:
        print_json(values)


def warn(words: str) -> None:
    """Say on standard error what does no harm to the answer."""
    err.print(words, style="yellow", markup=False, soft_wrap=True)


def watched(steps: Generator[Progress, None, Found]) -> Found:
    """Show the progress of a comparison, and return what it found."""
    with _bar() as bar:
        tasks = {}
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                found: Found = end.value
                return found
            if step.target not in tasks:
                tasks[step.target] = bar.add_task(step.target, total=None, pace="", remaining="")
            pace = f"{step.rows_done / step.seconds:,.0f} rows/s" if step.rows_done and step.seconds else ""
            left = step.remaining_s
            words = "" if left is None or left < 1 else f"about {left:,.0f} s left"
            bar.update(tasks[step.target], total=step.rows, completed=step.rows_done, pace=pace, remaining=words)


def _bar() -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TextColumn("[dim]{task.fields[pace]}[/]"),
        TextColumn("{task.fields[remaining]}"),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


# --- what a person reads ---


def _changed(proof: Proof) -> Text:
    """Return what was compared of each table, and between which positions it was changed."""
    counts = [f"{table} {_keys(number)}" for table, number in proof.compared.items()]
    positions = f"{lsn_text(proof.since)}, up to {lsn_text(proof.until)}"
    return Text(f"changed since {positions}: {', '.join(counts)}", style="dim")


def _keys(number: int | None) -> str:
    if number is None:
        return "all rows"
    return f"{number:,} {'key' if number == 1 else 'keys'}"


def view(verdict: Verdict, width: int) -> RenderableType:
    """Return what a person reads of a verdict, ``width`` columns wide."""
    parts: list[RenderableType] = [_tables(verdict), Text()] if verdict.tables else []
    for table in verdict.tables:
        if not table.equal:
            parts += [*_differences(table, width), Text()]
    return Group(*parts, _sentence(verdict))


def _tables(verdict: Verdict) -> Table:
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("table", "monolith", "service", "ranges", "split", "differ", "in flight", "seconds", ""):
        shown.add_column(column, justify="left" if column in ("table", "") else "right", no_wrap=column != "table")
    for table in verdict.tables:
        mark = Text("equal", style="green") if table.equal else Text("different", style="bold red")
        numbers = (table.monolith_rows, table.service_rows, table.ranges, table.splits)
        shown.add_row(
            escape(table.target),
            *(f"{number:,}" for number in numbers),
            f"{_at_least(table)}{table.found:,}",
            f"{table.in_flight:,}",
            f"{table.seconds:.1f}",
            mark,
        )
    return shown


def _at_least(table: TableVerdict) -> str:
    return "≥ " if table.unseen_ranges else ""


def _sentence(verdict: Verdict) -> Text:
    rows = sum(table.monolith_rows for table in verdict.tables)
    if verdict.equal:
        return Text(f"{verdict.capability}: equal, {rows:,} rows in {verdict.seconds:.1f} s", style="green")
    names = ", ".join(table.target for table in verdict.tables if not table.equal)
    if verdict.undecided:
        words = (
            f"not decided in {names}: such rows are compared again while nobody writes, or under the fence of a cutover"
        )
        return Text(f"{verdict.capability}: {words}", style="bold yellow")
    return Text(f"{verdict.capability}: different in {names}", style="bold red")


_KINDS: Final = {Kind.MISSING: "missing in the service", Kind.EXTRA: "only in the service", Kind.DIFFERING: "differing"}


def _differences(table: TableVerdict, width: int) -> Iterator[RenderableType]:
    counts = (table.missing, table.extra, table.differing)
    said = [f"{count:,} {_KINDS[kind]}" for count, kind in zip(counts, Kind, strict=True) if count]
    if table.unseen_ranges:
        said.append(f"and up to {table.unseen_rows:,} more in {table.unseen_ranges:,} ranges that were not looked at")
    if table.moving:
        said.append(f"{table.moving:,} of them written on both sides while they were looked at")
    yield Text.assemble((table.target, "bold"), " ", (f"(from {table.source})", "dim"), ": ", ", ".join(said))
    rows = [each for each in table.differences if each.cells]
    if rows:
        yield from _side_by_side(rows, width)
    for kind in (Kind.MISSING, Kind.EXTRA):
        keys = [_key(each) for each in table.differences if each.kind is kind]
        if keys:
            yield Text(f"  {_KINDS[kind]}: {' · '.join(keys)}")
    untold = table.found - len(table.differences)
    if untold > 0:
        yield Text(f"  {untold:,} more are not told; --rows tells more of them", style="dim")


def _side_by_side(rows: Sequence[Difference], width: int) -> Iterator[Text]:
    names = max(len(cell.column) for row in rows for cell in row.cells)
    room = max(_NARROWEST, (width - names - _AROUND) // 2)
    shown = [[(cell.column, *_fitting(cell, room)) for cell in row.cells[:_COLUMNS]] for row in rows]
    left = max(cell_len(monolith) for cells in shown for _, monolith, _ in cells)

    def line(name: str, monolith: str, service: str, style: str = "") -> Text:
        padded = f"  {name:<{names}}  {set_cell_size(monolith, max(left, _NARROWEST))}  {service}"
        return Text(padded, style, no_wrap=True, overflow="ellipsis")

    yield line("", "monolith", "service", "bold")
    for row, cells in zip(rows, shown, strict=True):
        yield Text(f"  {_key(row)}", style="dim", no_wrap=True, overflow="ellipsis")
        yield from (line(*cell) for cell in cells)
        if len(row.cells) > _COLUMNS:
            yield Text(f"  and {len(row.cells) - _COLUMNS:,} more columns; --json tells them", style="dim")


def _fitting(cell: Cell, room: int) -> tuple[str, str]:
    """Return both values in at most ``room`` cells of the terminal: a character takes two at the most."""
    shown = cell.shown(room)
    return shown if max(map(cell_len, shown)) <= room else cell.shown(room // 2)


def _key(difference: Difference) -> str:
    return ", ".join(f"{column} = {_short(printable(value))}" for column, value in difference.key.items())


def _short(value: str) -> str:
    return value if len(value) <= _KEY else value[: _KEY - 1] + "…"
