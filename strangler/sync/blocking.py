"""Who holds what keeps a fence from being raised: each named, with what ends it.

To raise a fence locks every mapped table against writers, and waits for who writes already; who comes meanwhile waits
behind it. So nobody should be there who stays: a long transaction, a prepared one, VACUUM, ANALYZE, CREATE INDEX
CONCURRENTLY. Autovacuum gives way to who waits for ``deadlock_timeout``, which no pause has: see ``quiet``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row

from strangler.sync.telling import brief, duration

_NAME: Final = 63  # PostgreSQL's own bound for most names
_QUERY: Final = 80
_READS: Final = ("AccessShareLock", "RowShareLock")
# A role without pg_read_all_stats sees of others who they are, what they hold and whether they vacuum; since when and
# by which statement is hidden. Of the server's own processes autovacuum alone locks tables. A prepared transaction has
# no process, and the lock on its own number tells which it is.
_HOLDERS: Final = """
select l.pid, p.gid, coalesce(a.usename, p.owner)::text as owner, a.application_name as application,
       extract(epoch from clock_timestamp() - coalesce(a.xact_start, p.prepared))::float8 as open_s, a.query,
       l.virtualtransaction as transaction, l.pid is not null and a.usesysid is null as own,
       array_agg(distinct l.mode) as modes, array_agg(distinct format('%%I.%%I', n.nspname, c.relname)) as tables,
       exists (select from pg_stat_progress_vacuum v where v.pid = l.pid) as vacuums,
       exists (select from pg_stat_progress_analyze v where v.pid = l.pid) as analyzes,
       exists (select from pg_stat_progress_create_index v where v.pid = l.pid) as indexes
from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
left join pg_stat_activity a on a.pid = l.pid
left join pg_locks x on l.pid is null and x.pid is null and x.virtualtransaction = l.virtualtransaction
                     and x.locktype = 'transactionid' and x.granted and x.mode = 'ExclusiveLock'
left join pg_prepared_xacts p on p.transaction = x.transactionid
where l.locktype = 'relation' and l.granted and l.relation = any(%(tables)s)
  and l.database = (select oid from pg_database where datname = current_database())
  and l.pid is distinct from pg_backend_pid() and l.mode <> all(%(harmless)s)
group by l.pid, p.gid, p.owner, p.prepared, a.usename, a.application_name, a.xact_start, a.query, l.virtualtransaction,
         a.usesysid
order by 5 desc nulls last, 1
"""


class Kind(StrEnum):
    """What keeps a table locked."""

    AUTOVACUUM = "autovacuum"
    VACUUM = "VACUUM"
    ANALYZE = "ANALYZE"
    INDEX = "CREATE INDEX"
    PREPARED = "prepared transaction"
    WRITER = "writer"
    OTHER = "lock"
    READER = "reader"

    @property
    def stays(self) -> bool:
        """Whether it is one that keeps its lock for long, however young it is."""
        return self not in (Kind.WRITER, Kind.OTHER, Kind.READER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """Who holds locks on ``tables``: session ``pid``, or what was prepared as ``gid``.

    Where the role may not see into the session, ``open_s`` and ``query`` are None.
    """

    kind: Kind
    tables: tuple[str, ...]
    pid: int | None
    gid: str | None
    user: str
    application: str
    open_s: float | None
    query: str | None
    transaction: str

    def __str__(self) -> str:
        return f"{self.session}: {self.query}" if self.query else self.session

    @property
    def session(self) -> str:
        """Whose it is and for how long, without what it runs: that has values of its application's."""
        what = {Kind.WRITER: "", Kind.READER: "", Kind.PREPARED: "", Kind.OTHER: ""}.get(self.kind, f"{self.kind} of ")
        who = f"prepared transaction {self.gid}" if self.pid is None else f"{what}process {self.pid}"
        whose = ", ".join(filter(None, (self.user or "the server itself", self.application)))
        since = "since when is hidden" if self.open_s is None else f"open for {duration(self.open_s)}"
        return f"{who} ({whose}) on {', '.join(self.tables)}, {since}"

    @property
    def cure(self) -> str:
        """What ends it, for somebody who may."""
        if self.pid is not None:
            return f"select pg_terminate_backend({self.pid})"
        name = sql.Literal(self.gid).as_string(None)
        return f"commit prepared {name}, or rollback prepared {name}"


def blockers(connection: psycopg.Connection, tables: Sequence[int], *, readers: bool = False) -> list[Blocker]:
    """Return who holds locks on tables with which writers wait; with ``readers``, who holds any."""
    cursor = connection.cursor(row_factory=namedtuple_row)
    harmless = [] if readers else list(_READS)
    rows = cursor.execute(_HOLDERS, {"tables": list(tables), "harmless": harmless}).fetchall()
    return [_blocker(row) for row in rows]


def _blocker(row: Any) -> Blocker:
    found = Blocker(
        kind=_kind(row),
        tables=tuple(row.tables),
        pid=row.pid,
        gid=row.gid,
        user=brief(row.owner or "", _NAME),
        application=brief(row.application or "", _NAME),
        open_s=row.open_s,
        query=brief(row.query or "", _QUERY),
        transaction=row.transaction,
    )
    return replace(found, query=None) if found.open_s is None else found


def _kind(row: Any) -> Kind:
    chosen = (
        (row.pid is None, Kind.PREPARED),
        (row.own, Kind.AUTOVACUUM),
        (row.vacuums, Kind.VACUUM),
        (row.analyzes, Kind.ANALYZE),
        (row.indexes, Kind.INDEX),
        ("RowExclusiveLock" in row.modes, Kind.WRITER),
        (not set(row.modes) <= set(_READS), Kind.OTHER),
    )
    return next((kind for applies, kind in chosen if applies), Kind.READER)


def named(found: Iterable[Blocker]) -> str:
    """Return blockers as one line, without what they run."""
    return "; ".join(f"{each.session}, to end it: {each.cure}" for each in found) or "nobody who is there now"
