"""A slot that nobody drains must not fill its server's disk: past a budget its stream is given up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import StrEnum

import psycopg

from strangler.capability import Kill, Stack
from strangler.ledger import Change, LedgerError, Publisher
from strangler.project import Project, ProjectInvalid
from strangler.sync import install, status, transfer, watermark
from strangler.sync.direction import Direction, Way
from strangler.sync.errors import SyncError, Unreachable
from strangler.sync.holding import Holders
from strangler.sync.sessions import Sessions
from strangler.sync.status import Status

Tell = Callable[[str], None]


class Verdict(StrEnum):
    """What is to be done about a slot."""

    NOTHING = "nothing"
    WARN = "warn"
    GIVE_UP = "give up"


def judge(kept: int | None, budget: int) -> Verdict:
    """Return what is to be done about a slot that keeps so many bytes: a warning at half of the budget."""
    if kept is None or kept <= budget // 2:
        return Verdict.NOTHING
    return Verdict.WARN if kept <= budget else Verdict.GIVE_UP


class Retention:
    """Looks after the slots of a project's streams, and says each thing once."""

    def __init__(self, project: Project, tell: Tell) -> None:
        self._project, self._tell = project, tell
        self._said: dict[str, Verdict] = {}
        self._holders = Holders(tell)
        self._sessions = Sessions("strangler retention")

    def look(self, directions: Sequence[Direction]) -> None:
        """Look at every slot: name what keeps it back, warn of those that keep much, give up those past the budget."""
        for each in directions:
            found = status.of(each, self._sessions)
            if not found.begun:  # whoever has removed it may be about to drop its database
                self._sessions.end(each.source_url, each.target_url)
            if found.held is not None:
                self._holders.hear(each.source, each.name, found.held, time.monotonic())
            self._judge(each, found)

    def close(self) -> None:
        self._sessions.close()

    def _judge(self, direction: Direction, found: Status) -> None:
        budget = self._project.sync.retention
        verdict = judge(found.kept_bytes, budget)
        if verdict is self._said.get(direction.name, Verdict.NOTHING):
            return
        kept = f"the {direction.source} keeps {found.kept_bytes:,} bytes of WAL for it" if found.kept_bytes else ""
        if verdict is Verdict.WARN:
            self._tell(f"{direction.name}: {kept}, and at {budget:,} it is given up: see strangler sync status")
        elif verdict is Verdict.GIVE_UP and not self._give_up(direction, f"it was given up, since {kept}"):
            return
        self._said[direction.name] = verdict

    def _give_up(self, direction: Direction, why: str) -> bool:
        why = f"{why}; the service's rows stay as they are: remove this sync and start it anew"
        try:
            if direction.way is Way.FORWARD:
                self._take_readers_back(direction.capability, why)
            self._note(direction, why)
            with transfer.open_database(direction.source_url, direction.source) as source:
                install.drop_slot(source, direction.name, grace_s=0)
        except (Unreachable, SyncError, LedgerError, ProjectInvalid, psycopg.Error) as exc:
            self._tell(f"{direction.name}: {why}; but not yet, since {exc}")
            return False
        self._tell(f"{direction.name}: {why}")
        return True

    def _note(self, direction: Direction, why: str) -> None:
        """Keep whoever applies from beginning again. Where the target is away the slot goes all the same."""
        try:
            with transfer.open_database(direction.target_url, direction.target) as target:
                watermark.give_up(target, direction.name, why)
        except (Unreachable, psycopg.OperationalError):
            pass

    def _take_readers_back(self, capability: str, why: str) -> None:
        """Nobody is to read rows that nothing keeps up to date any more."""
        with Publisher.open(self._project) as publisher:
            state = publisher.ledger.state(capability)
            if state.owner is Stack.MONOLITH and state.reads_leave_owner:
                kill = Change(capability=capability, command=Kill(reason=why), who="sync run", reason=why)
                publisher.change(kill, self._project)
