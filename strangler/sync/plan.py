"""How a copy is cut into chunks, and how long the rest of it will take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from strangler.sync.mapping import Key

# No chunk done for so long: those handed out may be lost with their worker, and are handed out again. One that is being
# copied is locked, and skipped. Each time in vain the pause doubles, so that little piles up while no worker runs.
_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 60.0
# A chunk is written anew when the stream needs its rows first: a second's work at most. And large enough that planning,
# claiming and recording it is lost in it: a million rows in chunks of 20,000 took a fifth longer.
CHUNK_ROWS: Final = 100_000
CHUNK_BYTES: Final = 32 << 20
# What is given out waits for nothing any more: under a throttle that looks at something, some seconds' work at most.
_ABREAST: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The rows of one table whose keys lie in (low, high]; None is open."""

    number: int
    target: str
    low: Key | None
    high: Key | None
    expected: int

    def __str__(self) -> str:
        low = "the first key" if self.low is None else f"keys above {', '.join(self.low)}"
        high = "the last" if self.high is None else ", ".join(self.high)
        return f"{self.target}, {low} up to {high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: chunks and rows done and in all, and seconds since this sitting began.

    ``waits`` is what keeps further chunks from being given out, None where nothing does.
    """

    run: int
    chunks: int
    chunks_done: int
    rows: int
    rows_done: int
    rows_before: int
    seconds: float
    waits: str | None = None

    @property
    def remaining_s(self) -> float | None:
        """Seconds that the rest will take at the pace so far; None while nothing tells."""
        moved = self.rows_done - self.rows_before
        if moved <= 0 or self.seconds <= 0:
            return None
        return max(0, self.rows - self.rows_done) * self.seconds / moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen last: how many seconds the stream is behind, how many sessions are ``busy`` on the source.

    None where it is not known: that keeps nothing from going on.
    """

    lag_s: float | None = None
    busy: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """How fast a copy may go.

    So many rows a second, only while the stream beside it is at most so many seconds behind, and only while at most so
    many sessions of others are at work on the source.
    """

    rows_per_s: float | None = None
    lag_s: float | None = None
    busy: int | None = None

    @property
    def looks(self) -> bool:
        """Whether it wants to know what is to be ``Seen``."""
        return self.lag_s is not None or self.busy is not None

    @property
    def abreast(self) -> int | None:
        """How many chunks may be given out and not done: those wait for nothing any more. None for any number."""
        return _ABREAST if self.looks else None

    @property
    def chunk_rows(self) -> int | None:
        """How many rows a chunk has, so that one a second is given out; None where nothing says how many."""
        return None if self.rows_per_s is None else min(max(1, int(self.rows_per_s)), CHUNK_ROWS)

    def room(self, progress: Progress, given: int, seen: Seen) -> int:
        """Return how many chunks may be given out now, when ``given`` were in this sitting."""
        if self._exceeded(seen) is not None:
            return 0
        if self.rows_per_s is None:
            return progress.chunks
        due = self.rows_per_s * progress.seconds * progress.chunks / max(1, progress.rows)
        return max(0, int(due) + 1 - given)

    def waits(self, progress: Progress, given: int, seen: Seen) -> str | None:
        """Return what there is no room for, in words; None where there is room."""
        if self.room(progress, given, seen) > 0:
            return None
        return self._exceeded(seen) or f"at most {self.rows_per_s:,.0f} rows/s"

    def _exceeded(self, seen: Seen) -> str | None:
        if self.lag_s is not None and seen.lag_s is not None and seen.lag_s > self.lag_s:
            return f"the stream is {seen.lag_s:,.1f} s behind, at most {self.lag_s:g}"
        if self.busy is not None and seen.busy is not None and seen.busy > self.busy:
            return f"source has {seen.busy:,} active sessions, at most {self.busy:,}"
        return None


FREELY: Final = Throttle()


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


@dataclass(slots=True)
class HandOut:
    """Which chunks to give to the workers now: each once, and again when nothing moves."""

    moved_at: float
    done: int = 0
    pause: float = _PAUSE_S
    given: int = 0
    _given: set[int] = field(default_factory=set)

    def due(self, waiting: Sequence[int], done: int, now: float, room: int, abreast: int | None = None) -> list[int]:
        """Return which of the ``waiting`` to give out, when ``done`` are done at ``now`` (s).

        At most ``room``, and no more than ``abreast`` together with those that are given out and not done.
        """
        if done != self.done:
            self.done, self.moved_at, self.pause = done, now, _PAUSE_S
        elif now - self.moved_at > self.pause:
            self._given.clear()
            self.moved_at, self.pause = now, min(2 * self.pause, _LONGEST_PAUSE_S)
        under_way = len(self._given.intersection(waiting))
        room = room if abreast is None else max(0, min(room, abreast - under_way))
        due = [number for number in waiting if number not in self._given][:room]
        self._given.update(due)
        self.given += len(due)
        return due
