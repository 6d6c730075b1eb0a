"""A kill where the owner moves or has moved: reads to the owner at once, then back to the monolith.

Reads are latched first, whatever else there is to do. A cutover that has not switched is aborted by the same write: its
conductor finds itself overtaken. One that has switched goes on to its end, and is then gone back from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from strangler.capability import Phase, RefuseWrites, Stack, State
from strangler.cutover import conductor, forcing
from strangler.cutover.conductor import PAUSE_S, Performed
from strangler.cutover.watching import GRACE_S
from strangler.ledger import Acknowledgement, Change, Publisher
from strangler.project import Project
from strangler.sync.direction import directions
from strangler.sync.errors import Unreachable
from strangler.sync.syncing import Asked
from strangler.sync.transfer import open_database

_LOOK_S: Final = 0.1


def settle(asked: Asked, project: Project, publisher: Publisher, *, told: Callable[[Performed], None]) -> State:
    """Bring a move that a kill has come upon to its end, and return the state then.

    A rollback is what a kill wants: whoever performs it is given its pause. Raises ``Unfinished``.
    """
    until = time.monotonic() + PAUSE_S + GRACE_S
    while _goes_back(state := publisher.ledger.state(asked.capability)) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    if state.moving is not None and state.moving.phase is Phase.FORCED:
        forcing.carry_on(asked, project, publisher, tell=lambda _: None)
    elif state.moving is not None:
        conductor.carry_on(asked, project, publisher, told=told)
    return publisher.ledger.state(asked.capability)


def _goes_back(state: State) -> bool:
    move = state.moving
    return move is not None and move.phase is Phase.PREPARED and move.source is Stack.SERVICE


def refuse_writes(asked: Asked, project: Project, publisher: Publisher, *, wait_s: float | None) -> Acknowledgement:
    """Have the proxies take no write of a capability that its service owns, and send reads to whoever can answer.

    That is the service while its database answers, else the monolith, with its rows as they came last.
    """
    command = RefuseWrites(reason=asked.reason, readers=readers(asked.capability, project))
    change = Change(capability=asked.capability, command=command, who=asked.who, reason=asked.reason)
    return publisher.change(change, project, wait_s=wait_s)[1]


def readers(capability: str, project: Project) -> Stack:
    """Return the stack that can answer reads of a capability that the service owns."""
    forward, _ = directions(project.capabilities[capability], project)
    try:
        with open_database(forward.target_url, forward.target, "strangler kill"):
            return Stack.SERVICE
    except Unreachable:
        return Stack.MONOLITH
