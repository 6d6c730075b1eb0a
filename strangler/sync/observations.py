"""What was seen of writers, and what is known of them, as rows of the control database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import psycopg

from strangler.capability import Stack
from strangler.sync.errors import SyncError
from strangler.sync.observed import MOST_TABLES, Both, Count, Kind, Tally, Times, Writer, within
from strangler.sync.pgoutput import lsn_of, lsn_text

_OBSERVATION: Final = """
select id, stack, who, reason, began_at, until, ended_at, why, on_at, gaps, missed_s, clock_timestamp()
from strangler.observation where capability = %s order by id desc limit 1
"""
_COUNT: Final = """
insert into strangler.observed_writer as there
  (capability, stack, kind, name, role, number, first_at, last_at, tables, operations, sample)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (capability, stack, kind, name, role) do update
set number = there.number + excluded.number,
    first_at = least(there.first_at, excluded.first_at), last_at = greatest(there.last_at, excluded.last_at),
    tables = array(select distinct unnest(there.tables || excluded.tables) as each order by each limit {most}),
    operations = array(select distinct unnest(there.operations || excluded.operations) as each order by each)
""".replace("{most}", str(MOST_TABLES))
_PAIR: Final = """
insert into strangler.observed_both as there
  (capability, stack, kind, name, role, other, other_kind, other_name, other_role, number, first_at, last_at)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (capability, stack, kind, name, role, other, other_kind, other_name, other_role) do update
set number = there.number + excluded.number,
    first_at = least(there.first_at, excluded.first_at), last_at = greatest(there.last_at, excluded.last_at)
"""
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One time that a capability's writers were looked at, in the database of ``stack``.

    ``on_at`` is when every writer was found to be told of, last. ``gaps`` is how often that was not so, ``missed_s``
    for how many seconds in all. ``now`` is the control database's time, by which all of these are.
    """

    id: int
    stack: Stack
    who: str
    reason: str
    began_at: datetime
    until: datetime
    ended_at: datetime | None
    why: str | None
    on_at: datetime
    gaps: int
    missed_s: float
    now: datetime

    @property
    def is_over(self) -> bool:
        return self.ended_at is None and self.now >= self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """A writer from outside that is known, and may meet the fence: by whom, and why."""

    kind: Kind
    name: str
    who: str
    reason: str
    at: datetime


