"""What a playbook is made of, looked up: the files, the ledger, both databases and the proxies, at once.

Nobody is waited for without end: what has not answered in time is told as not looked at. Nothing is changed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

import psycopg

from strangler.capability import Refused, Stack, Stage
from strangler.cutover import forcing, looking, retiring
from strangler.cutover.forcing import Loss
from strangler.cutover.gates import LAG_S, Outcome, Verdict, verdicts
from strangler.ledger import Ledger, LedgerError, NotInstalled, Proposal, Publisher, Unknown
from strangler.ledger.ledger import definition_of
from strangler.playbook.deciding import next_step
from strangler.playbook.facts import Facts, Measured, Recorded, Unseen
from strangler.playbook.step import Measure
from strangler.project import CapabilityFiles, Project, ProjectInvalid
from strangler.sync import observing, status
from strangler.sync.check import Level, check
from strangler.sync.direction import directions
from strangler.sync.errors import NotEmpty, SyncError
from strangler.sync.status import Status, Sync
from strangler.sync.telling import duration
from strangler.sync.transfer import open_database, refuse_rows
from strangler.sync.way_back import Gate, way_back
from strangler.sync.writers import Report

WITHIN_S: Final = 15.0
"""A database that is away is known after 5 s, a stream that nobody applies after 3 s; other looks take under 1 s."""
_ENTRIES: Final = 500
_NAME: Final = "strangler playbook"

Found = TypeVar("Found")


def gather(
    files: CapabilityFiles, project: Project, *, who: str, before: tuple[str, ...] = (), within_s: float = WITHIN_S
) -> Facts:
    """Return what can be found of a capability within ``within_s`` seconds, and of the next step's gates in as many."""
    asked: dict[str, Callable[[], object]] = {"ledger": partial(_recorded, files, project)}
    if files.tables:
        asked["sync"] = partial(_streams, files, project)
        asked["writers"] = partial(observing.reported, files.name, project)
        asked |= {str(stack): partial(_reach, stack, files, project) for stack in Stack}
    found = _at_once(asked, within_s)
    facts = Facts(
        name=files.name,
        service=files.service,
        who=who,
        at=datetime.now(UTC),
        has_tables=bool(files.tables),
        born=files.born,
        cohorts=tuple(each.name for each in files.cohorts),
        before=before,
        ledger=_as(Recorded, found["ledger"]),
        away={stack: each.why for stack in Stack if isinstance(each := found.get(str(stack)), Unseen)},
        sync=_as(Sync, found["sync"]) if files.tables else None,
        writers=_as(Report, found["writers"]) if files.tables else None,
    )
    return _measured(facts, files, project, within_s)


def _measured(facts: Facts, files: CapabilityFiles, project: Project, within_s: float) -> Facts:
    """Have the gates of the next step measured, and what a rollback by force would lose where there is no other."""
    wanted = next_step(facts).measure
    asked: dict[str, Callable[[], object]] = {}
    if wanted is not None and not facts.away:
        asked["measured"] = partial(_MEASURES[wanted], files, project)
    if _only_by_force(facts):
        asked["loss"] = partial(_loss, files, project)
    found = _at_once(asked, within_s)
    measured, loss = found.get("measured"), found.get("loss")
    return replace(
        facts,
        measured=measured if isinstance(measured, Measured | Unseen) else None,
        loss=loss if isinstance(loss, Loss | Unseen) else None,
    )


def _only_by_force(facts: Facts) -> bool:
    state = facts.state
    if state is None or state.owner is Stack.MONOLITH or state.stage is Stage.RETIRED or not state.is_streamed:
        return False
    if Stack.SERVICE in facts.away:
        return Stack.MONOLITH not in facts.away
    if not isinstance(facts.sync, Sync):
        return False
    return way_back(state, facts.sync.forward, facts.sync.back).gate in (Gate.STOPPED, Gate.NONE)


# --- asked at once ---


def _at_once(asked: Mapping[str, Callable[[], object]], within_s: float) -> dict[str, object]:
    """Return what each found, ``Unseen`` for what failed or did not answer in time."""
    found: dict[str, object] = {name: Unseen(f"it did not answer within {within_s:g} s") for name in asked}

    def ask(name: str, look: Callable[[], object], into: dict[str, object]) -> None:
        try:
            into[name] = look()
        except (LedgerError, SyncError, ProjectInvalid, psycopg.Error) as exc:
            into[name] = Unseen((str(exc).strip().splitlines() or [type(exc).__name__])[0])

    answers: dict[str, object] = {}
    # Whoever hangs is left behind: a daemon thread keeps no process from ending.
    hands = [threading.Thread(target=ask, args=(name, look, answers), daemon=True) for name, look in asked.items()]
    for each in hands:
        each.start()
    until = time.monotonic() + within_s
    for each in hands:
        each.join(max(0.0, until - time.monotonic()))
    return found | dict(answers)


