"""One table compared from the outside in: ranges, the pieces of those that differ, rows, and those looked at again."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from strangler.sync.mapping import Key
from strangler.sync.verify.looking import Image, Kind, Look, Settle, Suspect, look_again, suspects
from strangler.sync.verify.pair import Pair, Question, Rows, Side
from strangler.sync.verify.ranges import Next, Range, Tally, decide, step
from strangler.sync.verify.reading import Reading
from strangler.sync.verify.table import Compared
from strangler.sync.verify.verdict import Cell, Difference, Progress, TableVerdict

_WAYS: Final = 16
_LEAF: Final = 100
_LOOKS: Final = 4
# Rows that are written all the time are looked at in quick succession, if they are few: so often, in so many turns, for
# so long at most.
_CHASED: Final = 100
_GLANCES: Final = 30
_TURNS: Final = 20
_CHASE_S: Final = 3.0
# Where more rows than this differ, what more there are is not looked at one by one: the answer is known.
_SUSPECTS: Final = 10_000
# Keys in one statement.
_KEYS: Final = 1_000

Tallied = tuple[Range, Tally, Tally]
Texts = Sequence[Sequence[str | None]]


@dataclass(slots=True, kw_only=True)
class Walk:
    """A table's comparison under way."""

    table: Compared
    pair: Pair
    told: int
    chunk_rows: int
    settle: Settle
    proving: bool = False
    keyed: int = 0
    _started: float = field(default_factory=time.monotonic)
    _monolith_rows: int = 0
    _service_rows: int = 0
    _ranges: int = 0
    _splits: int = 0
    _in_flight: int = 0
    _suspects: list[Suspect] = field(default_factory=list)
    _absent: list[Tallied] = field(default_factory=list)
    _unseen: list[Tallied] = field(default_factory=list)

    def ranges(self) -> Iterator[Progress]:
        """Compare range by range and yield the progress."""
        bounds, about = self._sampled()
        yield self._progress(about)
        for within, monolith, service in self._tallied_whole(bounds):
            self._ranges += 1
            self._monolith_rows += monolith.rows
            self._service_rows += service.rows
            self._descend(within, monolith, service)
            yield self._progress(about)

    def rows(self, keys: Sequence[Key]) -> Iterator[Progress]:
        """Compare the rows of these keys alone, and yield the progress."""
        for part in _parts(keys):
            self._look_at(part)
            yield self._progress(len(keys))

    def rows_of_stream(self, keys: Collection[Key]) -> Iterator[Progress]:
        """Compare the rows of keys that come as the stream spells them, which is not how they are compared."""
        for part in _parts(list(keys)):
            spelled = self.pair.monolith.ask(self.table.monolith.spelled(part), self.table.monolith).result()
            self._look_at([tuple(key) for (key,) in spelled])
            yield self._progress(len(keys))

    def verdict(self) -> TableVerdict:
        """Look again at what differs and return what is left of it."""
        self._look_again()
        differences = [*self._tell_rows(), *self._tell_absent()]
        kinds = [each.kind for each in self._suspects]
        return TableVerdict(
            source=self.table.projection.mapping.source,
            target=self.table.projection.mapping.target,
            monolith_rows=self._monolith_rows,
            service_rows=self._service_rows,
            ranges=self._ranges,
            splits=self._splits,
            missing=kinds.count(Kind.MISSING) + sum(monolith.rows for _, monolith, _ in self._absent),
            extra=kinds.count(Kind.EXTRA) + sum(service.rows for _, _, service in self._absent),
            differing=kinds.count(Kind.DIFFERING),
            in_flight=self._in_flight,
            moving=sum(each.moving for each in self._suspects),
            unseen_ranges=len(self._unseen),
            unseen_rows=sum(max(monolith.rows, service.rows) for _, monolith, service in self._unseen),
            differences=tuple(differences),
            seconds=time.monotonic() - self._started,
            keys=tuple(islice(self._keys(), self.keyed)),
        )

    # --- from the outside in ---

    def _sampled(self) -> tuple[list[Key], int]:
        reading = self.table.monolith
        rows = self.pair.monolith.ask(reading.sample(self.table.percent, self.chunk_rows), reading).result()
        # The last row is there for the count, and no bound: what comes after it would be next to nothing.
        return [tuple(key) for key, _ in rows[:-1]], rows[-1][1] if rows else 0

    def _tallied_whole(self, bounds: Sequence[Key]) -> Iterator[Tallied]:
        if self.table.walkable:
            yield from self._tallied_each(Range().pieces(bounds))
        else:  # each range would be looked for in all of the table: all of them in one go
            yield from self._tallied_at_once(Range(), bounds)

    def _tallied_each(self, ranges: Sequence[Range]) -> Iterator[Tallied]:
        questions = (_tallies(each) for each in ranges)
        answers = self.pair.ask_all(questions, self.table.monolith, self.table.service)
        for each, (monolith, service) in zip(ranges, answers, strict=True):
            yield each, _by_piece(monolith).get(0, Tally()), _by_piece(service).get(0, Tally())

    def _tallied_at_once(self, within: Range, bounds: Sequence[Key]) -> Iterator[Tallied]:
        monolith, service = map(_by_piece, self._ask(_tallies(within, bounds)))
        for number, piece in enumerate(within.pieces(bounds)):
            yield piece, monolith.get(number, Tally()), service.get(number, Tally())

    def _descend(self, within: Range, monolith: Tally, service: Tally) -> None:
        following = decide(monolith, service, _LEAF if self.table.walkable else 2 * self.chunk_rows)
        if following is Next.NOTHING:
            return
        if following is Next.COUNT:
            self._absent.append((within, monolith, service))
        elif len(self._suspects) >= _SUSPECTS:
            self._unseen.append((within, monolith, service))
        elif following is Next.LOOK:
            self._look(within)
        else:
            self._split(within, monolith, service)

    def _look_at(self, keys: Sequence[Key]) -> None:
        monolith, service = map(_by_key, self._ask(_checksums_of(keys)))
        self._monolith_rows += len(monolith)
        self._service_rows += len(service)
        self._suspects += suspects(monolith, service)

    def _look(self, within: Range) -> None:
        found = list(suspects(*map(_by_key, self._ask(lambda reading: reading.checksums(within)))))
        self._suspects += found
        self._in_flight += not found  # at least one row was: the tallies differed a moment ago

    def _split(self, within: Range, monolith: Tally, service: Tally) -> None:
        self._splits += 1
        # Cut by the side that has more: the other may have nothing there to cut by.
        if monolith.rows >= service.rows:
            side, reading, rows = self.pair.monolith, self.table.monolith, monolith.rows
        else:
            side, reading, rows = self.pair.service, self.table.service, service.rows
        bounds = [tuple(key) for (key,) in side.ask(reading.bounds(within, step(rows, _WAYS)), reading).result()]
        for piece in self._tallied_at_once(within, bounds):
            self._descend(*piece)

    # --- a second look ---

    def _look_again(self) -> None:
        if self._absent or self._unseen:
            self._settle_ranges()
        for look in range(_LOOKS):
            if not self._suspects:
                return
            keys = [each.key for each in self._suspects]
            monolith = self._checksums(self.pair.monolith, self.table.monolith, keys)
            if (
                look
                and self.proving
                and all(monolith.get(each.key, ()) == each.monolith[-1] for each in self._suspects)
            ):
                self._suspects = [each.again(each.monolith[-1], each.service[-1]) for each in self._suspects]
                return  # the service has had all the time that the stream takes, and there is nothing else to come to
            self.settle()
            service = self._checksums(self.pair.service, self.table.service, keys)
            self._suspects, arrived = look_again(self._suspects, monolith, service)
            self._in_flight += arrived
        self._chase()

    def _chase(self) -> None:
        """Tell rows apart that change faster than looks come: what the service shows the monolith must have shown."""
        moving = [each.key for each in self._suspects if each.moving]
        if not (0 < len(moving) <= _CHASED and self.table.walkable):
            return
        seen: dict[Key, set[Image]] = {key: set() for key in moving}
        until, looks = time.monotonic() + _CHASE_S, list[Look]()
        while len(looks) < _TURNS and time.monotonic() < until:
            for _ in range(_GLANCES):
                monolith = self._checksums(self.pair.monolith, self.table.monolith, moving)
                for key in moving:
                    seen[key].add(monolith.get(key, ()))
            service = self._checksums(self.pair.service, self.table.service, moving)
            looks.append((monolith, service))
            arrived = {key for key in moving if service.get(key, ()) in seen[key]}
            self._suspects = [each for each in self._suspects if each.key not in arrived]
            self._in_flight += len(arrived)
            moving = [key for key in moving if key not in arrived]
            if not moving:
                return
        self._suspects = [each.chased(looks) if each.key in moving else each for each in self._suspects]

    def _settle_ranges(self) -> None:
        """Compare once more what was not looked at row by row."""
        self.settle()
        before = [*self._absent, *self._unseen]
        self._absent, self._unseen = [], []
        for each, (_, *rows) in zip(self._tallied_each([within for within, _, _ in before]), before, strict=True):
            if decide(*each[1:], leaf=_LEAF) is Next.NOTHING:
                self._in_flight += max(tally.rows for tally in rows)
            self._descend(*each)

    def _checksums(self, side: Side, reading: Reading, keys: Sequence[Key]) -> dict[Key, Image]:
        asked = [side.ask(reading.checksums_of(part), reading) for part in _parts(keys)]
        return {key: image for each in asked for key, image in _by_key(each.result()).items()}

    # --- what is told ---

    def _tell_rows(self) -> Iterator[Difference]:
        """Yield the first rows that differ with their columns. One that no longer does was in flight after all."""
        told = self._suspects[: self.told]
        if not told:
            return
        monolith, service = map(_by_key, self._ask(lambda reading: reading.texts_of([each.key for each in told])))
        for suspect in told:
            here, there = monolith.get(suspect.key, ()), service.get(suspect.key, ())
            if here == there:
                self._suspects.remove(suspect)
                self._in_flight += 1
            else:
                yield self._difference(suspect, here, there)

    def _difference(self, suspect: Suspect, here: Texts, there: Texts) -> Difference:
        if not here or not there:
            return Difference(key=self._keyed(suspect.key), kind=Kind.MISSING if here else Kind.EXTRA)
        cells = [
            Cell(column=column, monolith=one, service=other)
            for column, one, other in zip(self.table.projection.columns, here[0], there[0], strict=True)
            if one != other
        ]
        if len(here) != len(there):
            cells.append(Cell(column="rows of this key", monolith=str(len(here)), service=str(len(there))))
        return Difference(key=self._keyed(suspect.key), kind=Kind.DIFFERING, cells=tuple(cells))

    def _tell_absent(self) -> Iterator[Difference]:
        for kind, key in self._absent_keys(self.told - min(self.told, len(self._suspects))):
            yield Difference(key=self._keyed(key), kind=kind)

    def _absent_keys(self, room: int) -> Iterator[tuple[Kind, Key]]:
        """Yield the keys of at most ``room`` rows of which whole ranges are absent."""
        for within, monolith, _ in self._absent:
            if not room:
                return
            if monolith.rows:
                kind, side, reading = Kind.MISSING, self.pair.monolith, self.table.monolith
            else:
                kind, side, reading = Kind.EXTRA, self.pair.service, self.table.service
            for key in _by_key(side.ask(reading.checksums(within, room), reading).result()):
                room -= 1
                yield kind, key

    def _keys(self) -> Iterator[Key]:
        yield from (each.key for each in self._suspects)
        for _, key in self._absent_keys(max(0, self.keyed - len(self._suspects))):
            yield key

    def _keyed(self, key: Key) -> dict[str, str]:
        return dict(zip(self.table.projection.mapping.key, key, strict=True))

    def _ask(self, question: Question) -> tuple[Rows, Rows]:
        return self.pair.ask(question, self.table.monolith, self.table.service)

    def _progress(self, about: int) -> Progress:
        done = max(self._monolith_rows, self._service_rows)
        return Progress(
            target=self.table.projection.mapping.target,
            rows=max(about, done),
            rows_done=done,
            seconds=time.monotonic() - self._started,
        )


def _parts(keys: Sequence[Key]) -> list[Sequence[Key]]:
    return [keys[first : first + _KEYS] for first in range(0, len(keys), _KEYS)]


def _tallies(within: Range, bounds: Sequence[Key] = ()) -> Question:
    return lambda reading: reading.tallies(within, bounds)


def _checksums_of(keys: Sequence[Key]) -> Question:
    return lambda reading: reading.checksums_of(keys)


def _by_piece(rows: Rows) -> dict[int, Tally]:
    return {piece: Tally(rows=count, checksum=int(checksum)) for piece, count, checksum in rows}


def _by_key(rows: Rows) -> dict[Key, tuple[Any, ...]]:
    """Return the values of each key, in order of the keys' first rows."""
    found: dict[Key, tuple[Any, ...]] = {}
    for key, value in rows:
        found[tuple(key)] = (*found.get(tuple(key), ()), value)
    return found
