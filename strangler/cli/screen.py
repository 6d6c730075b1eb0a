"""A frame of ``strangler top`` as a person reads it: pure, numbers in, text out.

Columns are left out while the terminal is too narrow for all. What they would have shown stands below the table in
words, where it is out of the ordinary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from strangler.cli.frame import Frame, Proxy, Row, Side
from strangler.sync.telling import duration

_STACKS: Final = {"monolith": "blue", "service": "green"}
_STAGES: Final = {**_STACKS, "canary": "yellow"}
_NONE: Final = Text("–", style="dim")
_NOTICEABLE: Final = 0.001  # of errors; more than one in a hundred is bad
_BAD: Final = 0.01
_LATE: Final = 0.1  # seconds that a worker's loop may be late without a remark: a tenth is seen by people
UNROUTED: Final = "no\N{NO-BREAK SPACE}capability"

_WIDE: Final = 132  # where all columns have room
_ROOMY: Final = 160  # and space between them

SORTS: Final[Mapping[str, tuple[str, Callable[[Row], Any]]]] = {
    "n": ("name", lambda row: row.capability or "\uffff"),
    "r": ("requests", lambda row: -row.rate),
    "e": ("errors", lambda row: -(row.errors or 0.0)),
    "l": ("latency", lambda row: -row.p99),
    "f": ("in flight", lambda row: -(row.in_flight or 0)),
}
"""What rows may be sorted by, by the key that asks for it."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column that is shown from ``width`` on; ``remark`` says in words what is out of the ordinary."""

    width: int
    title: str
    unit: str
    cell: Callable[[Row], Text]
    remark: Callable[[Row], str] = lambda row: ""
    stack: str = ""


def _stage(row: Row) -> Text:
    if row.killed:
        return Text("killed", style="bold red")
    return Text(row.stage, style=_STAGES.get(row.stage, "")) if row.stage else _NONE


