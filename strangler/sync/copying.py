"""The use case: a capability's tables copied, and its state then ``snapshot``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import psycopg

from strangler.capability import Command, Data, DiscardCopy, Stage, TakeSnapshot, transit
from strangler.ledger import Change, Publisher
from strangler.project import Project
from strangler.sync import backfill, ending, load, status, transfer
from strangler.sync.direction import Direction, directions
from strangler.sync.errors import NotEmpty, SyncError, Unreachable
from strangler.sync.plan import FREELY, Progress, Seen, Throttle

_ASK_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """What is asked: which capability, by whom and why, and how fast.

    ``replace`` makes a copy anew; ``submit`` None copies here.
    """

    capability: str
    who: str
    reason: str
    replace: bool = False
    submit: backfill.Submit | None = None
    chunk_rows: int | None = None
    throttle: Throttle = FREELY


def copy(asked: Copying, project: Project, publisher: Publisher) -> Iterator[Progress]:
    """Copy the tables and yield the progress; afterwards the state says ``snapshot`` with its time.

    Where streams have begun the state stays as it is: see ``syncing.complete``. Carries on an unfinished run. Raises
    ``Refused`` while reads are on the service, ``MappingInvalid``, ``NotEmpty``, ``ChunkFailed``.
    """
    files = project.capabilities[asked.capability]
    if not files.tables:
        raise SyncError(f"{asked.capability} has no mapping.toml: there is nothing to copy")
    state = publisher.ledger.state(asked.capability)
    streamed = state.stage is Stage.SYNCING
    forward, _ = directions(files, project)
    if status.is_streamed(forward) != streamed:
        raise SyncError(
            f"the state of {asked.capability} and what is in the databases differ, since a start or a remove was cut"
            f" short; run first: strangler sync {'start' if streamed else 'remove'} {asked.capability}"
        )
    if streamed and not ending.is_copying(forward):
        return
    if not streamed:
        transit(state, TakeSnapshot(at=datetime.now(UTC)))  # refuses now what would be refused at the end
    if state.data is Data.SNAPSHOT:
        if not asked.replace:
            raise NotEmpty(f"{asked.capability} has a snapshot of {state.data_at}; --replace makes it anew")
        _record(publisher, project, asked, DiscardCopy())
    run = backfill.prepare(
        files, project, replace=asked.replace, chunk_rows=asked.chunk_rows or asked.throttle.chunk_rows
    )
    pace = backfill.Pace(throttle=asked.throttle, look=_look(forward, asked.throttle))
    if asked.submit is None:
        yield from backfill.copy_here(project, run, pace)
    else:
        yield from backfill.follow(project, run, asked.submit, pace)
    if streamed:
        ending.complete(forward)
    else:
        _record(publisher, project, asked, TakeSnapshot(at=backfill.prove(files, project, run)))
    backfill.close(project, run)


def _look(forward: Direction, throttle: Throttle) -> Callable[[], Seen]:
    """Return what looks at what ``throttle`` wants to know; it asks once a second at most."""
    asked_at, known = -math.inf, Seen()

    def look() -> Seen:
        nonlocal asked_at, known
        if time.monotonic() - asked_at > _ASK_S:
            known = Seen(
                lag_s=None if throttle.lag_s is None else status.of(forward).lag_s,
                busy=None if throttle.busy is None else _busy(forward),
            )
            asked_at = time.monotonic()
        return known

    return look


def _busy(forward: Direction) -> int | None:
    """Return how many sessions of others are at work on the source; None where it does not answer."""
    try:
        with transfer.open_database(forward.source_url, forward.source) as source:
            return load.busy(source)
    except (Unreachable, psycopg.Error):
        return None  # the copy finds that out by itself, and waits or says so


def _record(publisher: Publisher, project: Project, asked: Copying, command: Command) -> None:
    change = Change(capability=asked.capability, command=command, who=asked.who, reason=asked.reason)
    publisher.change(change, project)
