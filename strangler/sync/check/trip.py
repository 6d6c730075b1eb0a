"""What sampled rows lost on their way to the other side and back, and what is to be said of it: pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from strangler.sync.check.finding import Finding, stop, warn
from strangler.sync.mapping import Key, Projection
from strangler.sync.verify.verdict import Cell

# Of a value: enough to see in which way it is another one.
_WIDTH: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A column that does not come back as it was: in how many rows, and of one of them its key and both values."""

    column: str
    rows: int
    key: Key
    here: str | None
    back: str | None

    def __str__(self) -> str:
        here, back = Cell(column=self.column, monolith=self.here, service=self.back).shown(_WIDTH)
        return f"of {', '.join(self.key)}, {here} comes back as {back}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A row that one of the databases does not take, and its words."""

    key: Key
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """What came of the ``sampled`` rows of one table; ``strays`` are keys that came back, and are no row's."""

    sampled: int
    losses: Sequence[Loss] = field(default_factory=tuple)
    strays: Sequence[Key] = field(default_factory=tuple)
    refusal: Refusal | None = None


def judge_trip(projection: Projection, trip: Trip, file: str) -> Iterator[Finding]:
    """Yield what is to be said of a table whose rows went to the other side and back."""
    table = projection.mapping.source
    if not trip.sampled:
        yield warn(file, f"{table} has no row to try the mapping with")
    if trip.refusal is not None:
        yield stop(file, f"{table}: the row {', '.join(trip.refusal.key)} {trip.refusal.words}")
    if trip.strays:
        keys = f"{len(trip.strays):,} of {trip.sampled:,} sampled rows come back under keys that no row has"
        yield stop(file, f"{table}: {keys}: {', '.join(trip.strays[0])}; key them by what the service keeps whole")
    for loss in trip.losses:
        yield _loss(projection, trip, loss, file)


def judge_claims(projection: Projection, file: str) -> Iterator[Finding]:
    """Yield the columns that a service's row gives no value for."""
    mapping = projection.mapping
    told = {*mapping.key.values(), *mapping.reverse, *mapping.acknowledged}
    silent = [name for name, column in projection.source.columns.items() if name not in told and not column.generated]
    if silent:
        columns = ", ".join(silent)
        yield warn(
            file,
            f"nothing gives {columns} of {mapping.source} back: a row that the service makes has the default there;"
            f" name them under [table.reverse], or say: {_acknowledged(mapping.acknowledged, silent)}",
        )


def _loss(projection: Projection, trip: Trip, loss: Loss, file: str) -> Finding:
    mapping = projection.mapping
    found = (
        f"{mapping.source}.{loss.column} does not come back as it was in {loss.rows:,} of {trip.sampled:,} sampled"
        f" rows: {loss}"
    )
    if loss.column in mapping.acknowledged:
        return warn(file, f"{found}; it is acknowledged")
    way = f"mend its expressions, or say: {_acknowledged(mapping.acknowledged, [loss.column])}"
    return stop(file, f"{found}; {way}")


def _acknowledged(columns: Sequence[str], more: Sequence[str]) -> str:
    """Return the line of mapping.toml; JSON's strings are TOML's."""
    return f"acknowledged = {json.dumps([*columns, *more], ensure_ascii=False)} in its [[table]]"
