"""Rows told apart from rows in flight, by looking at both sides more than once: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from strangler.sync.mapping import Key

Image = tuple[int, ...]
"""The checksums of a key's rows, in order: one as a rule, none where there is no such row, more where it is doubled."""

Look = tuple[Mapping[Key, Image], Mapping[Key, Image]]
"""What the monolith, and then the service, showed of some keys."""

Settle = Callable[[], None]
"""Returns when what the monolith had committed before the call has had its time to reach the service.

Without a stream that is a pause. With one it is the wait until the stream's watermark has passed the monolith's
position of now: then a row that is still behind is proved to differ.
"""


class Kind(StrEnum):
    """How a row differs, seen from the service."""

    MISSING = "missing"
    EXTRA = "extra"
    DIFFERING = "differing"

    def turned(self) -> Kind:
        """Return the kind seen from the monolith."""
        return {Kind.MISSING: Kind.EXTRA, Kind.EXTRA: Kind.MISSING}.get(self, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A row that was not the same on both sides: what each side showed of it, look by look."""

    key: Key
    monolith: tuple[Image, ...]
    service: tuple[Image, ...]

    def again(self, monolith: Image, service: Image) -> Suspect:
        """Return the suspect after one more look, the monolith's image taken before the service's."""
        return replace(self, monolith=(*self.monolith, monolith), service=(*self.service, service))

    def chased(self, looks: Sequence[Look]) -> Suspect:
        """Return the suspect after looks in quick succession: the first of them counts, and the last.

        Not the last two: they may well be of one batch of the stream's, and the service would seem to stand still.
        """
        found = self
        for monolith, service in (*looks[:1], *looks[1:][-1:]):
            found = found.again(monolith.get(self.key, ()), service.get(self.key, ()))
        return found

    @property
    def in_flight(self) -> bool:
        """Whether the service has come to what the monolith showed at one of the looks, the next one included.

        A row that is written all the time is never equal at one instant, and yet it arrives.
        """
        return any(image in self.monolith[: look + 2] for look, image in enumerate(self.service))

    @property
    def moving(self) -> bool:
        """Whether both sides were written between the last two looks: nobody can tell yet whether it differs."""
        return all(len(side) > 1 and side[-1] != side[-2] for side in (self.monolith, self.service))

    @property
    def kind(self) -> Kind:
        if not self.service[-1]:
            return Kind.MISSING
        return Kind.DIFFERING if self.monolith[-1] else Kind.EXTRA


def suspects(monolith: Mapping[Key, Image], service: Mapping[Key, Image]) -> Iterator[Suspect]:
    """Yield the rows that are not the same on both sides, by key."""
    for key in {**monolith, **service}:
        here, there = monolith.get(key, ()), service.get(key, ())
        if here != there:
            yield Suspect(key=key, monolith=(here,), service=(there,))


def look_again(
    seen: Iterable[Suspect], monolith: Mapping[Key, Image], service: Mapping[Key, Image]
) -> tuple[list[Suspect], int]:
    """Return which of the suspects still differ, and how many turned out to be in flight."""
    looked = [each.again(monolith.get(each.key, ()), service.get(each.key, ())) for each in seen]
    left = [each for each in looked if not each.in_flight]
    return left, len(looked) - len(left)
