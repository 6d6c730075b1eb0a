"""What comparisons found, as rows of the control database: the last few of each capability."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import sql

from strangler.project import Project, ProjectInvalid
from strangler.sync import changed, transfer, watermark
from strangler.sync.direction import Direction, Way, directions
from strangler.sync.errors import SyncError, Unreachable
from strangler.sync.pgoutput import lsn_text
from strangler.sync.verify import Progress, Verdict, Verifying, verify

_KEPT: Final = 10
"""Enough to see since when a difference is there; the last one of all rows stays longer."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A comparison that was made, and ended ``age_s`` seconds ago. ``part`` says which rows, None of all of them."""

    at: datetime
    age_s: float
    part: str | None
    equal: bool
    rows: int
    differing: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        shown = {"age_s": round(self.age_s, 1), "seconds": round(self.seconds, 3)}
        return {**asdict(self), "at": self.at.isoformat(), **shown}


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """The last comparison of all rows, and the last of some of them where that is the later one."""

    whole: Kept | None = None
    part: Kept | None = None

    @property
    def equal(self) -> bool | None:
        """Whether both sides were equal as far as is known; None where nothing is."""
        if self.whole is None:
            return None
        return self.whole.equal and (self.part is None or self.part.equal)


NOTHING_KNOWN: Final = Last()


Standings = Mapping[Way, str]
"""Where the stream of the way that is compared stood before, where there is one and its tables are not being copied.

Of the other way nothing is proved: its mapping has other columns, and its rows may be others.
"""
NOWHERE: Final[Standings] = {}


def keeping(
    asked: Verifying, project: Project, told: Tell, *, part: str | None = None
) -> Generator[Progress, None, Verdict]:
    """Compare, keep the verdict, and return it; ``told`` hears why it could not be kept; it is no less true."""
    standings = _standings(asked, project) if part is None else NOWHERE
    verdict = yield from verify(asked, project)
    try:
        with transfer.open_database(project.control.database.reveal(), "control database") as control:
            keep(control, verdict, part, standings)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        told("this verdict is not kept for sync status: the ledger is of a release before; run: strangler publish")
    except (Unreachable, ProjectInvalid, psycopg.Error) as exc:
        told(f"this verdict is not kept for sync status: {str(exc).strip().splitlines()[0]}")
    else:
        if verdict.equal:
            _forget_changed(asked, project, standings)
    return verdict


def _standings(asked: Verifying, project: Project) -> Standings:
    """Return where the stream stands. Before anything is read: what is applied later may be seen or not."""
    found = {}
    for each in _compared(asked, project):
        # Without one a verdict is as true. A database that is away is named by whoever compares.
        with suppress(Unreachable, psycopg.Error), transfer.open_database(each.target_url, each.target) as target:
            at = watermark.standing(target, each.name) if watermark.exists(target) else None
            if at is not None and not at.copying:
                found[each.way] = lsn_text(at.lsn)
    return found


def _forget_changed(asked: Verifying, project: Project, standings: Standings) -> None:
    """Have a stream forget what it changed before all of it was proved; what stays is forgotten the next time."""
    for each in _compared(asked, project):
        if each.way in standings:
            with suppress(Unreachable, psycopg.Error), transfer.open_database(each.target_url, each.target) as target:
                changed.forget(target, each.name, standings[each.way])


def _compared(asked: Verifying, project: Project) -> tuple[Direction, ...]:
    """Return the direction of the way that is compared, where there are tables at all."""
    files = project.capabilities[asked.capability]
    return tuple(each for each in directions(files, project) if each.way is asked.way) if files.tables else ()


def keep(control: psycopg.Connection, verdict: Verdict, part: str | None, standings: Standings = NOWHERE) -> None:
    """Record a verdict, and forget the oldest ones, but for the last of all rows, each way."""
    tables = verdict.tables
    with control.transaction():
        control.execute(
            "insert into strangler.verification"
            " (capability, part, equal, rows, differing, seconds, forward, reverse)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                verdict.capability,
                part,
                verdict.equal,
                sum(each.monolith_rows for each in tables),
                sum(each.found + each.unseen_rows for each in tables),
                verdict.seconds,
                standings.get(Way.FORWARD),
                standings.get(Way.REVERSE),
            ],
        )
        control.execute(
            "delete from strangler.verification where capability = %(name)s and id not in ("
            "(select id from strangler.verification where capability = %(name)s order by id desc limit %(kept)s) union"
            " (select max(id) from strangler.verification where capability = %(name)s and part is null"
            " group by forward is null, reverse is null))",
            {"name": verdict.capability, "kept": _KEPT},
        )


def last(control: psycopg.Connection, capability: str) -> Last:
    """Return what is known of a capability; of a ledger of a release before, nothing."""
    if not _is_there(control):
        return NOTHING_KNOWN
    rows = control.execute(
        "select distinct on (part is null) id, part, at,"
        " extract(epoch from clock_timestamp() - at)::float8, equal, rows, differing, seconds"
        " from strangler.verification where capability = %s order by part is null, id desc",
        [capability],
    ).fetchall()
    found = {row[1] is None: (row[0], _kept(*row[1:])) for row in rows}
    whole, part = found.get(True), found.get(False)
    later = part is not None and (whole is None or part[0] > whole[0])
    return Last(whole=whole and whole[1], part=part[1] if later and part else None)


def last_whole(control: psycopg.Connection, capability: str, way: Way) -> tuple[bool, str | None] | None:
    """Return whether all rows were equal when they were compared that ``way`` last, and where its stream stood then.

    What was found before the owner moved is not counted: what the other owner has written came the other way, and how
    it looks this way nobody has seen. Nor is what was before a fence was raised anew, which somebody may have passed.
    Raises ``SyncError`` for a ledger of a release before.
    """
    other = Way.FORWARD if way is Way.REVERSE else Way.REVERSE
    # One without a position is of either way: no stream followed then.
    query = sql.SQL(
        "select equal, {this}::text from strangler.verification where capability = %s and part is null"
        " and ({this} is not null or {other} is null)"
        " and at - make_interval(secs => seconds) > coalesce((select max(at) from strangler.history"
        " where history.capability = verification.capability"
        " and command in ('move-switch', 'fence-raise', 'fence-raised')), '-infinity')"
        " order by id desc limit 1"
    ).format(this=sql.Identifier(way), other=sql.Identifier(other))
    try:
        row = control.execute(query, [capability]).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as exc:
        raise SyncError("the ledger is of a release before; run: strangler publish") from exc
    return None if row is None else (row[0], row[1])


def forget(control: psycopg.Connection, capability: str) -> None:
    """Forget what was found: the rows that it was found of are not there any more."""
    if _is_there(control):
        control.execute("delete from strangler.verification where capability = %s", [capability])


def _kept(part: str | None, at: datetime, age: float, equal: bool, rows: int, differing: int, seconds: float) -> Kept:
    return Kept(at=at, age_s=age, part=part, equal=equal, rows=rows, differing=differing, seconds=seconds)


def _is_there(control: psycopg.Connection) -> bool:
    row = control.execute("select to_regclass('strangler.verification') is not null").fetchone()
    return bool(row and row[0])
