"""What a person sees: the steps of a start, one table of what runs where, and a line that stays."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from strangler.demo.family import Member

_REFRESHES_S: Final = 10
_UNFOLDED: Final = 120  # columns, where there is no terminal to fit into


class Step:
    """One step under way. ``tell`` says how far it is; ``total`` 0 is not known yet."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def tell(self, done: int, total: int, what: str = "") -> None:
        if total:
            self._bars.update(self._task, completed=done, total=total, detail=f"{done:,}/{total:,} {what}")


class Steps:
    """Several steps at once: a spinner or a bar each on a terminal, a line each elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            _Seconds(),
            _Bar(bar_width=24),
            TextColumn("[dim]{task.fields[detail]}[/]"),
            console=console,
            refresh_per_second=_REFRESHES_S,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Steps:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        """Show ``what`` as under way until the end of the block, then that and how long it took."""
        begun = time.monotonic()
        task = self._bars.add_task(escape(what), total=None, detail="", over=False)
        yield Step(self._bars, task)
        known = next(each for each in self._bars.tasks if each.id == task)
        total = known.total or 1
        self._bars.update(task, total=total, completed=total, over=True)
        if not self._console.is_terminal:
            detail = known.fields["detail"]
            self._console.print(f"✓ {what}{f', {detail}' if detail else ''} ({time.monotonic() - begun:.1f} s)")


class _Bar(BarColumn):
    """A bar for a step that can be counted, nothing for another or when it is over."""

    def render(self, task: Task) -> Text:  # type: ignore[override]  # both are renderables
        if task.total is None or task.fields["over"]:
            return Text()
        return super().render(task)  # type: ignore[return-value]


class _Seconds(ProgressColumn):
    def render(self, task: Task) -> Text:
        seconds = task.finished_time if task.finished else task.elapsed
        return Text(f"{seconds or 0:5.1f} s", style="dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Poster:
    """What is told once everything runs: ``hints`` are commands with what each shows."""

    members: Sequence[Member]
    hints: Sequence[tuple[str, str]]
    root: Path
    address: str
    seconds: float

    def print(self, console: Console) -> None:
        console.print()
        console.print(self._table(), width=None if console.is_terminal else _UNFOLDED)
        if self.hints:
            console.print("\n[bold]Try[/] [dim](in another terminal, in this folder)[/]")
        for command, shows in self.hints:
            console.print(f"  [dim]# {escape(shows)}[/]\n  {escape(command)}", soft_wrap=True)
        address = f"[bold]{self.address}[/] is " if self.address else ""
        console.print(f"\n{address}ready after {self.seconds:.1f} s. Ctrl-C stops all of it.\n", soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
        for column in ("runs", "where", "pid", "log"):
            table.add_column(column, justify="right" if column == "pid" else "left", no_wrap=True)
        for member in self.members:
            table.add_row(member.name, member.address, str(member.pid), f"[dim]{escape(self._short(member.log))}[/]")
        return table

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


class Line:
    """One line that is rewritten on a terminal; elsewhere its first part is written when that changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(Text(), console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._last = ""

    def __enter__(self) -> Line:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, standing: Text, rates: Text) -> None:
        """Show where the capabilities stand, and, on a terminal, what flows."""
        if self._live:
            line = Text.assemble(standing, "   ", rates, no_wrap=True, overflow="ellipsis")
            self._live.update(line, refresh=True)
        elif standing.plain != self._last:
            self._last = standing.plain
            self._console.print(standing.plain, soft_wrap=True)

    def say(self, event: str) -> None:
        """Tell of something that happened, above the line."""
        self._console.print(f"{time.strftime('%H:%M:%S')} {event}", style="yellow", markup=False, soft_wrap=True)
