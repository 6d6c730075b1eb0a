"""What a database has said, as a person is told of it: on one line, cut, with nothing in it that a terminal obeys."""

from __future__ import annotations

from strangler.project.values import printable


def brief(text: str, most: int) -> str:
    """Return ``text`` on one line, in at most ``most`` characters before what cannot be printed is escaped."""
    line = " ".join(text.split())
    return printable(line if len(line) <= most else line[: most - 1] + "…")
