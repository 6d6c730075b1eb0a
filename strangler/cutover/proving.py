"""The last proof before the owner moves: sequences counted on, the fence as it was raised, changed rows equal.

All that takes time is done before anybody waits: connecting, looking at both catalogues, the comparison of all rows,
and that of what the stream has changed since then. In the pause only those keys are compared that it has changed after
that, so that it makes no difference how long ago all rows were compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from strangler.capability import Stack
from strangler.cutover.ends import Ends
from strangler.project import Project
from strangler.sync import fence, filling, since
from strangler.sync.changed import Changed
from strangler.sync.direction import Direction
from strangler.sync.errors import SyncError
from strangler.sync.mapping import Key
from strangler.sync.pgoutput import lsn_text
from strangler.sync.sequences import Carrying
from strangler.sync.transfer import open_database
from strangler.sync.verify import Ready, Settle, Verdict, ready

_BEFORE: Final = 2
"""How often what has changed is compared before anybody waits: the second time finds what came during the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was proved: so many keys that were changed after ``since`` are equal, by the new owner's table.

    ``fenced`` of them were changed last, and are what was compared while nobody could write, in ``seconds``.
    ``sequences`` are those that were set, each with the number after which it counts on.
    """

    since: int
    compared: Mapping[str, int]
    fenced: int
    seconds: float
    sequences: Mapping[str, int]

    def __str__(self) -> str:
        return (
            f"{sum(self.compared.values()):,} changed keys equal, {self.fenced:,} of them under the fence,"
            f" {len(self.sequences)} sequences set"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "since": lsn_text(self.since),
            "compared": dict(self.compared),
            "fenced": self.fenced,
            "ms": round(1_000 * self.seconds, 1),
            "sequences": dict(self.sequences),
        }


class Proving:
    """What is ready to prove the new owner's rows equal, once the old one is fenced.

    What was changed before is compared when it is made, while everybody writes: of a key that was equal then only what
    the stream has changed after it counts, and that it records.
    """

    def __init__(self, ends: Ends, to: Stack, comparing: Ready, position: int) -> None:
        self._ends, self._to, self._ready, self._since = ends, to, comparing, position
        own = [each for each in comparing.projections.values() if not each.mapping.reference]
        self._sequences = Carrying(ends.at(to.other), ends.at(to), own)
        self._compared: dict[str, frozenset[Key]] = {}
        self._from = position
        for _ in range(_BEFORE):
            self._compare(self._changed(), self._settle)

    def prove(self, epoch: int) -> Proof:
        """Raises ``SyncError`` naming what does not hold, ``StaleEpoch``."""
        changed = self._changed()
        with ThreadPoolExecutor(1) as hand:  # rows are compared on connections of their own
            comparing = hand.submit(self._compare, changed)
            self._refuse_drift()
            sequences = self._count_on(epoch)
            fenced, seconds = comparing.result()
        return Proof(
            since=self._since,
            compared={name: len(each) for name, each in self._compared.items()},
            fenced=fenced,
            seconds=seconds,
            sequences=sequences,
        )

    def _refuse_drift(self) -> None:
        for stack in Stack:
            drifted = fence.drift(self._ends.at(stack), self._ends.fence(stack))
            if drifted:
                raise SyncError(f"the {stack}'s fence may have been passed: {'; '.join(drifted)}")

    def _settle(self) -> None:
        filling.catch_up(self._ends.towards(self._to))

    def _changed(self) -> Changed:
        """Return what was changed after what is compared already."""
        return since.changes_in(self._ends.at(self._to), self._ends.towards(self._to), self._from)

    def _compare(self, changed: Changed, settle: Settle | None = None) -> tuple[int, float]:
        """Compare what was changed; return how many keys that were, and how long it took in seconds."""
        found = changed_keys(self._ends.towards(self._to), changed)
        keys = {name: each for name, each in found.items() if each is not None}
        unknown = [name for name in found if name not in keys]
        if unknown:
            raise SyncError(f"any row of {', '.join(unknown)} may have changed, and not all are compared in a pause")
        verdict = self._ready.verify(keys, settle)
        # What is written all the time is among what has changed by the next time, and by the pause: so it is compared
        # when nobody writes.
        if not (verdict.equal or (settle is not None and verdict.undecided)):
            raise SyncError(_differing(verdict))
        self._from = changed.until
        for name, each in keys.items():
            self._compared[name] = self._compared.get(name, frozenset()) | each
        return sum(map(len, keys.values())), verdict.seconds

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
