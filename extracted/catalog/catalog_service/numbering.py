"""The pages of a list of products, and which of their numbers are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PER_PAGE: Final = 24
# With more pages than this some numbers are left out.
_ALL_SHOWN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """One page of a list of ``count`` products."""

    number: int
    last: int
    count: int

    @classmethod
    def of(cls, asked: str | None, count: int) -> Numbered:
        """Return the page that ``asked`` means: the first for what is no number, the last for too much."""
        last = max(1, -(-count // PER_PAGE))
        return cls(number=_meant(asked, last), last=last, count=count)

    def elided(self) -> Iterator[int | None]:
        """Yield the numbers to show, None for a gap: both ends, and the neighbours of the page shown."""
        if self.last <= _ALL_SHOWN:
            yield from range(1, self.last + 1)
            return
        number, last = self.number, self.last
        if number > 4:
            yield from (1, None, *range(number - 1, number + 1))
        else:
            yield from range(1, number + 1)
        if number < last - 3:
            yield from (number + 1, None, last)
        else:
            yield from range(number + 1, last + 1)


def _meant(asked: str | None, last: int) -> int:
    try:
        number = int(asked) if asked is not None else 1
    except ValueError:
        return 1
    return number if 1 <= number <= last else last