def screen(frame: Frame, width: int, sort: str = "n", height: int | None = None) -> RenderableType:
    """Return ``frame`` for a terminal of ``width`` columns, sorted by one of ``SORTS``.

    With a ``height`` it is for somebody who looks on: as many rows as there is room for, and the keys.
    """
    head: list[RenderableType] = [_head(proxy) for proxy in frame.proxies]
    foot: list[RenderableType] = [_refused(frame.refused)] if frame.refused else []
    rows = sorted(frame.rows, key=SORTS[sort][1])
    remarks = _remarks(rows, width)
    foot = [*remarks[: None if height is None else height // 4], *foot]
    if height is not None:
        foot.append(_keys(sort))
    if rows:
        room = len(rows) if height is None else max(1, height - len(head) - len(foot) - _AROUND)
        head += [Text(), _table(frame.total, rows[:room], width)]
        foot = [Text(f"and {len(rows) - room} more", style="dim"), *foot] if room < len(rows) else foot
    return Group(*head, Text(), *foot) if foot else Group(*head)


# Lines that are no rows: the table's title of two and its sum, what is empty around it, and how many more there are.
_AROUND: Final = 6


def _table(total: Row, rows: Sequence[Row], width: int) -> Table:
    gap = 2 if width >= _ROOMY else 1
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_footer=True)
    # The one column that may shrink: it alone may wrap, and what has no spaces is cut instead.
    table.add_column(Text("\ncapability", style="bold"), Text("all", style="bold"), max_width=24, overflow="ellipsis")
    for column in (column for column in _COLUMNS if column.width <= width):
        table.add_column(
            Text(f"{column.title}\n{column.unit}", style=f"bold {_STACKS.get(column.stack, '')}"),
            column.cell(total),
            justify="left" if column.unit in ("stage", "breaker") else "right",
            no_wrap=True,
        )
        table.columns[-1].min_width = max(map(len, (column.title, column.unit)))
    for row in rows:
        table.add_row(_name(row), *(column.cell(row) for column in _COLUMNS if column.width <= width))
    return table


def _remarks(rows: Sequence[Row], width: int) -> list[RenderableType]:
    hidden = [column for column in _COLUMNS if column.width > width]
    said = [(row, ", ".join(filter(None, (column.remark(row) for column in hidden)))) for row in rows]
    return [
        Text.assemble(_name(row), ": ", (remark, "yellow"), overflow="ellipsis", no_wrap=True)
        for row, remark in said
        if remark
    ]


def _name(row: Row) -> Text:
    return Text(row.capability) if row.capability else Text(UNROUTED, style="italic dim")


def _head(proxy: Proxy) -> Text:
    name = Text(proxy.name, style="bold")
    if proxy.away is not None:
        return Text.assemble(name, " ", (f"away: {proxy.away}", "bold red"))
    if not proxy.workers:
        return Text.assemble(name, " ", ("no worker serves", "bold red"))
    parts = [_versions(proxy)]
    if proxy.without:
        parts.append(Text(f"without {' and '.join(proxy.without)}", style="yellow"))
    if proxy.lag is not None and proxy.lag >= _LATE:
        parts.append(Text(f"a loop was {proxy.lag * 1000:,.0f} ms late", style="yellow"))
    parts += [
        Text(f"{proxy.workers} worker{_s(proxy.workers)}"),
        Text(f"{proxy.connections:,} connection{_s(proxy.connections)}"),
        Text(f"{proxy.in_flight:,} in flight"),
    ]
    if proxy.resident is not None:
        parts.append(Text(f"{proxy.resident / 1e6:,.0f} MB"))
    pieces = (piece for part in parts for piece in ((" · ", "dim"), part))
    return Text.assemble(name, *pieces, no_wrap=True, overflow="ellipsis")


def _versions(proxy: Proxy) -> Text:
    age = "" if proxy.age is None else f", {duration(proxy.age)} old"
    if len(proxy.versions) == 1:
        return Text(f"table {proxy.versions[0]}{age}")
    return Text(f"tables {' and '.join(map(str, proxy.versions))}{age}", style="yellow")


def _refused(refused: Mapping[str, float]) -> Text:
    parts = ", ".join(f"{reason} {_shown(rate)}/s" for reason, rate in refused.items())
    return Text(f"not let through: {parts}", style="yellow", no_wrap=True, overflow="ellipsis")


def _keys(sort: str) -> Text:
    words = [
        Text.assemble((key, "bold"), " ", (word, "reverse" if key == sort else "dim"))
        for key, (word, _) in SORTS.items()
    ]
    return Text.assemble(
        ("sort by ", "dim"), Text("  ").join(words), "  ", ("q", "bold"), (" quit", "dim"), no_wrap=True
    )


def _s(number: float) -> str:
    return "" if number == 1 else "s"


# --- cells ---


def _shown(number: float) -> str:
    """Return a number of at most three digits that tell, or as many as its whole part has."""
    if number >= 99.95:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 0.05 else f"{number:.2g}"


def _rate(rate: float) -> Text:
    return Text(_shown(rate)) if rate else Text("0", style="dim")


def _count(number: float) -> Text:
    return Text(f"{number:,.0f}") if number else Text("0", style="dim")


def _milliseconds(seconds: float | None) -> Text:
    return _NONE if seconds is None else Text(_shown(seconds * 1000))


def _percent(ratio: float | None) -> Text:
    return _NONE if ratio is None else Text(f"{ratio * 100:g}", style="" if ratio else "dim")


def _errors(ratio: float | None) -> Text:
    if ratio is None:
        return _NONE
    if not ratio:
        return Text("0", style="dim")
    return Text(_shown(ratio * 100), style="bold red" if ratio > _BAD else "yellow" if ratio > _NOTICEABLE else "")


def _circuit(row: Row) -> str:
    return "" if row.breaker in (None, "closed") else str(row.breaker).replace("_", " ")


def _breaker(row: Row) -> Text:
    if row.breaker is None:
        return _NONE
    return Text(_circuit(row), style="bold red") if _circuit(row) else Text("closed", style="dim")


def _held(row: Row) -> str:
    return f"{row.held:,.0f} held" if row.held else ""


def _not_closed(row: Row) -> str:
    return f"breaker {_circuit(row)}" if _circuit(row) else ""


def _events(rate: float, what: str) -> str:
    return f"{_shown(rate)} {what}/s" if rate else ""


# --- columns ---


def _of_stack(stack: str, side: Callable[[Row], Side]) -> tuple[_Column, ...]:
    return (
        _Column(0, stack, "req/s", lambda row: _rate(side(row).rate), stack=stack),
        _Column(100, stack, "p50 ms", lambda row: _milliseconds(side(row).p50), stack=stack),
        _Column(0, stack, "p99 ms", lambda row: _milliseconds(side(row).p99), stack=stack),
    )


_COLUMNS: Final = (
    _Column(100, "", "stage", _stage, lambda row: "killed" if row.killed else ""),
    _Column(0, "reads", "%", lambda row: _percent(row.share)),
    *_of_stack("monolith", lambda row: row.monolith),
    *_of_stack("service", lambda row: row.service),
    _Column(0, "errors", "%", lambda row: _errors(row.errors)),
    _Column(0, "in", "flight", lambda row: _NONE if row.in_flight is None else _count(row.in_flight)),
    _Column(_WIDE, "", "held", lambda row: _count(row.held), _held),
    _Column(_WIDE, "", "breaker", _breaker, _not_closed),
    _Column(
        _WIDE, "fallbacks", "/s", lambda row: _rate(row.fallbacks), lambda row: _events(row.fallbacks, "fallbacks")
    ),
    _Column(_WIDE, "retries", "/s", lambda row: _rate(row.retries), lambda row: _events(row.retries, "retries")),
)
