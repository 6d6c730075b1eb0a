"""The last proof before the owner moves: sequences counted on, the fence as it was raised, changed rows equal.

All that takes time is done before anybody waits: connecting, looking at both catalogues, the comparison of all rows. In
the pause only the keys are compared that the stream has changed since then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from strangler.capability import Stack
from strangler.cutover.ends import Ends
from strangler.project import Project
from strangler.sync import fence, since
from strangler.sync.changed import Changed
from strangler.sync.direction import Direction
from strangler.sync.errors import SyncError
from strangler.sync.mapping import Key
from strangler.sync.pgoutput import lsn_text
from strangler.sync.sequences import Carrying
from strangler.sync.transfer import open_database
from strangler.sync.verify import Ready, Verdict, ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was proved: so many keys that were changed after ``since`` are equal, by the new owner's table.

    ``sequences`` are those that were set, each with the number after which it counts on.
    """

    since: int
    compared: Mapping[str, int]
    verdict: Verdict
    sequences: Mapping[str, int]

    def __str__(self) -> str:
        return f"{sum(self.compared.values()):,} changed keys equal, {len(self.sequences)} sequences set"

    def to_json(self) -> dict[str, Any]:
        return {
            "since": lsn_text(self.since),
            "compared": dict(self.compared),
            "ms": round(1_000 * self.verdict.seconds, 1),
            "sequences": dict(self.sequences),
        }


class Proving:
    """What is ready to prove the new owner's rows equal, once the old one is fenced."""

    def __init__(self, ends: Ends, to: Stack, comparing: Ready, position: int) -> None:
        self._ends, self._to, self._ready, self._since = ends, to, comparing, position
        own = [each for each in comparing.projections.values() if not each.mapping.reference]
        self._sequences = Carrying(ends.at(to.other), ends.at(to), own)

    def prove(self, epoch: int) -> Proof:
        """Raises ``SyncError`` naming what does not hold, ``StaleEpoch``."""
        for stack in Stack:
            drifted = fence.drift(self._ends.at(stack), self._ends.fence(stack))
            if drifted:
                raise SyncError(f"the {stack}'s fence may have been passed: {'; '.join(drifted)}")
        direction = self._ends.towards(self._to)
        found = changed_keys(direction, since.changes_in(self._ends.at(self._to), direction, self._since))
        keys = {name: each for name, each in found.items() if each is not None}
        unknown = [name for name in found if name not in keys]
        if unknown:
            raise SyncError(f"any row of {', '.join(unknown)} may have changed, and not all are compared in a pause")
        verdict = self._ready.verify(keys)
        if not verdict.equal:
            raise SyncError(_differing(verdict))
        return Proof(
            since=self._since,
            compared={name: len(each) for name, each in keys.items()},
            verdict=verdict,
            sequences=self._count_on(epoch),
        )

    def _count_on(self, epoch: int) -> dict[str, int]:
        source, target = self._ends.at(self._to.other), self._ends.at(self._to)
        with target.transaction():
            fence.hold(target, self._ends.fence(self._to), epoch)
            done = self._sequences.carry_over(source, target)
        return {each.sequence: each.number for each in done}


def changed_keys(direction: Direction, found: Changed) -> dict[str, frozenset[Key] | None]:
    """Return which rows have changed of tables that move; those that are copied for reading only are written on."""
    moving = {each.target for each in direction.tables if not each.reference}
    return {name: keys for name, keys in found.keys.items() if name in moving}


def _differing(verdict: Verdict) -> str:
    rows = sum(each.found + each.unseen_rows for each in verdict.tables)
    return f"{rows:,} changed rows differ; see strangler sync verify {verdict.capability}, and repair"


@contextmanager
def proving(ends: Ends, to: Stack, project: Project) -> Iterator[Proving]:
    """Make ready to prove the rows of ``to`` equal. Raises ``SyncError`` where no comparison of all rows is known."""
    direction = ends.towards(to)
    with open_database(project.control.database.reveal(), "control database") as control:
        position = since.last_position(control, direction.capability, direction.way)
    with ready(direction) as comparing:
        yield Proving(ends, to, comparing, position)
