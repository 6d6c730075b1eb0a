"""How a copy is cut into chunks, and how long the rest of it will take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from strangler.sync.mapping import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The rows of one table whose keys lie in (low, high]; None is open."""

    number: int
    target: str
    low: Key | None
    high: Key | None
    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: chunks and rows done and in all, and seconds since this sitting began."""

    run: int
    chunks: int
    chunks_done: int
    rows: int
    rows_done: int
    rows_before: int
    seconds: float

    @property
    def remaining_s(self) -> float | None:
        """Seconds that the rest will take at the pace so far; None while nothing tells."""
        moved = self.rows_done - self.rows_before
        if moved <= 0 or self.seconds <= 0:
            return None
        return max(0, self.rows - self.rows_done) * self.seconds / moved


def cut(target: str, first: int, boundaries: Iterable[Key], size: int, rows: int) -> Iterator[Chunk]:
    """Yield the chunks of one table of ``rows`` rows, given every ``size``-th key, numbered from ``first``.

    Together they take every key exactly once, also one that is inserted after the plan was made.
    """
    low: Key | None = None
    number = first
    for high in boundaries:
        yield Chunk(number=number, target=target, low=low, high=high, expected=size)
        low, number = high, number + 1
        rows -= size
    yield Chunk(number=number, target=target, low=low, high=None, expected=max(0, rows))
