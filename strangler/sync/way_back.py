"""Whether a capability could go back to the monolith now, and what that would cost. No I/O.

Before a cutover the monolith has every write that the owner has acknowledged, since it is the owner: to go back loses
nothing, and sends the reads that are with the service now to the monolith. Afterwards the service is the owner, and
going back is a rollback: it waits until the monolith has what the service has written, and loses that where it cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from strangler.capability import Stack, Stage, State
from strangler.sync.status import Status, Sync


class Gate(StrEnum):
    """How the way back is: ``open`` while heartbeats come through it."""

    OPEN = "open"
    NOT_FRESH = "not fresh"
    STOPPED = "stopped"
    NONE = "none"  # no stream leads back


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """What going back would meet.

    ``rows_lost`` is how many rows of the owner's going back now would lose: 0, or None where nobody can know. ``share``
    (basis points) and ``cohorts`` are the reads that would return to the monolith. ``pending`` is what the owner has
    written and the other side not applied yet, in bytes of WAL, seconds and transactions, at most.
    """

    gate: Gate
    owner: Stack
    share: int
    cohorts: tuple[str, ...]
    rows_lost: int | None
    pending_bytes: int | None
    pending_s: float | None
    pending_transactions: int | None

    def to_json(self) -> dict[str, Any]:
        return {
            "gate": str(self.gate),
            "owner": str(self.owner),
            "service_share": self.share,
            "service_cohorts": list(self.cohorts),
            "rows_lost": self.rows_lost,
            "pending_bytes": self.pending_bytes,
            "pending_s": self.pending_s,
            "pending_transactions": self.pending_transactions,
        }


def way_back(state: State, forward: Status, back: Status) -> WayBack:
    """Return what going back from ``state`` would meet, as both streams are."""
    from_owner = forward if state.owner is Stack.MONOLITH else back
    gate = _gate(state, back)
    is_safe = state.owner is Stack.MONOLITH or gate is Gate.OPEN
    return WayBack(
        gate=gate,
        owner=state.owner,
        share=state.share,
        cohorts=tuple(name for name, stack in state.cohorts.items() if stack is Stack.SERVICE),
        rows_lost=0 if is_safe else None,
        pending_bytes=from_owner.lag_bytes,
        pending_s=from_owner.lag_s,
        pending_transactions=from_owner.lag_transactions,
    )


def _gate(state: State, back: Status) -> Gate:
    if back.problem is not None:
        return Gate.STOPPED
    if not back.begun or state.stage is Stage.RETIRED:
        return Gate.NONE
    return Gate.OPEN if back.follows else Gate.NOT_FRESH


def misfenced(sync: Sync, state: State) -> Iterator[str]:
    """Yield in words which database stands as it did under another owner, as one does that was restored.

    Nothing is said while the owner moves, nor of a service that is yet to be fenced after a rollback by force.
    """
    if not state.is_streamed or state.moving is not None:
        return
    owner, other = sync.fences.get(state.owner), sync.fences.get(state.owner.other)
    if other is not None and not other.raised:
        yield (
            f"the {state.owner} owns, and the {state.owner.other}'s database is open: who writes there is not refused;"
            f" run strangler fence raise {sync.capability}"
        )
    if owner is not None and owner.raised:
        yield (
            f"the {state.owner} owns, and its own database is fenced: every write is refused; it was restored from"
            " before it owned, or the ledger was"
        )
