"""A move of ownership that somebody has left is brought to its end by whoever keeps the streams going."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from strangler.capability import Refused
from strangler.cutover.conductor import PAUSE_S, Unfinished, carry_on
from strangler.ledger import LedgerError, Publisher
from strangler.project import Project, ProjectInvalid
from strangler.sync.errors import SyncError
from strangler.sync.syncing import Asked

# Past its pause a conductor has aborted or switched, which the history tells. One that is only slow
# loses nothing by being helped: see protocol.
_GRACE_S: Final = 3.0
_WHO: Final = "strangler sync run"
_WHY: Final = "whoever moved the owner has left it"


def look(project: Project, told: Callable[[str], None]) -> None:
    """Bring every move to its end that nobody has carried on for longer than its pause; say what came of it."""
    try:
        with Publisher.open(project) as publisher:
            for name, state in publisher.ledger.states().items():
                if name in project.capabilities and state.moving is not None and _is_left(publisher, name):
                    _carry_on(name, project, publisher, told)
    except (LedgerError, ProjectInvalid):
        return  # that the control database is away is told by whoever holds its lock


def _is_left(publisher: Publisher, capability: str) -> bool:
    last = publisher.ledger.last(capability)
    if last is None:
        return False
    entry, age_s = last
    return age_s > float(entry.evidence.get("pause_s", PAUSE_S)) + _GRACE_S


def _carry_on(capability: str, project: Project, publisher: Publisher, told: Callable[[str], None]) -> None:
    asked = Asked(capability=capability, who=_WHO, reason=_WHY)
    try:
        moved = carry_on(asked, project, publisher, told=lambda _: None)
    except (Unfinished, Refused, SyncError) as exc:
        told(f"{capability}: {exc}; it is tried again")
        return
    if moved is not None:
        told(f"{capability}: {_WHY}; it is {moved.end} now, and the {moved.owner} owns it (epoch {moved.epoch})")
