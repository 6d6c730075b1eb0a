"""Ranges of keys, what each side's rows in one come to, and what to do about it: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from strangler.sync.mapping import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The keys in (low, high]; None is open."""

    low: Key | None = None
    high: Key | None = None

    def pieces(self, bounds: Sequence[Key]) -> list[Range]:
        """Return the ranges that ``bounds``, rising keys of this range, cut it into: together they are all of it."""
        return [Range(low=low, high=high) for low, high in pairwise((self.low, *bounds, self.high))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many rows a side has in a range, and the sum of their checksums: the same in whatever order they come."""

    rows: int = 0
    checksum: int = 0


class Next(Enum):
    """What to do about a range, given both tallies."""

    NOTHING = auto()
    COUNT = auto()
    LOOK = auto()
    SPLIT = auto()


def decide(monolith: Tally, service: Tally, leaf: int) -> Next:
    """Return what comes next: a range of at most ``leaf`` rows is looked at row by row, a larger one is split.

    Where one side has nothing at all there is nothing to find, however large the range is: its rows are counted.
    """
    if monolith == service:
        return Next.NOTHING
    if max(monolith.rows, service.rows) <= leaf:
        return Next.LOOK
    if not monolith.rows or not service.rows:
        return Next.COUNT
    return Next.SPLIT


def step(rows: int, ways: int) -> int:
    """Return the distance of the bounds that cut ``rows`` rows into at most ``ways`` even pieces."""
    return max(1, -(-rows // ways))
