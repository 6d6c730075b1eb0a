"""How busy a server is with its own work, as any role may see it.

Counted are sessions at work: those that hold a snapshot, since they run a statement, and those that have written and
not committed yet. Their numbers (``backend_xmin``, ``backend_xid``) are told to everybody, where the state of somebody
else's session is not. As many as the server has cores is a busy server, whatever its latency is on a quiet day.
Sessions of the sync, autovacuum and standbys are not counted.
"""

from __future__ import annotations

from typing import Final

import psycopg

_BUSY: Final = """
select count(*) from pg_stat_activity
where (backend_xid is not null or backend_xmin is not null) and usesysid is not null and datid is not null
  and pid <> pg_backend_pid() and application_name !~ '^strangler '
"""


def busy(connection: psycopg.Connection) -> int:
    """Return how many sessions of others are at work on the server now, in any of its databases."""
    row = connection.execute(_BUSY).fetchone()
    return row[0] if row else 0