def _as(kind: type[Found], found: object) -> Found | Unseen:
    if isinstance(found, kind | Unseen):
        return found
    return Unseen("it was not told")


def _reach(stack: Stack, files: CapabilityFiles, project: Project) -> None:
    """Connect to the database of a stack. Raises ``Unreachable``."""
    forward, back = directions(files, project)
    end = back if stack is Stack.MONOLITH else forward
    with open_database(end.target_url, end.target, _NAME):
        pass


def _recorded(files: CapabilityFiles, project: Project) -> Recorded:
    with Publisher.open(project) as publisher:
        ledger, name = publisher.ledger, files.name
        try:
            state = ledger.state(name)
        except (Unknown, NotInstalled):
            return Recorded(state=None)
        newest, last = ledger.newest(), ledger.last(name)
        return Recorded(
            state=state,
            same_files=ledger.definitions().get(name) == definition_of(files),
            entries=ledger.history(name, _ENTRIES),
            proposal=_proposal(ledger, name),
            workers=publisher.workers(),
            version=newest.version if newest else 0,
            age_s=last[1] if last else 0.0,
        )


def _proposal(ledger: Ledger, name: str) -> Proposal | None:
    try:
        return ledger.proposal(name, retiring.ACTION)
    except NotInstalled:  # a ledger of a release before has no proposals
        return None


def _streams(files: CapabilityFiles, project: Project) -> Sync:
    """Return how the streams are; those that may just begin their session anew are waited for."""
    [found] = status.status(project, [files.name])
    if not any(_may_begin(each) for each in (found.forward, found.back)):
        return found
    with ThreadPoolExecutor(2) as hands:
        forward, back = hands.map(status.once_running, directions(files, project))
    return replace(found, forward=forward, back=back)


def _may_begin(stream: Status) -> bool:
    """Return whether nobody applies a stream, and somebody did so a moment ago."""
    idle = stream.begun and not stream.running and stream.problem is None
    return idle and (stream.lag_s is None or stream.lag_s <= LAG_S)


# --- the gates of a step ---


def _start(files: CapabilityFiles, project: Project) -> Measured:
    """Look at what ``sync check`` looks at, but for pending migrations."""
    forward, _ = directions(files, project)
    found = check(forward)
    stops = [each for each in found if each.level is Level.STOP]
    if stops:
        gates = [Verdict(gate=each.where, outcome=Outcome.FAIL, measured=each.found) for each in stops]
        return Measured(verdicts=tuple(gates))
    more = f"; {len(found)} things to be known" if found else ""
    gate = Verdict(gate="sync check", outcome=Outcome.PASS, measured=f"nothing stops the streams{more}")
    with forward.open() as (source, target):
        try:
            refuse_rows(target, forward.projections(source, target))
        except NotEmpty:
            return Measured(verdicts=(gate,), filled=True)
    return Measured(verdicts=(gate,))


def _cutover(files: CapabilityFiles, project: Project) -> Measured:
    with Publisher.open(project) as publisher:
        facts = looking.look(files.name, project, publisher)
    return Measured(verdicts=tuple(verdicts(facts)), differs=facts.compared.equal is False)


def _retire(files: CapabilityFiles, project: Project) -> Measured:
    with Publisher.open(project) as publisher:
        try:
            found = retiring.look(files.name, project, publisher, keep_copy=False)
        except Refused as exc:
            return Measured(verdicts=(Verdict(gate="retire", outcome=Outcome.FAIL, measured=str(exc)),))
    age = duration(found.verified_s)
    measured = f"all rows compared {age} ago, equal; every read is with the service; the monolith's tables are fenced"
    return Measured(verdicts=(Verdict(gate="retire", outcome=Outcome.PASS, measured=measured),))


_MEASURES: Final[Mapping[Measure, Callable[[CapabilityFiles, Project], Measured]]] = {
    Measure.START: _start,
    Measure.CUTOVER: _cutover,
    Measure.RETIRE: _retire,
}


def _loss(files: CapabilityFiles, project: Project) -> Loss | None:
    with Publisher.open(project) as publisher:
        try:
            return forcing.look(files.name, project, publisher)
        except Refused:
            return None
