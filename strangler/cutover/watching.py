"""A move of ownership that somebody has left is brought to its end by whoever keeps the streams going.

So is a rollback that was forced, and a database that comes back after it is fenced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import psycopg

from strangler.capability import Phase, Refused, State
from strangler.cutover import forcing
from strangler.cutover.conductor import PAUSE_S, Unfinished, carry_on
from strangler.ledger import LedgerError, Publisher
from strangler.project import Project, ProjectInvalid
from strangler.sync.errors import SyncError
from strangler.sync.syncing import Asked

# Past its pause a conductor has aborted or switched, which the history tells. One that is only slow
# loses nothing by being helped: see protocol.
GRACE_S: Final = 3.0
_PATIENCE_S: Final = 3.0
"""So long a step is tried: what cannot be done now is tried again at the next look, and the others' turn comes."""
_WHO: Final = "strangler sync run"
_WHY: Final = "whoever moved the owner has left it"
_BARRED: Final = "the service's database has come back after a rollback that was forced"

Tell = Callable[[str], None]


class Watching:
    """Looks after the moves of a project, and says each thing once until it is another."""

    def __init__(self, project: Project, tell: Tell) -> None:
        self._project, self._tell = project, tell
        self._said: dict[str, str] = {}

    def look(self) -> None:
        """Bring each move on that nobody has carried on for longer than its pause, as far as it goes now."""
        try:
            with Publisher.open(self._project) as publisher:
                for name, state in publisher.ledger.states().items():
                    if name in self._project.capabilities:
                        self._look_at(name, state, publisher)
        except (LedgerError, ProjectInvalid):
            return  # that the control database is away is told by whoever holds its lock

    def _look_at(self, name: str, state: State, publisher: Publisher) -> None:
        barring = state.move is not None and state.move.phase is Phase.BARRING
        if not barring and not (state.moving is not None and _is_left(publisher, name)):
            self._said.pop(name, None)
            return
        try:
            came = self._bar(name, publisher) if barring else self._carry_on(name, state, publisher)
        except (Unfinished, Refused, SyncError, psycopg.Error) as exc:
            came = f"{exc}; it is tried again"
        if came and self._said.get(name) != came:
            self._said[name] = came
            self._tell(f"{name}: {came}")

    def _carry_on(self, name: str, state: State, publisher: Publisher) -> str:
        asked = Asked(capability=name, who=_WHO, reason=_WHY)
        if state.moving is not None and state.moving.phase is Phase.FORCED:
            forcing.carry_on(asked, self._project, publisher, tell=_unheard, patience_s=_PATIENCE_S)
            return f"{_WHY}; the monolith owns it now, by force"
        moved = carry_on(asked, self._project, publisher, told=_unheard, patience_s=_PATIENCE_S)
        if moved is None:
            return ""
        return f"{_WHY}; it is {moved.end} now, and the {moved.owner} owns it (epoch {moved.epoch})"

    def _bar(self, name: str, publisher: Publisher) -> str:
        found = forcing.bar(Asked(capability=name, who=_WHO, reason=_BARRED), self._project, publisher)
        return "" if found is None else f"{_BARRED}, and is fenced; {found}: see strangler history {name} --json"


def _unheard(_: object) -> None:
    """Say nothing of the steps."""


def _is_left(publisher: Publisher, capability: str) -> bool:
    last = publisher.ledger.last(capability)
    if last is None:
        return False
    entry, age_s = last
    return age_s > float(entry.evidence.get("pause_s", PAUSE_S)) + GRACE_S
