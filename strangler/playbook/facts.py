"""What a playbook is made of, as it was found: from the files, the ledger, both databases and the proxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from strangler.capability import Data, Stack, State
from strangler.cutover.forcing import Loss
from strangler.cutover.gates import Verdict
from strangler.ledger import Entry, Proposal, Worker
from strangler.sync.status import Status, Sync
from strangler.sync.writers import Report


@dataclass(frozen=True, slots=True)
class Unseen:
    """What could not be looked at, and why."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the ledger has: no ``state`` before the capability is published, the newest entry first.

    ``same_files`` tells whether what is published is what the files here say. ``age_s`` is how long ago the last entry
    was written. Retiring may have been proposed.
    """

    state: State | None
    same_files: bool = True
    entries: Sequence[Entry] = ()
    proposal: Proposal | None = None
    workers: Sequence[Worker] = ()
    version: int = 0
    age_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The gates of the next step. ``filled``: the service's tables hold rows; ``differs``: both sides do."""

    verdicts: tuple[Verdict, ...]
    filled: bool = False
    differs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was found of one capability ``at`` a time. ``before`` is what stands before each verb.

    ``cohorts`` are those that the files name. ``away`` tells of each stack's database that does not answer why.
    ``sync`` and ``writers`` are None without tables, ``measured`` where the next step has no gates of its own, ``loss``
    where going back loses nothing or cannot be.
    """

    name: str
    service: str
    who: str
    at: datetime
    has_tables: bool = True
    born: Stack = Stack.MONOLITH
    cohorts: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    ledger: Recorded | Unseen
    away: Mapping[Stack, str] = field(default_factory=dict)
    sync: Sync | Unseen | None = None
    writers: Report | Unseen | None = None
    measured: Measured | Unseen | None = None
    loss: Loss | Unseen | None = None

    @property
    def state(self) -> State | None:
        return self.ledger.state if isinstance(self.ledger, Recorded) else None

    @property
    def streams(self) -> tuple[Status, ...]:
        """Both streams, the way forward first; none where they could not be asked, or there are no tables."""
        return (self.sync.forward, self.sync.back) if isinstance(self.sync, Sync) else ()

    @property
    def unseen(self) -> dict[str, str]:
        """What could not be looked at, with why."""
        found = {
            "the ledger": self.ledger,
            "the streams": self.sync,
            "who writes its tables": self.writers,
            "the gates of the next step": self.measured,
            "what a rollback by force would lose": self.loss,
        }
        parts = {name: each.why for name, each in found.items() if isinstance(each, Unseen)}
        return {**{f"the {stack}'s database": why for stack, why in self.away.items()}, **parts}


def stands_alone(state: State) -> bool:
    """Return whether only the service has the data: nothing of it can be with the monolith."""
    return state.owner is Stack.SERVICE and not state.is_streamed


def is_read_there(state: State) -> bool:
    """Return whether the service answers readers while the monolith owns."""
    return state.owner is Stack.MONOLITH and state.reads_leave_owner


def is_bare(state: State) -> bool:
    """Return whether there are no tables to be copied, as published."""
    return state.data is Data.NONE