def _of_this_release(
    call: Callable[Concatenate[psycopg.Connection, P], R],
) -> Callable[Concatenate[psycopg.Connection, P], R]:
    @wraps(call)
    def translated(control: psycopg.Connection, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(control, *args, **kwargs)
        except psycopg.errors.UndefinedTable as exc:
            raise SyncError("the ledger is of a release before; run: strangler publish") from exc

    return translated


# --- when it was looked at ---


@_of_this_release
def begin(control: psycopg.Connection, capability: str, stack: Stack, who: str, reason: str, for_s: float) -> None:
    """Begin to look; what is under way ends, and what was seen before counts as seen before."""
    with control.transaction():
        end(control, capability, "begun anew")
        control.execute(
            "insert into strangler.observation (capability, stack, who, reason, until)"
            " values (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))",
            [capability, stack, who, reason, for_s],
        )


@_of_this_release
def end(control: psycopg.Connection, capability: str, why: str, *, was_on: bool = True) -> None:
    """End what is under way; where it ``was_on`` no more, what was missed since counts as a gap."""
    control.execute(
        "update strangler.observation set ended_at = clock_timestamp(), why = %(why)s,"
        " gaps = gaps + (not %(on)s)::integer,"
        " missed_s = missed_s + case when %(on)s then 0 else extract(epoch from clock_timestamp() - on_at)::float8 end"
        " where capability = %(of)s and ended_at is null",
        {"of": capability, "why": why, "on": was_on},
    )


@_of_this_release
def found_on(control: psycopg.Connection, capability: str, *, again: bool = False) -> None:
    """Note that every writer is told of; ``again`` where that was not so since it was last."""
    control.execute(
        "update strangler.observation set on_at = clock_timestamp(), gaps = gaps + %(gap)s::integer,"
        " missed_s = missed_s + case when %(gap)s then extract(epoch from clock_timestamp() - on_at)::float8 else 0 end"
        " where capability = %(of)s and ended_at is null",
        {"of": capability, "gap": again},
    )


@_of_this_release
def last(control: psycopg.Connection, capability: str) -> Observation | None:
    row = control.execute(_OBSERVATION, [capability]).fetchone()
    if row is None:
        return None
    return Observation(
        id=row[0],
        stack=Stack(row[1]),
        who=row[2],
        reason=row[3],
        began_at=row[4],
        until=row[5],
        ended_at=row[6],
        why=row[7],
        on_at=row[8],
        gaps=row[9],
        missed_s=row[10],
        now=row[11],
    )


@_of_this_release
def under_way(control: psycopg.Connection) -> list[str]:
    """Return the capabilities whose writers are looked at."""
    query = "select capability from strangler.observation where ended_at is null order by capability"
    return [name for (name,) in control.execute(query)]


def forget(control: psycopg.Connection, capability: str) -> None:
    """End what is under way, and forget up to where a WAL was read: another one may follow."""
    row = control.execute("select to_regclass('strangler.observed_to') is not null").fetchone()
    if row and row[0]:
        end(control, capability, "its streams were begun anew, or removed")
        control.execute("delete from strangler.observed_to where capability = %s", [capability])


# --- who was seen ---


@_of_this_release
def read_to(control: psycopg.Connection, capability: str, stack: Stack) -> int:
    """Return the position of the last message that is counted, 0 where none is."""
    row = control.execute(
        "select lsn::text from strangler.observed_to where capability = %s and stack = %s", [capability, stack]
    ).fetchone()
    return lsn_of(row[0]) if row else 0


@_of_this_release
def keep(control: psycopg.Connection, capability: str, stack: Stack, tally: Tally, lsn: int) -> None:
    """Add to what was seen, and note that all messages up to ``lsn`` are counted, in one transaction."""
    with control.transaction():
        control.execute(
            "insert into strangler.observed_to (capability, stack, lsn) values (%(of)s, %(in)s, %(lsn)s)"
            " on conflict (capability, stack) do update set lsn = excluded.lsn",
            {"of": capability, "in": stack, "lsn": lsn_text(lsn)},
        )
        more = within(seen(control, capability, stack), tally)
        with control.cursor() as cursor:
            cursor.executemany(_COUNT, [_counted(capability, stack, *each) for each in more.writers.items()])
            cursor.executemany(_PAIR, [_paired(capability, stack, *each) for each in more.both.items()])


def _counted(capability: str, stack: Stack, writer: Writer, count: Count) -> tuple[Any, ...]:
    times = (count.number, count.first_at, count.last_at)
    told = (sorted(count.tables), sorted(count.operations), count.sample)
    return (capability, stack, *astuple(writer), *times, *told)


def _paired(capability: str, stack: Stack, both: Both, times: Times) -> tuple[Any, ...]:
    who = (*astuple(both.own), both.other, *astuple(both.others))
    return (capability, stack, *who, times.number, times.first_at, times.last_at)


@_of_this_release
def seen(control: psycopg.Connection, capability: str, stack: Stack) -> Tally:
    """Return all that was seen in the database of a stack."""
    writers = control.execute(
        "select kind, name, role, number, first_at, last_at, tables, operations, sample"
        " from strangler.observed_writer where capability = %s and stack = %s order by number desc, kind, name, role",
        [capability, stack],
    )
    pairs = control.execute(
        "select kind, name, role, other, other_kind, other_name, other_role, number, first_at, last_at"
        " from strangler.observed_both where capability = %s and stack = %s"
        " order by number desc, kind, name, role, other, other_kind, other_name, other_role",
        [capability, stack],
    )
    return Tally(
        writers={_writer(*row[:3]): _count(*row[3:]) for row in writers},
        both={
            Both(own=_writer(*row[:3]), other=row[3], others=_writer(*row[4:7])): Times(
                number=row[7], first_at=row[8], last_at=row[9]
            )
            for row in pairs
        },
    )


def _writer(kind: str, name: str, role: str) -> Writer:
    return Writer(kind=Kind(kind), name=name, role=role)


def _count(
    number: int, first_at: datetime, last_at: datetime, tables: list[str], operations: list[str], sample: str
) -> Count:
    return Count(
        number=number,
        first_at=first_at,
        last_at=last_at,
        tables=frozenset(tables),
        operations=frozenset(operations),
        sample=sample,
    )


# --- who is known ---


@_of_this_release
def allow(control: psycopg.Connection, capability: str, kind: Kind, name: str, who: str, reason: str) -> None:
    """Note that a writer from outside may meet the fence."""
    control.execute(
        "insert into strangler.allowed_writer (capability, kind, name, who, reason) values (%s, %s, %s, %s, %s)"
        " on conflict (capability, kind, name) do update"
        " set who = excluded.who, reason = excluded.reason, at = excluded.at",
        [capability, kind, name, who, reason],
    )


@_of_this_release
def allowed(control: psycopg.Connection, capability: str) -> list[Allowed]:
    rows = control.execute(
        "select kind, name, who, reason, at from strangler.allowed_writer where capability = %s order by kind, name",
        [capability],
    )
    return [Allowed(kind=Kind(row[0]), name=row[1], who=row[2], reason=row[3], at=row[4]) for row in rows]
