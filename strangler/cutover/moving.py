"""The use cases: a move's gates measured, ownership moved, and a move that somebody left brought to its end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import psycopg

from strangler.capability import Refused, Stack, Stage, StartMove, transit
from strangler.cutover import conductor
from strangler.cutover.conductor import PAUSE_S, Moved, Performed
from strangler.cutover.gates import WRITERS, Facts, Verdict, passes, verdicts
from strangler.cutover.looking import look
from strangler.ledger import Publisher
from strangler.project import Project
from strangler.sync.direction import directions
from strangler.sync.errors import SyncError
from strangler.sync.syncing import Asked, settling
from strangler.sync.verdicts import Tell, keeping
from strangler.sync.verify import Progress, Verifying, first_line
from strangler.sync.verify import Verdict as SyncVerdict

Watch = Callable[[Generator[Progress, None, SyncVerdict]], SyncVerdict]
"""Runs a comparison of all rows to its end, and shows its progress."""


class GateFailed(Exception):
    """A gate does not hold, and nothing was begun. ``verdicts`` are those of all gates, each with its way on."""

    def __init__(self, found: Sequence[Verdict]) -> None:
        failing = [each for each in found if not passes([each])]
        super().__init__("; ".join(f"{each.gate}: {each.measured}" for each in failing))
        self.verdicts = tuple(found)


def gates(
    asked: Asked,
    project: Project,
    publisher: Publisher,
    tell: Tell,
    watch: Watch,
    *,
    unobserved: bool = False,
    urgent: bool = False,
) -> list[Verdict]:
    """Measure every gate of a move away from the owner. All rows are compared where too little is known of them.

    ``unobserved`` says that nobody need have looked at who writes.
    Raises ``SyncError`` where a database cannot be asked.
    """
    facts = _looked(asked.capability, project, publisher, unobserved)
    found = verdicts(facts, urgent=urgent)
    if passes(found) or any(not passes([each]) for each in found if each.gate != "verify"):
        return found
    if facts.compared.equal is False:
        return found
    stream = directions(project.capabilities[asked.capability], project)[facts.state.owner is Stack.SERVICE]
    comparing = Verifying(capability=asked.capability, settle=settling(stream), proving=True, way=stream.way)
    watch(keeping(comparing, project, tell))
    return verdicts(_looked(asked.capability, project, publisher, unobserved), urgent=urgent)


def _looked(capability: str, project: Project, publisher: Publisher, unobserved: bool) -> Facts:
    try:
        return look(capability, project, publisher, unobserved=unobserved)
    except psycopg.Error as exc:
        raise SyncError(first_line(exc)) from exc


def move(
    asked: Asked,
    to: Stack,
    project: Project,
    publisher: Publisher,
    *,
    told: Callable[[Performed], None],
    measured: Callable[[Sequence[Verdict]], None],
    tell: Tell,
    watch: Watch,
    pause_s: float = PAUSE_S,
    unobserved: bool = False,
    urgent: bool = False,
) -> Moved:
    """Make ``to`` the owner of a capability; ``measured`` hears the gates' verdicts, ``told`` each step.

    Raises ``Refused`` where it is already, or somebody is moving it, ``GateFailed`` where a gate does not hold, and
    what ``conductor.move`` raises.
    """
    refuse(asked, to, publisher)
    epoch = publisher.ledger.state(asked.capability).epoch
    found = gates(asked, project, publisher, tell, watch, unobserved=unobserved, urgent=urgent)
    measured(found)
    if not passes(found):
        raise GateFailed(found)
    evidence = {each.gate: each.measured for each in found if each.gate == WRITERS}
    return conductor.move(asked, project, publisher, told=told, pause_s=pause_s, epoch=epoch, evidence=evidence)


def refuse(asked: Asked, to: Stack, publisher: Publisher) -> None:
    """Raise ``Refused`` where ``to`` owns the capability already, or somebody moves it."""
    state = publisher.ledger.state(asked.capability)
    if state.moving is not None:
        raise Refused(
            f"the owner of {asked.capability} is being moved (epoch {state.moving.epoch}, {state.moving.phase}); if"
            f" nobody does so any more: strangler resume {asked.capability}"
        )
    if state.stage is Stage.RETIRED:
        transit(state, StartMove())
    if state.owner is to:
        raise Refused(f"the {to} owns {asked.capability} already")
