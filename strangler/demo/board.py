"""The table of a tour's steps: it grows on a terminal, and stands at the end elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from strangler.capability import Stack
from strangler.demo.judge import Leg, Step
from strangler.demo.tally import Tally
from strangler.demo.traffic import Crowd, Traffic

_DRAW_S: Final = 0.5
_SHORTEST_S: Final = 0.05  # between two looks at a rate
_TOLD: Final = 5  # failures of a step that are told in words


class Board:
    """The table of the steps: it grows on a terminal, and stands at the end elsewhere."""

    def __init__(
        self,
        name: str,
        steps: Sequence[Step],
        tally: Tally,
        traffic: Traffic,
        console: Console,
        heal: Callable[[], None],
    ) -> None:
        self._name, self._steps, self._tally, self._traffic = name, steps, tally, traffic
        self._console, self._heal = console, heal
        self.leg: tuple[Leg, Crowd] | None = None
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._last = 0, time.monotonic()

    async def __aenter__(self) -> Board:
        if self._live:
            self._live.start()
        self._task = asyncio.create_task(self._draw())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
        else:
            self._console.print(self._table(), width=_UNFOLDED)

    def tell(self, step: Step, failures: Sequence[str]) -> None:
        if not self._live:
            self._console.print(f"{step.name}: {step.observed_share:.2%} of {step.visitors:,} visitors, "
                                f"{step.failures:,} failed", highlight=False)  # fmt: skip
        if step.found is not None:
            words = f"  {step.name}: {step.found.words}"
            self._console.print(words, style="dim" if step.found.holds else "red", highlight=False, markup=False)
        for failure in failures[:_TOLD]:
            self._console.print(f"  {step.name}: {failure}", style="red", markup=False)
        if len(failures) > _TOLD:
            self._console.print(f"  {step.name}: and {len(failures) - _TOLD:,} more", style="red")

    async def _draw(self) -> None:
        while True:
            self._heal()
            if self._live:
                self._live.update(self._table(), refresh=True)
            await asyncio.sleep(_DRAW_S)

    def _table(self) -> Table:
        rows = [(_row(step), "") for step in self._steps]
        if self.leg is not None:
            rows.append((self._under_way(*self.leg), "bold"))
        # A narrow terminal shows what decides.
        shown = [name not in _LEFT_OUT or not self._is_narrow for name in _COLUMNS]
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in compress(_COLUMNS, shown):
            head = self._name if name == "step" else name
            table.add_column(head, justify="left" if name in ("step", "") else "right", no_wrap=True)
        for row, style in rows:
            table.add_row(*compress(row, shown), style=style)
        return table

    @property
    def _is_narrow(self) -> bool:
        return self._live is not None and self._console.width < _UNFOLDED

    def _under_way(self, leg: Leg, crowd: Crowd) -> list[str]:
        self._tally.read()
        found = self._tally.of_crowd(crowd.number)
        counts = {stack: sum(stacks.count(stack) for stacks in found.values()) for stack in Stack}
        answered = sum(counts.values())
        observed = f"{counts[Stack.SERVICE] / answered:.2%}" if answered else ""
        return [
            leg.name, f"{leg.asked:.2%}", observed, f"{crowd.gone:,}/{leg.visitors:,}", f"{crowd.requests:,}",
            f"{counts[Stack.MONOLITH]:,}", f"{counts[Stack.SERVICE]:,}", str(len(crowd.failures)),
            "", "", "", f"[dim]{self._rate():,.0f}/s[/]",
        ]  # fmt: skip

    def _rate(self) -> float:
        now, requests = time.monotonic(), sum(crowd.requests for crowd in self._traffic.crowds)
        (before, at), self._last = self._last, (requests, now)
        return (requests - before) / max(now - at, _SHORTEST_S)


_COLUMNS: Final = (
    "step", "asked", "observed", "visitors", "requests", "monolith", "service", "failed",
    "p50 ms", "p99 ms", "ack ms", "",
)  # fmt: skip


_LEFT_OUT: Final = {"asked", "requests", "p50 ms"}
_UNFOLDED: Final = 104  # columns that the whole table takes


def _row(step: Step) -> list[str]:
    return [
        step.name, f"{step.asked_share:.2%}", f"{step.observed_share:.2%}", f"{step.visitors:,}",
        f"{step.requests:,}", f"{step.by_stack[Stack.MONOLITH]:,}", f"{step.by_stack[Stack.SERVICE]:,}",
        str(step.failures), f"{step.p50_ms:.1f}", f"{step.p99_ms:.1f}", f"{step.ack_ms:.1f}",
        "[green]✓[/]" if step.holds else "[red]✗[/]",
    ]  # fmt: skip
