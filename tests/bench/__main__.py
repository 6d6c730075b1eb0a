"""Runs the parts, prints a table, and writes ``build/bench.json``."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench import cutover, decide, proxy, sync, toggles
from tests.bench.row import Row

_ALL: Final[Mapping[str, Callable[[], Iterable[Row]]]] = {
    "cutover": cutover.measure,
    "decide": decide.measure,
    "proxy": proxy.measure,
    "sync": sync.measure,
    "toggles": toggles.measure,
}
PARTS: Final[Mapping[str, Callable[[], Iterable[Row]]]] = {
    **_ALL,
    **{f"sync.{name}": partial(sync.measure, name) for name in sync.PARTS},
}
REPORT: Final = Path("build/bench.json")


def main(names: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are stopped then, as after Ctrl-C
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    try:
        for name in names or _ALL:
            rows.extend(PARTS[name]())
    finally:  # what was measured before something broke took its minutes, too
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
        _show(rows)
    return 0 if all(row.met for row in rows) else 1


def _show(rows: list[Row]) -> None:
    table = Table(title="medians; ratios are medians of paired rounds", title_justify="left")
    for title in ("what", "unit", "ours", "peer", "", "ratio", "target", "met"):
        table.add_column(title, justify="left" if title in ("what", "unit", "") else "right")
    for row in rows:
        met = "yes" if row.met else "no"
        numbers = (f"{row.ours:,.0f}", f"{row.peer:,.0f}", row.peer_name, f"{row.ratio:.2f}", _bound(row), met)
        table.add_row(row.name, row.unit, *numbers)
    Console(width=140).print(table)


def _bound(row: Row) -> str:
    return "" if row.target is None else f"{row.target:g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
