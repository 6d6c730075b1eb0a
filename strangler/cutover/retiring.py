"""A capability retired: two people give up the way back, and the monolith's tables stay fenced until they are dropped.

The ledger comes first, with the confirmation in the same transaction. What is taken away then is taken away again by
whoever runs this once more: nothing of it is needed by anybody.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from strangler.capability import Data, Refused, Retire, Stage, State, transit
from strangler.ledger import Change, Proposal, Publisher, Unacknowledged
from strangler.ledger.publish import WAIT_S
from strangler.project import Project
from strangler.sync import fence, fencing, status, syncing, verdicts
from strangler.sync.direction import directions
from strangler.sync.syncing import Asked
from strangler.sync.transfer import open_database

ACTION: Final = "retire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was looked at before: the state, and how long ago all rows were compared and equal (s)."""

    state: State
    verified_s: float


def look(capability: str, project: Project, publisher: Publisher, *, keep_copy: bool) -> Found:
    """Return on what a retirement stands. Raises ``Refused`` with what is to be done first, ``SyncError``."""
    state = publisher.ledger.state(capability)
    transit(state, Retire(keep_copy=keep_copy))
    forward, back = directions(project.capabilities[capability], project)
    around = fencing.fence_of(back)
    with open_database(forward.source_url, forward.source) as monolith:
        claim = fence.standing(monolith, capability)
        if claim is None or not claim.raised:
            raise Refused("the monolith's tables are not fenced: without that anybody may write there; see sync status")
        if claim.epoch > state.epoch:
            raise Refused(
                f"the monolith's database stands at epoch {claim.epoch}, and the ledger at {state.epoch}: restore the"
                " newer ledger"
            )
        if drifted := fence.drift(monolith, around):
            raise Refused(f"the monolith's fence may have been passed: {'; '.join(drifted)}")
    if keep_copy and not (standing := status.once_running(back)).follows:
        raise Refused(
            f"the stream to the monolith does not follow, and is to go on: {standing.problem or 'it is late'}"
        )
    return Found(state=state, verified_s=_verified(capability, project))


def _verified(capability: str, project: Project) -> float:
    with open_database(project.control.database.reveal(), "control database") as control:
        whole = verdicts.last(control, capability).whole
    again = f"compare all rows first: strangler sync verify {capability}"
    if whole is None:
        raise Refused(f"it is not known that both sides are equal; {again}")
    if not whole.equal:
        raise Refused(f"both sides differed when they were compared last; mend that, and {again}")
    return whole.age_s


def effects(capability: str, *, keep_copy: bool) -> Iterator[str]:
    """Yield what a retirement does, for a person who is about to want it."""
    yield "there is no way back any more: neither strangler rollback nor strangler kill does anything for it"
    yield "the stream into the service ends, and nothing of the monolith's WAL is kept for it"
    if keep_copy:
        yield "the stream to the monolith goes on: whoever reads its tables there sees the service's rows"
    else:
        yield "the stream to the monolith ends: its tables stay as they are then, and get older"
    yield f"the monolith's tables of {capability} stay fenced, with the service as owner, until they are dropped"


def propose(asked: Asked, project: Project, publisher: Publisher, *, keep_copy: bool) -> Found:
    """Propose to retire a capability. Raises as ``look`` does."""
    found = look(asked.capability, project, publisher, keep_copy=keep_copy)
    publisher.ledger.propose(
        asked.capability, ACTION, who=asked.who, reason=asked.reason, asked={"keep_copy": keep_copy}
    )
    return found


def confirm(asked: Asked, project: Project, publisher: Publisher) -> Proposal:
    """Retire what somebody else has proposed. Raises ``Refused``, and ``SyncError`` naming what was not taken away."""
    proposed = publisher.ledger.proposal(asked.capability, ACTION)
    if proposed is None:
        raise Refused(f"nobody has proposed to retire {asked.capability}")
    proposed.refuse(asked.who, publisher.ledger.state(asked.capability).epoch)
    keep_copy = bool(proposed.asked.get("keep_copy"))
    found = look(asked.capability, project, publisher, keep_copy=keep_copy)
    change = Change(
        capability=asked.capability,
        command=Retire(keep_copy=keep_copy),
        who=asked.who,
        reason=asked.reason or proposed.reason,
        epoch=proposed.epoch,
        evidence={
            "proposed_by": proposed.who,
            "proposed_at": proposed.at.isoformat(),
            "proposed_for": proposed.reason,
            "keep_copy": keep_copy,
            "verified_s_ago": round(found.verified_s, 1),
        },
        confirms=ACTION,
    )
    started = time.monotonic()
    publication = publisher.ledger.apply(change)
    with suppress(Unacknowledged):  # it routes as before; who is late hears of it
        publisher.push(publication, started=started, wait_s=WAIT_S)
    clear(asked.capability, project, publisher)
    return proposed


def clear(capability: str, project: Project, publisher: Publisher) -> None:
    """Take away what a retired capability needs no more. Raises ``SyncError`` naming a side that was not reached."""
    state = publisher.ledger.state(capability)
    if state.stage is not Stage.RETIRED:
        raise Refused(f"{capability} is not retired")
    forward, back = directions(project.capabilities[capability], project)
    syncing.take_away((forward,) if state.data is Data.STREAMED else (forward, back), stays_fenced=True)
