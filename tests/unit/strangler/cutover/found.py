"""What the exploration is known to find: how many worlds there are, and where each planted fault shows."""

from __future__ import annotations

from typing import Final

from tests.unit.strangler.cutover.exploring import Broken
from tests.unit.strangler.cutover.world import Bounds, Fault

WHOLE: Final = Bounds(writes=2, conductors=2, late=1, batches=1)
STATES: Final = 54_252

FURTHER: Final = (
    Bounds(writes=3, conductors=2, late=1, batches=2),
    Bounds(writes=2, conductors=2, late=2, batches=1),
    Bounds(writes=1, conductors=3, late=1, batches=1),
    Bounds(writes=2, conductors=3, late=1, batches=1),
)
"""What `make explore` walks, too: minutes."""

_ALONE: Final = Bounds(writes=1, conductors=1, late=0, batches=0)
_LATE: Final = Bounds(writes=1, conductors=1, late=1, batches=0)
_STALE: Final = Bounds(writes=1, conductors=1, late=0, batches=1)

FOUND: Final[dict[Fault, tuple[Bounds, Broken]]] = {
    Fault.EARLY_UNFENCE: (_ALONE, Broken.TWO_WRITERS),
    Fault.ABORT_AFTER_SWITCH: (_LATE, Broken.TWO_WRITERS),
    Fault.NO_EPOCH: (_LATE, Broken.TWO_WRITERS),
    Fault.UNCONDITIONAL_WATERMARK: (_STALE, Broken.LOST),
    Fault.MARKER_BEFORE_LOCK: (_ALONE, Broken.LOST),
    Fault.LOWER_BEFORE_LEDGER: (_LATE, Broken.TWO_WRITERS),
    Fault.NO_DRAIN: (_ALONE, Broken.LOST),
    Fault.NO_RECLAIM: (_LATE, Broken.NOBODY),
    Fault.NO_TARGET_CLAIM: (_LATE, Broken.NOBODY),
    Fault.LOST_IS_DONE: (_ALONE, Broken.TWO_WRITERS),
    Fault.SWITCH_ANYHOW: (_LATE, Broken.TWO_WRITERS),
    Fault.PROVE_ANYHOW: (_LATE, Broken.SPOILED),
}
"""For each fault, the bounds within which it is found, and the worst that becomes of it there."""

_MORE: Final = Bounds(writes=2, conductors=1, late=1, batches=1)
DEFENCE_IN_DEPTH: Final[dict[Fault, Bounds]] = {Fault.APPLY_UNFENCED: _MORE, Fault.APPLY_AT_ANY_EPOCH: _MORE}
"""The faults that break nothing while the rest holds: the watermark refuses by itself whatever is late."""
