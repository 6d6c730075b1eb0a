"""What a reader means by ``?search=``: words that must all occur, quoted phrases kept together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# A run without spaces, in which quoted parts may contain spaces.
_RUN: Final = re.compile(
    r"""((?:[^\s'"]*(?:(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')[^\s'"]*)+)|\S+)""",
)


def words(search: str) -> tuple[str, ...]:
    """Return the words and phrases of ``search``; commas part words too."""
    return tuple(word for run in _RUN.findall(search) for word in _parted(run.strip(",")))


def _parted(run: str) -> Iterator[str]:
    if run.startswith(('"', "'")) and run[0] == run[-1]:
        quote = run[0]
        yield run[1:-1].replace(f"\\{quote}", quote).replace("\\\\", "\\")
        return
    yield from (part.strip() for part in run.split(",") if part)


def pattern(word: str) -> str:
    """Return the LIKE pattern for any text that contains ``word``."""
    escaped = word.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"
