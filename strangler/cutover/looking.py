"""What a move's gates are measured on, gathered from both databases, the ledger and the proxies."""

from __future__ import annotations

import psycopg

from strangler.capability import Stack
from strangler.cutover.ends import Ends
from strangler.cutover.gates import Compared, Facts
from strangler.cutover.proving import changed_keys
from strangler.ledger import Publisher
from strangler.project import Project
from strangler.sync import fence, observing, since, status, verdicts
from strangler.sync.direction import Direction
from strangler.sync.errors import SyncError
from strangler.sync.quiet import lock_gates
from strangler.sync.transfer import open_database
from strangler.sync.writers import Report


def look(capability: str, project: Project, publisher: Publisher, *, unobserved: bool = False) -> Facts:
    """Return what the gates of a move away from the owner are measured on. Raises ``Unreachable``, ``SyncError``."""
    state = publisher.ledger.state(capability)
    newest = publisher.ledger.newest()
    to = state.owner.other
    with Ends(project.capabilities[capability], project) as ends:
        claims = {stack: fence.standing(ends.at(stack), capability) for stack in Stack}
        return Facts(
            capability=capability,
            state=state,
            ahead=status.once_running(ends.towards(to)),
            back=status.once_running(ends.towards(to.other)),
            compared=_compared(ends.towards(to), ends.at(to), project),
            workers=publisher.workers(),
            version=newest.version if newest else 0,
            claims=claims,
            drift=() if claims[to] is None else fence.drift(ends.at(to), ends.fence(to)),
            blockers={stack: lock_gates(ends.at(stack), ends.fence(stack)) for stack in Stack},
            # Who goes back is not asked, and must not depend on what is kept of writers.
            writers=Report(capability=capability) if to is Stack.MONOLITH else observing.reported(capability, project),
            unobserved=unobserved,
        )


def _compared(direction: Direction, target: psycopg.Connection, project: Project) -> Compared:
    with open_database(project.control.database.reveal(), "control database") as control:
        try:
            position = since.last_position(control, direction.capability, direction.way)
        except SyncError as exc:
            known = verdicts.last_whole(control, direction.capability, direction.way)
            return Compared(equal=None if known is None else known[0], why=str(exc))
        whole = verdicts.last(control, direction.capability).whole
    age = 0.0 if whole is None else whole.age_s
    try:
        keys = changed_keys(direction, since.changes_in(target, direction, position))
    except SyncError as exc:
        return Compared(equal=True, age_s=age, why=str(exc))
    if any(each is None for each in keys.values()):
        return Compared(equal=True, age_s=age, why="any row may have changed since")
    return Compared(equal=True, age_s=age, changed=sum(len(each or ()) for each in keys.values()))
