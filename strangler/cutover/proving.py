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
from strangler.sync.errors import SyncError
from strangler.sync.pgoutput import lsn_text
from strangler.sync.sequences import Carrying
from strangler.sync.transfer import open_database
from strangler.sync.verify import Ready, Verdict, ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was proved: the keys that were changed after ``since`` are equal, by the new owner's table; None, all rows.

    ``sequences`` are those that were set, each with the number after which it counts on.
    """

    since: int
    compared: Mapping[str, int | None]
    verdict: Verdict
    sequences: Mapping[str, int]

    def __str__(self) -> str:
        keys = sum(each or 0 for each in self.compared.values())
        return f"{keys:,} changed keys equal, {len(self.sequences)} sequences set"

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
        self._sequences = Carrying(ends.at(to.other), ends.at(to), list(comparing.projections.values()))

    def prove(self, epoch: int) -> Proof:
        """Raises ``SyncError`` naming what does not hold, ``StaleEpoch``."""
        drifted = fence.drift(self._ends.at(self._to.other), self._ends.fence(self._to.other))
        if drifted:
            raise SyncError(f"the {self._to.other}'s fence may have been passed: {'; '.join(drifted)}")
        found = since.changes_in(self._ends.at(self._to), self._ends.towards(self._to), self._since)
        verdict = self._ready.verify(found.keys)
        if not verdict.equal:
            raise SyncError(_differing(verdict))
        return Proof(
            since=self._since,
            compared={name: None if keys is None else len(keys) for name, keys in found.keys.items()},
            verdict=verdict,
            sequences=self._count_on(epoch),
        )

    def _count_on(self, epoch: int) -> dict[str, int]:
        source, target = self._ends.at(self._to.other), self._ends.at(self._to)
        with target.transaction():
            fence.hold(target, self._ends.fence(self._to), epoch)
            done = self._sequences.carry_over(source, target)
        return {each.sequence: each.number for each in done}


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
