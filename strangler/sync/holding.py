"""Which transactions keep a slot back, so that its server keeps WAL although the stream follows.

Decoding begins anew at a slot's restart position, which lies before the first change of every transaction that has
not ended: in any database of the server, and prepared ones, too. One that only reads has no number (``backend_xid``)
and keeps no slot back, however old it is; what it keeps is dead rows, which is vacuum's concern.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from strangler.project.values import printable
from strangler.sync.telling import brief, duration

OLD_S: Final = 30.0
"""A server writes down every 15 s which transactions are open, and a slot moves at these times alone (PostgreSQL's
LOG_SNAPSHOT_INTERVAL_MS): what is younger than two of them has kept nothing that would not be kept anyway."""
_TOLD: Final = 5
_QUERY: Final = 80
_NAME: Final = 63  # PostgreSQL's own bound for most names
# Of sessions that the role may not see into the beginning is hidden, and their numbers alone tell: of these whatever
# was there before the last heartbeat that came, which has a number and is written every second.
_HOLDERS: Final = """
with all_open as (
  select pid, null as gid, datname::text as database, usename::text as owner, application_name as application,
         xact_start as began, state, query, backend_xid as xid
  from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
  union all
  select null, gid, database::text, owner::text, '', prepared, 'prepared', '', transaction from pg_prepared_xacts
)
select pid, gid, database, owner, application, extract(epoch from clock_timestamp() - began)::float8, state, query,
       xid::text::bigint, count(*) over ()
from all_open
where clock_timestamp() - began > make_interval(secs => %(old)s)
   or began is null and age(xid) > age((%(beat)s::bigint %% 4294967296)::text::xid)
order by age(xid) desc limit %(told)s
"""

Tell = Callable[[str], None]
Key = tuple[int | None, str | None, int]
"""A transaction: its session's process or its prepared name, and its number. Two servers have hardly one in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A transaction that is open: of session ``pid``, or prepared as ``gid``. ``open_s`` is how long it has been.

    Where the role may not see into the session, ``open_s``, ``state`` and ``query`` are None.
    """

    xid: int
    pid: int | None
    gid: str | None
    database: str
    user: str
    application: str
    open_s: float | None
    state: str | None
    query: str | None

    @property
    def key(self) -> Key:
        return self.pid, self.gid, self.xid

    def __str__(self) -> str:
        return f"{self.session}: {self.query}" if self.query else self.session

    @property
    def session(self) -> str:
        """Whose it is and for how long, without what it runs: that has values of its application's."""
        who = f"process {self.pid}" if self.gid is None else f"prepared transaction {self.gid}"
        whose = ", ".join(filter(None, (self.user or "the server itself", self.application)))
        since = "since when is hidden" if self.open_s is None else f"open for {duration(self.open_s)}"
        doing = "" if self.state in (None, "prepared") else f", {self.state}"
        return f"{who} ({whose}) in {self.database}, {since}{doing}"

    @property
    def cure(self) -> str:
        """What ends it, for somebody who may."""
        if self.gid is None:
            return f"select pg_terminate_backend({self.pid})"
        name = sql.Literal(self.gid).as_string(None)
        return f"commit prepared {name}, or rollback prepared {name}, in {self.database}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What keeps a slot back: how many transactions in all, and the oldest few of them, the oldest first.

    ``grant`` is the statement without which the role cannot see what some of them do.
    """

    count: int = 0
    by: tuple[Holder, ...] = ()
    grant: str | None = None

    @property
    def oldest_s(self) -> float | None:
        """Return the age of what has been open for longest, 0 where nothing is; None where all of it is hidden."""
        known = [each.open_s for each in self.by if each.open_s is not None]
        return max(known, default=None if self.by else 0.0)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "oldest_s": self.oldest_s}


def held(source: psycopg.Connection, beat: int | None) -> Held:
    """Return what keeps slots of the source's server back. ``beat`` is the number of the last heartbeat that came."""
    rows = source.execute(_HOLDERS, {"beat": beat, "old": OLD_S, "told": _TOLD}).fetchall()
    by = tuple(_holder(*row[:-1]) for row in rows)
    hidden = any(each.open_s is None for each in by)
    return Held(count=rows[0][-1] if rows else 0, by=by, grant=reading(source.info.user) if hidden else None)


def reading(role: str) -> str:
    """Return the statement that lets ``role`` see what others' sessions do."""
    return sql.SQL("grant pg_read_all_stats to {}").format(sql.Identifier(role)).as_string(None)


def _holder(
    pid: int | None,
    gid: str | None,
    database: str | None,
    owner: str | None,
    application: str | None,
    open_s: float | None,
    state: str | None,
    query: str | None,
    xid: int,
) -> Holder:
    is_hidden = open_s is None
    return Holder(
        xid=xid,
        pid=pid,
        gid=None if gid is None else printable(gid),
        database=brief(database or "", _NAME),
        user=brief(owner or "", _NAME),
        application=brief(application or "", _NAME),
        open_s=open_s,
        state=None if is_hidden else state,
        query=None if is_hidden else brief(query or "", _QUERY),
    )


class Holders:
    """Hears what keeps the slots of a project back, and says each transaction once."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._seen: dict[str, dict[Key, float]] = {}
        self._said: set[Key] = set()

    def hear(self, source: str, slot: str, found: Held, now: float) -> None:
        """Take what keeps ``slot`` of ``source`` back at ``now`` (s). What is hidden is told once seen for long."""
        before = self._seen.get(slot, {})
        self._seen[slot] = {each.key: before.get(each.key, now) for each in found.by}
        self._said &= {key for seen in self._seen.values() for key in seen}
        for each in found.by:
            is_old = each.open_s is not None or now - self._seen[slot][each.key] >= OLD_S
            if is_old and each.key not in self._said:
                self._said.add(each.key)
                self._tell(f"{source}: {_warning(each, slot, found.grant)}")


def _warning(holder: Holder, slot: str, grant: str | None) -> str:
    see = f"; to see what it does, run there: {grant}" if holder.open_s is None else ""
    runs = "; what it runs: strangler sync status" if holder.query else ""
    return f"slot {slot} is kept back, and WAL with it, by {holder.session}; to end it: {holder.cure}{runs}{see}"
