"""Draws the protocol from its tables, so that the picture in the documentation cannot differ from what runs.

``python -m strangler.cutover.diagram`` draws ``docs/explanation/cutover.svg`` anew, where it is run in the project's
folder, and prints the table that stands in ``docs/explanation/cutover.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from strangler.capability import Phase
from strangler.cutover.protocol import DURING, FAILING, LEDGER, NEXT, PLACE, RAISING, End, Step
from strangler.ledger.diagram import HEAD

PICTURE: Final = "docs/explanation/cutover.svg"
_SETTLED: Final = "settled"
_WIDTH, _BOX, _LINE, _APART, _TOP = 640, 220, 22, 62, 10
_COLUMNS: Final = (10, 410)
_STYLE: Final = (
    "text{fill:#333}rect{fill:#fff;stroke:#b4541a}path{fill:none;stroke:#66717e}marker path{fill:#66717e;stroke:none}"
    ".s{font-size:12px;fill:#5d6b7e}.l{font-size:13px}.h{font-weight:600}@media(prefers-color-scheme:dark)"
    "{text{fill:#ddd}rect{fill:#1a2028;stroke:#f0a06a}path{stroke:#9aa7b5}marker path{fill:#9aa7b5}.s{fill:#98a5b6}}"
)


def svg() -> str:
    """Return the picture: the way of a move down the left, the way back at the right, the steps within each phase."""
    way = list(_follow(None))
    back = [phase for _, phase in LEDGER.values() if phase not in way]
    places = {phase: (0, y) for phase, y in _stack(way, _TOP)}
    turn = next(before for before, after in LEDGER.values() if after in back and before in way)
    places |= {phase: (1, y) for phase, y in _stack(back, places[turn][1])}
    high = max(y + _height(phase) for phase, (_, y) in places.items()) + _TOP
    top = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {high}" role="img"'
        f' aria-label="The phases of a move, with their steps, and what the ledger writes between them"'
        f' font-family="system-ui, sans-serif" font-size="15">\n<style>{_STYLE}</style>{HEAD}'
    )
    boxes = (line for phase, (column, y) in places.items() for line in _box(phase, _COLUMNS[column], y))
    arrows = (
        line for step, (before, after) in LEDGER.items() for line in _arrow(step, places[before], places[after], before)
    )
    return "\n".join((top, *boxes, *arrows, "</svg>", ""))


def table() -> str:
    """Return a Markdown table of all steps: in which phase, where, and what follows."""
    rows = [f"| {step} | {DURING[step] or _SETTLED} | {PLACE[step]} | {_then(step)} | {_else(step)} |" for step in NEXT]
    return "\n".join(("| step | phase | performed in | done | failed |", "|---|---|---|---|---|", *rows, ""))


def _follow(phase: Phase | None) -> Iterator[Phase | None]:
    """Yield the phases of a move that nothing keeps from being done."""
    yield phase
    after = next((after for before, after in LEDGER.values() if before is phase), None)
    if after is not None:
        yield from _follow(after)


def _stack(phases: Sequence[Phase | None], y: int) -> Iterator[tuple[Phase | None, int]]:
    for phase in phases:
        yield phase, y
        y += _height(phase) + _APART


def _steps(phase: Phase | None) -> list[Step]:
    return [step for step in NEXT if phase is not None and DURING[step] is phase and step not in LEDGER]


def _height(phase: Phase | None) -> int:
    return 40 + _LINE * len(_steps(phase))


def _box(phase: Phase | None, x: int, y: int) -> Iterator[str]:
    yield f'<rect x="{x}" y="{y}" width="{_BOX}" height="{_height(phase)}" rx="6"/>'
    yield f'<text class="h" x="{x + 12}" y="{y + 25}">{phase or _SETTLED}</text>'
    if phase is not None and phase.is_settled:
        yield f'<text class="s" x="{x + _BOX - 12}" y="{y + 25}" text-anchor="end">{_SETTLED}</text>'
    for line, step in enumerate(_steps(phase), 1):
        at = y + 25 + _LINE * line
        yield f'<text x="{x + 12}" y="{at}">{step}</text>'
        yield f'<text class="s" x="{x + _BOX - 12}" y="{at}" text-anchor="end">{PLACE[step]}</text>'


def _arrow(step: Step, start: tuple[int, int], end: tuple[int, int], before: Phase | None) -> Iterator[str]:
    says = f"{step}{', epoch + 1' if step in RAISING else ''}"
    x, y = _COLUMNS[start[0]], start[1]
    if start[0] == end[0]:
        middle, bottom = x + _BOX // 2, y + _height(before)
        yield f'<path d="M{middle} {bottom}V{end[1]}" marker-end="url(#a)"/>'
        yield f'<text class="l" x="{middle + 10}" y="{(bottom + end[1]) // 2 + 4}">{says}</text>'
    else:
        level, right = y + 20, _COLUMNS[end[0]]
        yield f'<path d="M{x + _BOX} {level}H{right}" marker-end="url(#a)"/>'
        yield f'<text class="l" x="{(x + _BOX + right) // 2}" y="{level - 8}" text-anchor="middle">{says}</text>'


def _then(step: Step) -> str:
    after = NEXT[step]
    return f"**{after}**" if isinstance(after, End) else after


def _else(step: Step) -> str:
    after = FAILING.get(step, step)
    if isinstance(after, End):
        return f"**{after}**"
    return "again" if after is step else after


if __name__ == "__main__":
    Path(PICTURE).write_text(svg(), encoding="utf-8")
    sys.stdout.write(table())
