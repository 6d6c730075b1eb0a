"""The use case: the fence of who does not own raised anew, after something has changed what it stood on.

A partition was attached, a table was written anew, somebody disabled a trigger and enabled it again: rows may have been
written past the fence, and nobody can tell. From now on nothing passes it; what has, only a comparison of all rows
shows. So none counts that was begun before: whoever moves the owner has to make another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg

from strangler.capability import RaiseFence, Stack, transit
from strangler.ledger import Change, Line, Publisher
from strangler.project import Project
from strangler.sync import fence
from strangler.sync.direction import Direction, directions
from strangler.sync.errors import SyncError
from strangler.sync.fence import Claim
from strangler.sync.fencing import fence_of
from strangler.sync.syncing import Asked
from strangler.sync.transfer import open_database

_BUDGET_S: Final = 10.0
"""So long it may wait: nobody writes there, but whoever has passed the fence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """What was raised anew, at which epoch, and what had changed that it stood on."""

    stack: Stack
    epoch: int
    drift: tuple[str, ...]


def raise_anew(asked: Asked, project: Project, publisher: Publisher, *, epoch: int | None = None) -> Raised:
    """Raise the fence of the stack that does not own, as its tables are now; run again, it does so again.

    The ledger is told first: a move of the owner whose gates were looked at before does not begin any more. Raises
    ``Refused`` where the owner is being moved or nothing is streamed, ``Conflict`` where the ledger is not at the
    ``epoch`` that is given, ``Unfenced`` where the fence would not hold, ``StaleEpoch``, ``TimedOut`` and
    ``RightMissing``.
    """
    state = publisher.ledger.state(asked.capability)
    wanted = state.epoch if epoch is None else epoch
    transit(state, RaiseFence())
    forward, back = directions(project.capabilities[asked.capability], project)
    direction = back if state.owner is Stack.SERVICE else forward
    with open_database(direction.target_url, direction.target, "strangler fence") as database:
        found = _drift(database, direction)
        evidence = {"stack": str(direction.stack), "drift": list(found)}
        change = Change(
            capability=asked.capability,
            command=RaiseFence(),
            who=asked.who,
            reason=asked.reason,
            epoch=wanted,
            evidence=evidence,
        )
        publication, _ = publisher.change(change, project, wait_s=None)  # for proxies nothing changes
        now = state.epoch if publication.after is None else publication.after.epoch
        fence.claim(database, asked.capability, now)
        fence.raise_fence(database, fence_of(direction), epoch=now, owner=state.owner, budget_s=_BUDGET_S)
    # Once more: a comparison that was begun before it was raised has not seen what was written until then.
    publisher.ledger.note(Line(asked.capability, "fence-raised", asked.who, asked.reason, evidence))
    return Raised(stack=direction.stack, epoch=now, drift=found)


def _drift(database: psycopg.Connection, direction: Direction) -> tuple[str, ...]:
    claim: Claim | None = fence.standing(database, direction.capability)
    if claim is None:
        raise SyncError(
            f"there is no fence in the database of the {direction.stack}; start strangler sync run of this release,"
            " which makes what is missing"
        )
    return tuple(fence.drift(database, fence_of(direction))) if claim.raised else ("it was not raised",)
