"""The use case: rows that differ found, read anew and written, told in the history, and compared again."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict
from typing import Final

from strangler.ledger import Line, Publisher
from strangler.project import Project
from strangler.sync import ending, filling, status
from strangler.sync.direction import Direction, Way
from strangler.sync.errors import SyncError
from strangler.sync.rewriting import Rewritten, rewrite
from strangler.sync.syncing import Asked, leading
from strangler.sync.verdicts import Tell, keeping
from strangler.sync.verify import Progress, Verdict, Verifying

MOST: Final = 10_000
"""More rows than this are no accident: whoever wrote them is to be found, and a new copy is quicker, too."""


def find(
    capability: str, tables: tuple[str, ...], most: int, told: int, project: Project, tell: Tell
) -> Generator[Progress, None, Verdict]:
    """Compare, and know the keys of at most ``most`` rows a table that differ.

    Raises ``SyncError`` when nobody applies the stream, or its copy has not ended: such rows are still to come.
    """
    forward = _followed(capability, project)

    def settle() -> None:
        filling.catch_up(forward)

    asked = Verifying(capability=capability, tables=tables, told=told, settle=settle, proving=True, keyed=most)
    return (yield from keeping(asked, project, tell, part=", ".join(tables) or None))


def repair(asked: Asked, verdict: Verdict, most: int, project: Project, publisher: Publisher) -> Rewritten:
    """Make the rows that ``verdict`` names equal, and write into the history what was done.

    Raises ``SyncError`` for more than ``most`` of them; what was done when it cannot go on is in the history, too.
    """
    _refuse_many(asked.capability, verdict, most)
    forward = _followed(asked.capability, project)
    found = {table.target: table.found for table in verdict.tables if table.found}
    done = Rewritten()
    try:
        for more in rewrite(forward, verdict.keys):
            done += more
    finally:
        if done.rows:
            evidence = {"found": found, **asdict(done)}
            publisher.ledger.note(Line(asked.capability, "sync-repair", asked.who, asked.reason, evidence))
    return done


def prove(verdict: Verdict, project: Project, tell: Tell) -> Generator[Progress, None, Verdict]:
    """Compare the rows again that ``verdict`` names."""
    forward = _followed(verdict.capability, project)

    def settle() -> None:
        filling.catch_up(forward)

    rows = verdict.keys
    asked = Verifying(capability=verdict.capability, settle=settle, proving=True, rows=rows)
    part = f"{sum(map(len, rows.values())):,} repaired"
    return (yield from keeping(asked, project, tell, part=part))


def _followed(capability: str, project: Project) -> Direction:
    """Return the stream into the service. Raises ``SyncError`` unless it is applied, and its copy has ended.

    And where the service owns the rows: those are not to be made what the monolith has.
    """
    forward = leading(capability, project)
    if forward.way is Way.REVERSE:
        raise SyncError(
            f"the service owns {capability}, and only a service's copy is repaired; what the monolith has is made what"
            f" the service has by strangler sync refill {capability}"
        )
    found = status.once_running(forward)
    if found.problem is not None:
        raise SyncError(f"the stream of {capability} does not go on: {found.problem}")
    if not found.begun:
        raise SyncError(
            f"{capability} is not streamed, and what its monolith writes makes a snapshot differ; make it anew:"
            f" strangler sync backfill {capability} --replace"
        )
    if not found.running:
        raise SyncError(
            f"nobody applies the stream of {capability}, and rows may be on their way; start strangler sync run"
        )
    if ending.is_copying(forward):
        raise SyncError(
            f"{capability} is being copied; its rows are still to come: strangler sync backfill {capability}"
        )
    return forward


def _refuse_many(capability: str, verdict: Verdict, most: int) -> None:
    rows = sum(table.found + table.unseen_rows for table in verdict.tables)
    unseen = any(table.unseen_ranges for table in verdict.tables)
    if rows > most or unseen:
        words = "up to " if unseen else ""
        raise SyncError(
            f"{words}{rows:,} rows of {capability} differ, and at most {most:,} are repaired: see who writes to the"
            f" service's tables, then begin anew: strangler sync remove {capability}, strangler sync start {capability}"
            " --replace, strangler sync backfill"
        )
