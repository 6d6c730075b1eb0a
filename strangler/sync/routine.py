"""All rows compared from time to time, beside the streams: the verdict is there before anybody asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import psycopg

from strangler.project import Project, ProjectInvalid
from strangler.sync import ending, status, syncing, transfer, verdicts
from strangler.sync.errors import SyncError
from strangler.sync.verify import Verdict, Verifying

_AGAIN_S: Final = 600.0
"""After a comparison that could not be made: whatever blocked it may block the next one, too."""

Tell = Callable[[str], None]
Wanted = Callable[[], bool]


def most_overdue(ages: Mapping[str, float | None], interval: float) -> str | None:
    """Return whose comparison was the longest ago, of those that are due; what was never compared comes first."""
    due = {name: float("inf") if age is None else age for name, age in ages.items() if age is None or age >= interval}
    return max(due, key=due.__getitem__, default=None)


class Routine:
    """Compares the streamed capabilities of a project, one at a time, each once an interval."""

    def __init__(self, project: Project, tell: Tell) -> None:
        self._project, self._tell = project, tell
        self._not_before: dict[str, float] = {}

    def look(self, wanted: Wanted) -> None:
        """Make the comparison that is the most overdue, if one is; it ends early when it is not ``wanted`` any more."""
        if not self._project.sync.verify_interval:
            return
        try:
            name = most_overdue(self._ages(), self._project.sync.verify_interval)
        except (SyncError, psycopg.Error):
            return  # whoever applies says what is away
        if name is None:
            return
        self._not_before[name] = time.monotonic() + _AGAIN_S
        try:
            verdict = self._compare(name, wanted)
        except (SyncError, ProjectInvalid, psycopg.Error) as exc:
            self._tell(f"{name} could not be compared: {str(exc).strip().splitlines()[0]}")
            return
        if verdict is not None and not verdict.equal:
            rows = sum(table.found + table.unseen_rows for table in verdict.tables)
            self._tell(f"{name} is not equal, rows that differ: {rows:,}; see strangler sync verify {name}")

    def _ages(self) -> dict[str, float | None]:
        """Return how many seconds ago each capability was compared that can be now."""
        found: dict[str, float | None] = {}
        with transfer.open_database(self._project.control.database.reveal(), "control database") as control:
            for name, files in self._project.capabilities.items():
                if files.tables and time.monotonic() >= self._not_before.get(name, 0.0) and self._is_followed(name):
                    whole = verdicts.last(control, name).whole
                    found[name] = None if whole is None else whole.age_s
        return found

    def _is_followed(self, name: str) -> bool:
        """Return whether a stream brings what is written, and its copy has ended."""
        leading = syncing.leading(name, self._project)
        return status.of(leading).follows and not ending.is_copying(leading)

    def _compare(self, name: str, wanted: Wanted) -> Verdict | None:
        leading = syncing.leading(name, self._project)
        asked = Verifying(capability=name, settle=syncing.settling(leading), proving=True, way=leading.way)
        steps = verdicts.keeping(asked, self._project, self._tell)
        while wanted():
            try:
                next(steps)
            except StopIteration as end:
                verdict: Verdict = end.value
                return verdict
        steps.close()
        return None
