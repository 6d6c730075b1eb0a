"""What a database has said, as a person is told of it: on one line, cut, with nothing in it that a terminal obeys."""

from __future__ import annotations

from typing import Final

from strangler.project.values import printable

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def brief(text: str, most: int) -> str:
    """Return ``text`` on one line, in at most ``most`` characters before what cannot be printed is escaped."""
    line = " ".join(text.split())
    return printable(line if len(line) <= most else line[: most - 1] + "…")


def duration(seconds: float) -> str:
    """Return a time as people say it, in its two largest units: "3 s", "2 min 5 s", "4 d 1 h"."""
    rest = max(0, int(seconds))
    for size, unit, small_size, small in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if rest >= size:
            part = rest % size // small_size
            return f"{rest // size} {unit} {part} {small}" if part else f"{rest // size} {unit}"
    return f"{rest} s"


def size(count: int) -> str:
    """Return a number of bytes: "0 B", "31.0 MB"."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"
