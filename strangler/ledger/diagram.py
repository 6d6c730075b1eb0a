"""Draws the state machine of a capability from its table, so that the documentation cannot differ from what is legal.

``python -m strangler.ledger.diagram`` draws ``docs/explanation/stages.svg`` anew, where it is run in the project's
folder, and prints the table that stands in ``docs/explanation/one-state-machine.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from strangler.capability import BORN, TRANSITIONS, Command, Stage, State
from strangler.ledger.ledger import NAMES

PICTURE: Final = "docs/explanation/stages.svg"
FIRST: Final = {State().stage: "first", BORN.stage: "first, if born here"}
"""The stages in which a capability begins."""

_ROW: Final = {stage: row for row, stage in enumerate(Stage)}
_WIDTH, _MIDDLE, _BOX, _HIGH, _APART = 640, 350, 124, 48, 100
_STYLE: Final = (
    "text{fill:#333}rect{fill:#fff;stroke:#b4541a}path{fill:none;stroke:#66717e}marker path{fill:#66717e;stroke:none}"
    ".s{font-size:12px;fill:#5d6b7e}.l{font-size:13px;paint-order:stroke;stroke:#fff;stroke-width:5px;stroke-linejoin:round}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}rect{fill:#1a2028;stroke:#f0a06a}path{stroke:#9aa7b5}"
    "marker path{fill:#9aa7b5}.s{fill:#98a5b6}.l{stroke:#1e2129}}"
)
HEAD: Final = (
    '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z"/></marker></defs>'
)
"""The head of an arrow, for any picture."""


def edges() -> dict[tuple[Stage, Stage], list[str]]:
    """Return by what commands a capability comes from one stage to another, by both stages."""
    found: dict[tuple[Stage, Stage], list[str]] = {}
    for (stage, command), to in TRANSITIONS.items():
        for each in sorted(to - {stage}, key=_ROW.__getitem__):
            found.setdefault((stage, each), []).append(NAMES[command])
    return found


def svg() -> str:
    """Return the picture: the stages below each other, the way forward at their right, the way back at their left."""
    high = _APART * (len(_ROW) - 1) + _HIGH + 20
    top = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {high}" role="img"'
        f' aria-label="The {len(_ROW)} stages of a capability, and the commands that lead from one to another"'
        f' font-family="system-ui, sans-serif" font-size="15">\n<style>{_STYLE}</style>{HEAD}'
    )
    return "\n".join((top, *_boxes(), *_arcs(), "</svg>", ""))


def table() -> str:
    """Return a Markdown table of all commands: what each is, and from which stage it leads to which."""
    rows = [f"| `{name}` | {_first_line(command)} | {_legal(command)} |" for command, name in NAMES.items()]
    return "\n".join(("| command | what it is | legal in stage, and where it leads |", "|---|---|---|", *rows, ""))


def _arcs() -> Iterator[str]:
    for (start, end), names in edges().items():
        span = _ROW[end] - _ROW[start]
        side = 1 if span > 0 else -1
        x = _MIDDLE + side * _BOX // 2
        bend = x + side * (10 + 76 * abs(span))
        leaves, arrives = _place(start, start, end), _place(end, start, end)
        yield f'<path d="M{x} {leaves}C{bend} {leaves} {bend} {arrives} {x} {arrives}" marker-end="url(#a)"/>'
        yield from _label(x + (bend - x) * 3 // 4, (leaves + arrives) // 2, names)


def _place(at: Stage, start: Stage, end: Stage) -> int:
    """Return how high at the box of ``at`` the arc is fixed: in such an order that none crosses its neighbour there."""
    forward = _ROW[end] > _ROW[start]
    found = [edge for edge in edges() if at in edge and (_ROW[edge[1]] > _ROW[edge[0]]) is forward]
    # Downwards: who arrives, the nearest first, then who leaves, the nearest last. On the way back it is the other way.
    found.sort(key=lambda edge: ((at is edge[0]) is forward, -_ROW[edge[0]], -_ROW[edge[1]]))
    step = (_HIGH - 12) / len(found)
    return round(_centre(at) + step * (found.index((start, end)) - (len(found) - 1) / 2))


def _label(x: int, y: int, names: list[str]) -> Iterator[str]:
    for row, name in enumerate(names):
        yield f'<text class="l" x="{x}" y="{y + 5 + 15 * row}" text-anchor="middle">{name}</text>'


def _boxes() -> Iterator[str]:
    for stage in Stage:
        y, first = _centre(stage), FIRST.get(stage)
        yield f'<rect x="{_MIDDLE - _BOX // 2}" y="{y - _HIGH // 2}" width="{_BOX}" height="{_HIGH}" rx="6"/>'
        yield f'<text x="{_MIDDLE}" y="{y - 2 if first else y + 5}" text-anchor="middle">{stage}</text>'
        if first:
            yield f'<text class="s" x="{_MIDDLE}" y="{y + 15}" text-anchor="middle">{first}</text>'


def _centre(stage: Stage) -> int:
    return 10 + _HIGH // 2 + _APART * _ROW[stage]


def _first_line(command: type[Command]) -> str:
    return (command.__doc__ or "").strip().splitlines()[0].replace("``", "`")


def _legal(command: type[Command]) -> str:
    found = {stage: to for (stage, each), to in TRANSITIONS.items() if each is command}
    same = [stage for stage, to in found.items() if to == {stage}]
    away = [
        f"{stage} → {', '.join(each for each in Stage if each in to)}" for stage, to in found.items() if to != {stage}
    ]
    return "; ".join((*away, *([f"{', '.join(same)}: stays"] if same else [])))


if __name__ == "__main__":
    Path(PICTURE).write_text(svg(), encoding="utf-8")
    sys.stdout.write(table())
