"""Puts what ``make bench`` measured into the documentation: a table, a picture, and the raw rounds beside them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.row import Row

FOLDER: Final = Path(__file__).parents[2] / "docs" / "explanation"
RAW: Final = FOLDER / "performance.json"
PAGE: Final = FOLDER / "performance.md"
SYNC_RAW: Final = FOLDER / "sync-performance.json"
SYNC_PAGE: Final = FOLDER / "sync-performance.md"
CUTOVER_RAW: Final = FOLDER / "cutover-performance.json"
CUTOVER_PAGE: Final = FOLDER / "cutover-performance.md"
PLOT: Final = FOLDER / "performance.svg"
REPORT: Final = Path("build/bench.json")
_TABLE: Final = re.compile(r"(<!-- table -->\n).*?(<!-- /table -->)", re.DOTALL)
_OURS: Final = "strangler, compiled"
_PLAIN: Final = "strangler, plain Python"
_SELF: Final = "itself as plain Python"
_API: Final = "0.5 kB JSON"


def read(path: Path) -> list[Row]:
    """Return the rows that a report has."""
    raw: list[dict[str, Any]] = json.loads(path.read_text())
    return [Row(**{**each, "rounds": [(ours, peer) for ours, peer in each["rounds"]]}) for each in raw]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table of Markdown; a row that misses its target says so."""
    lines = ["| what | ours | | against | ratio | rounds | target |", "|---|---:|---|---|---:|---|---|"]
    for row in rows:
        ratios = sorted(ours / peer for ours, peer in row.rounds)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}" if len(ratios) > 1 else "one"
        bound = "none" if row.target is None else f"at {'most' if row.at_most else 'least'} {row.target:g}"
        peer = row.peer_name if row.peer_name[0].isdigit() else f"{row.peer_name}: {_number(row.peer)}"
        what = row.name.partition(" against ")[0]
        lines.append(
            f"| {what} | {_number(row.ours)} | {row.unit} | {peer} | {row.ratio:.2f} | {spread} "
            f"| {bound}{'' if row.met else ', **missed**'} |"
        )
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def page(text: str, rows: Sequence[Row]) -> str:
    """Return the page ``text`` with its table made anew."""
    made, count = _TABLE.subn(lambda found: found[1] + "\n" + table(rows) + "\n" + found[2], text)
    if count != 1:
        raise ValueError(f"the page has {count} places for the table; it needs one")
    return made


def rates(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Return the requests a second of each proxy, all rounds, the fastest first."""
    found: dict[str, list[float]] = {_OURS: []}
    for row in rows:
        if row.name.startswith(_API):
            found[_OURS] += [ours for ours, _ in row.rounds]
            found[_PLAIN if row.peer_name == _SELF else row.peer_name] = [peer for _, peer in row.rounds]
    return dict(sorted(found.items(), key=lambda item: -_median(item[1])))


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


_WIDTH: Final = 760
_LEFT: Final = 190
_BAR: Final = 22
_STEP: Final = 34


def plot(rates: Mapping[str, Sequence[float]]) -> str:
    """Return a drawing: a bar a proxy at its median, a line from its slowest round to its fastest."""
    most = max(max(values) for values in rates.values())
    scale = (_WIDTH - _LEFT - 90) / most
    height = _STEP * len(rates) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Requests a second of {len(rates)} proxies" font-family="system-ui, sans-serif" font-size="14">',
        "<style>text{fill:#333}.o{fill:#b4541a}.p{fill:#9aa7b5}line{stroke:#333}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}line{stroke:#ddd}.p{fill:#66717e}}</style>",
        '<text x="0" y="14">Requests a second on one core: median of the rounds, slowest to fastest</text>',
    ]
    for number, (name, values) in enumerate(rates.items()):
        parts += _bar(name, values, scale, 30 + number * _STEP)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(name: str, values: Sequence[float], scale: float, top: int) -> list[str]:
    middle, centre = _median(values), top + _BAR // 2
    kind = "o" if name.startswith("strangler") else "p"
    low, high = _LEFT + min(values) * scale, _LEFT + max(values) * scale
    return [
        f'<text x="{_LEFT - 10}" y="{centre + 5}" text-anchor="end">{name}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{max(middle * scale, 1):.0f}" height="{_BAR}" rx="2"/>',
        f'<line x1="{low:.0f}" x2="{high:.0f}" y1="{centre}" y2="{centre}" stroke-width="1.5"/>',
        f'<text x="{high + 8:.0f}" y="{centre + 5}">{middle:,.0f}</text>',
    ]


def main() -> None:
    """Take over what the last ``make bench ONLY=proxy`` measured; with ``sync`` or ``cutover``, that of this part."""
    rows = read(REPORT)
    if sys.argv[1:]:
        raw, path = {"sync": (SYNC_RAW, SYNC_PAGE), "cutover": (CUTOVER_RAW, CUTOVER_PAGE)}[sys.argv[1]]
        raw.write_text(REPORT.read_text())
        path.write_text(page(path.read_text(), rows))
        return
    RAW.write_text(REPORT.read_text())
    PAGE.write_text(page(PAGE.read_text(), rows))
    PLOT.write_text(plot(rates(rows)))


if __name__ == "__main__":
    main()
