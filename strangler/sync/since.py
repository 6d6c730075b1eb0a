"""The use case: the rows compared that a stream changed since both sides were last equal, and no others.

All rows compared cost a second a million, which no pause has; those that changed since cost what they are. What nobody
changed through the owner is not looked at: a row that somebody else wrote in the target is found by comparing all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg

from strangler.project import Project, TableMapping
from strangler.sync import changed, filling, status, transfer, verdicts, watermark
from strangler.sync.changed import Changed, Recorded
from strangler.sync.direction import Direction, Way, directions
from strangler.sync.errors import SyncError
from strangler.sync.mapping import Key
from strangler.sync.pgoutput import lsn_of, lsn_text
from strangler.sync.verdicts import Tell
from strangler.sync.verify import Progress, Verdict, Verifying, chosen_of, to_json

LAST: Final = "last"
"""In place of a position: where the last comparison of all rows stood."""
_ALL: Final = "compare all rows: strangler sync verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a comparison of changed rows found: of those that were changed after ``since``, up to ``until``.

    ``compared`` is how many keys were, by the service's table; None: all its rows, since any may have changed.
    """

    since: int
    until: int
    compared: Mapping[str, int | None]
    verdict: Verdict

    def to_json(self, width: int) -> dict[str, Any]:
        """Return a proof as JSON values, as ``verify.to_json`` does a verdict."""
        positions = {"since": lsn_text(self.since), "until": lsn_text(self.until)}
        return {**to_json(self.verdict, width), **positions, "compared": dict(self.compared)}


def verify_changed(asked: Verifying, since: str, project: Project, tell: Tell) -> Generator[Progress, None, Proof]:
    """Compare the rows that the stream of a way has changed since then, up to now, and keep the verdict, of a part.

    ``since`` is a position as PostgreSQL writes it, or ``LAST``. Of what is asked, tables, numbers and the way count.
    Wants a stream that is applied. Raises ``SyncError`` where it is not known what was changed, with the way on, and
    what ``verify`` raises.
    """
    direction = _direction(asked, project)
    tables = chosen_of(direction.tables, asked.tables, asked.capability)
    position = _position(asked, since, project)
    _refuse_still(direction)

    def settle() -> None:
        filling.catch_up(direction)

    settle()
    found = changes(direction, position)
    part = ", ".join((f"changed since {lsn_text(position)}", *asked.tables))
    verifying = replace(asked, settle=settle, proving=True, streamed=found.keys)
    verdict = yield from verdicts.keeping(verifying, project, tell, part=part)
    compared = {_in_service(each, asked.way): _number(found.keys.get(each.target, ())) for each in tables}
    return Proof(since=position, until=found.until, compared=compared, verdict=verdict)


def _direction(asked: Verifying, project: Project) -> Direction:
    return directions(project.capabilities[asked.capability], project)[asked.way is Way.REVERSE]


def _in_service(table: TableMapping, way: Way) -> str:
    return table.source if way is Way.REVERSE else table.target


def changes(direction: Direction, position: int) -> Changed:
    """Return which rows a stream has changed since a position of its source's WAL.

    Raises ``SyncError`` where that is not known, with the way on.
    """
    with transfer.open_database(direction.target_url, direction.target) as target:
        return changes_in(target, direction, position)


def changes_in(target: psycopg.Connection, direction: Direction, position: int) -> Changed:
    """Return the same, of the target that is open."""
    with target.transaction():
        # In one snapshot: what is forgotten meanwhile is not missed.
        target.execute("set transaction isolation level repeatable read, read only")
        found = changed.recorded(target, direction.name) if watermark.exists(target) else None
        if found is None:
            raise _not_streamed(direction)
        problem = refusal(found, position)
        if problem is not None:
            raise SyncError(f"{direction.capability}: {problem}")
        keys = changed.since(target, direction.name, position) if found.since is not None else {}
    return Changed(since=position, until=found.lsn, keys=keys)


def refusal(found: Recorded, position: int) -> str | None:
    """Return why it is not known what was changed since ``position``, and what to do; None where it is known."""
    if found.given_up is not None:
        return f"its stream does not go on: {found.given_up}"
    if found.copying:
        return "its rows are being copied, and are all compared at the end: strangler sync backfill"
    if position > found.lsn:
        return (
            f"{lsn_text(position)} is still to come: the stream stands at {lsn_text(found.lsn)}; a position is one of"
            f" the WAL that it reads, and no later one"
        )
    if found.since is None and position == found.lsn:
        return None  # nothing was applied since; so it is for a moment when a copy has ended
    if found.since is None:
        return f"what applies does not record what it changes; start strangler sync run of this release, then {_ALL}"
    if position < found.since:
        return (
            f"what was changed since {lsn_text(position)} is not known any more, but since {lsn_text(found.since)};"
            f" say --changed-since {LAST}, or {_ALL}"
        )
    return None


def position_of(text: str) -> int:
    """Return a position as a person writes it. Raises ``SyncError``."""
    if re.fullmatch("[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", text) is None:
        raise SyncError(f"{text!r} is neither a position in the WAL, as 16/B374D848 is, nor the word {LAST}")
    return lsn_of(text)


def _position(asked: Verifying, since: str, project: Project) -> int:
    if since != LAST:
        return position_of(since)
    with transfer.open_database(project.control.database.reveal(), "control database") as control:
        return last_position(control, asked.capability, asked.way)


def last_position(control: psycopg.Connection, capability: str, way: Way) -> int:
    """Return where the last comparison of all rows stood. Raises ``SyncError`` unless they were equal there."""
    last = verdicts.last_whole(control, capability, way)
    if last is None:
        raise SyncError(f"no comparison of all rows of {capability} is known; {_ALL}")
    equal, position = last
    if not equal:
        back = f"make them in the monolith what the service has: strangler sync refill {capability}"
        mend = "see strangler sync repair" if way is Way.FORWARD else back
        raise SyncError(
            f"when all rows of {capability} were compared last, some differed, and others may have changed since;"
            f" {mend}, then {_ALL}"
        )
    if position is None:
        raise SyncError(f"when all rows of {capability} were compared last no stream followed; {_ALL}")
    return lsn_of(position)


def _refuse_still(direction: Direction) -> None:
    found = status.once_running(direction)
    if not found.begun and found.problem is None:
        raise _not_streamed(direction)
    if found.problem is not None:
        raise SyncError(f"the stream of {direction.capability} does not go on: {found.problem}")
    if not found.running:
        raise SyncError(
            f"nobody applies the stream of {direction.capability}, and changes may be on their way; start strangler"
            " sync run"
        )


def _not_streamed(direction: Direction) -> SyncError:
    return SyncError(f"{direction.capability} is not streamed, and nobody knows what changed; {_ALL}")


def _number(keys: Collection[Key] | None) -> int | None:
    return None if keys is None else len(keys)
