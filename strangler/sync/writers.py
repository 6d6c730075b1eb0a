"""Whose a writer is that was seen: the capability's, or one from outside, and what is to be done about it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from strangler.project import CapabilityFiles, Project
from strangler.project.named import means
from strangler.routing.path import readings
from strangler.routing.table import RoutingTable
from strangler.sync.observations import Allowed, Observation
from strangler.sync.observed import OTHERS, Both, Count, Kind, Tally, Times, Writer

# Any one segment of a path, as a URL pattern has it, stands for itself: no literal segment is called so.
_VARIABLE: Final = re.compile(r"<[^<>/]*>")
_ANY: Final = "~any~"


class Place(StrEnum):
    """Where a writer belongs."""

    INSIDE = "inside"  # it moves along with the owner
    OUTSIDE = "outside"
    ALLOWED = "allowed"  # from outside, and somebody has said why it may meet the fence
    EARLIER = "earlier"  # from outside, and not seen since it was looked at anew

    @property
    def holds(self) -> bool:
        """Whether the owner stays where it is as long as nothing is done about such a writer."""
        return self is Place.OUTSIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A writer that was seen, where it belongs, and what is to be done: "" where nothing is."""

    writer: Writer
    count: Count
    place: Place
    todo: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            **_shown(self.writer),
            "place": self.place,
            "todo": self.todo,
            "statements": self.count.number,
            "first_at": self.count.first_at.isoformat(),
            "last_at": self.count.last_at.isoformat(),
            "tables": sorted(self.count.tables),
            "operations": sorted(self.count.operations),
            "sample": self.count.sample,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBoth:
    """Transactions that wrote two capabilities, and whether that is dealt with."""

    both: Both
    times: Times
    place: Place

    def to_json(self) -> dict[str, Any]:
        return {
            "writer": _shown(self.both.own),
            "other": self.both.other,
            "other_writer": _shown(self.both.others),
            "place": self.place,
            "transactions": self.times.number,
            "first_at": self.times.first_at.isoformat(),
            "last_at": self.times.last_at.isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is known of who writes a capability's tables; no observation where it was never looked at.

    ``is_on`` tells whether each statement is told of now. Of the last ``behind_s`` seconds nothing is counted yet,
    None where nobody knows of how many. ``unseen`` are capabilities of which nobody is told, so that a transaction
    which writes them, too, is not seen as such.
    """

    capability: str
    observation: Observation | None = None
    is_on: bool = False
    behind_s: float | None = 0.0
    writers: Sequence[Found] = ()
    both: Sequence[FoundBoth] = ()
    unseen: Collection[str] = ()

    @property
    def statements(self) -> int:
        return sum(each.count.number for each in self.writers)

    @property
    def missed_s(self) -> float:
        """For how many seconds it was looked at with a gap, the one that is open included."""
        found = self.observation
        if found is None:
            return 0.0
        is_open = found.ended_at is None and not self.is_on
        return found.missed_s + ((found.now - found.on_at).total_seconds() if is_open else 0.0)

    @property
    def seconds(self) -> float:
        """For how long it was looked at, gaps taken out."""
        found = self.observation
        if found is None:
            return 0.0
        return max(0.0, ((found.ended_at or found.now) - found.began_at).total_seconds() - self.missed_s)

    @property
    def holding(self) -> list[str]:
        """What keeps the owner where it is, each with its name."""
        writers = [f"{each.writer} ({each.writer.role})" for each in self.writers if each.place.holds]
        pairs = [f"{each.both.own} together with {each.both.other}" for each in self.both if each.place.holds]
        return [*writers, *pairs]

    def to_json(self) -> dict[str, Any]:
        found = self.observation
        return {
            "capability": self.capability,
            "observed": found
            and {
                "stack": found.stack,
                "who": found.who,
                "reason": found.reason,
                "began_at": found.began_at.isoformat(),
                "until": found.until.isoformat(),
                "ended_at": found.ended_at and found.ended_at.isoformat(),
                "ended_why": found.why,
                "on": self.is_on,
                "seconds": round(self.seconds, 1),
                "gaps": found.gaps,
                "missed_s": round(self.missed_s, 1),
            },
            "behind_s": self.behind_s,
            "statements": self.statements,
            "writers": [each.to_json() for each in self.writers],
            "both": [each.to_json() for each in self.both],
            "unseen": sorted(self.unseen),
        }


def _shown(writer: Writer) -> dict[str, str]:
    return {"kind": writer.kind, "name": writer.name, "role": writer.role}


def report(
    files: CapabilityFiles,
    project: Project,
    observation: Observation | None,
    *,
    is_on: bool,
    behind_s: float | None,
    tally: Tally,
    allowed: Sequence[Allowed],
    unseen: Collection[str],
) -> Report:
    """Return what is known, with each writer where it belongs: those first that something is to be done about."""
    table = project.bootstrap_table()
    known = {(each.kind, each.name) for each in allowed}
    since = None if observation is None else observation.began_at

    def place(writer: Writer, last_at: datetime, *, inside: bool) -> Place:
        if inside:
            return Place.INSIDE
        if (writer.kind, writer.name) in known:
            return Place.ALLOWED
        return Place.EARLIER if since is not None and last_at < since else Place.OUTSIDE

    writers = []
    for writer, count in tally.writers.items():
        owner = owner_of(writer, files, project, table)
        where = place(writer, count.last_at, inside=owner == files.name)
        writers.append(Found(writer=writer, count=count, place=where, todo=_todo(writer, where, owner, files)))
    # A transaction across two capabilities breaks apart when one of them moves, whoever runs it.
    both = [
        FoundBoth(both=each, times=times, place=place(each.own, times.last_at, inside=False))
        for each, times in tally.both.items()
    ]
    return Report(
        capability=files.name,
        observation=observation,
        is_on=is_on,
        behind_s=behind_s,
        writers=sorted(writers, key=lambda each: (not each.place.holds, -each.count.number, each.writer)),
        both=both,
        unseen=unseen,
    )


def owner_of(writer: Writer, files: CapabilityFiles, project: Project, table: RoutingTable) -> str | None:
    """Return the capability that a writer belongs to, ``files``' own where it is one of several; None for nobody's."""
    if writer.kind is Kind.ROUTE:
        return _of_route(writer.name, table)
    for each in (files, *project.capabilities.values()):
        if any(means(said, writer.name) for said in _declared(writer.kind, each)):
            return each.name
    return None


def _declared(kind: Kind, files: CapabilityFiles) -> tuple[str, ...]:
    return {Kind.TASK: files.tasks, Kind.COMMAND: files.commands, Kind.APPLICATION: files.applications}.get(kind, ())


def _of_route(name: str, table: RoutingTable) -> str | None:
    """Return whose route a URL pattern is of, by its method and its path; what may hold besides is taken to do so."""
    method, _, pattern = name.partition(" ")
    path = _VARIABLE.sub(_ANY, pattern)
    if not path.startswith("/"):
        return None
    found = table.find(readings(path.encode())[0], lambda route: route.takes(method))
    return None if found is None else found[0].name


_KEYS: Final[Mapping[Kind, str]] = {Kind.TASK: "tasks", Kind.COMMAND: "commands", Kind.APPLICATION: "applications"}


def _todo(writer: Writer, place: Place, owner: str | None, files: CapabilityFiles) -> str:
    if not place.holds:
        return ""
    if writer.name == OTHERS:
        return "too many writers to tell apart; give sessions names without numbers, and observe anew"
    return " ".join(_ways(writer, owner, files.name))


def _ways(writer: Writer, owner: str | None, name: str) -> Iterator[str]:
    if owner is not None:
        yield f"it belongs to {owner}: have it ask {name} over HTTP;"
    elif writer.kind is Kind.ROUTE:
        yield f"if it moves along, make it a [[route]] of {name}, else have it ask {name} over HTTP;"
    elif writer.kind in _KEYS:
        key = _KEYS[writer.kind]
        yield f"if it moves along, put it into {key} of {name}'s files, else have it ask {name} over HTTP;"
    else:
        yield f"have it write through {name};"
    yield "where it may fail: strangler fence allow"
