"""What two people have to want: one proposes it, another confirms it, and only then it is done.

Who somebody is they say themselves (``$STRANGLER_WHO``, or the user and the host): this keeps people from a slip, not
from an intrusion. What is proposed holds for a time, and for the state in which it was proposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from strangler.capability import Refused

EXPIRES_S: Final = 7 * 86_400
"""A week: who is away for some days can still be asked, and what is older nobody remembers the reasons of."""
_OPEN: Final = """
select id, capability, action, who, reason, asked, epoch, at, expires_at,
       extract(epoch from expires_at - clock_timestamp())::float8 as left_s
from strangler.proposal where capability = %s and action = %s and confirmed_at is null
"""
_PROPOSE: Final = """
insert into strangler.proposal (capability, action, who, reason, asked, epoch, expires_at)
values (%(capability)s, %(action)s, %(who)s, %(reason)s, %(asked)s, %(epoch)s,
        clock_timestamp() + make_interval(secs => %(seconds)s))
on conflict (capability, action) where confirmed_at is null do update
set who = excluded.who, reason = excluded.reason, asked = excluded.asked, epoch = excluded.epoch,
    at = clock_timestamp(), expires_at = excluded.expires_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What ``who`` has proposed ``at`` for a capability at ``epoch``; it holds for ``left_s`` more seconds."""

    id: int
    capability: str
    action: str
    who: str
    reason: str
    asked: Mapping[str, Any]
    epoch: int
    at: datetime
    expires_at: datetime
    left_s: float

    def refuse(self, who: str, epoch: int) -> None:
        """Raise ``Refused`` where ``who`` may not confirm it at ``epoch``."""
        again = f"propose it anew: strangler {self.action} {self.capability} --reason ..."
        if who == self.who:
            raise Refused(f"{who} has proposed this; another person confirms it")
        if self.left_s <= 0:
            raise Refused(f"what {self.who} proposed has expired at {self.expires_at:%Y-%m-%d %H:%M:%S %Z}; {again}")
        if epoch != self.epoch:
            raise Refused(
                f"{self.capability} went from epoch {self.epoch} to {epoch} since {self.who} proposed this; {again}"
            )


def propose(
    connection: psycopg.Connection,
    *,
    capability: str,
    action: str,
    who: str,
    reason: str,
    epoch: int,
    asked: Mapping[str, Any],
) -> None:
    """Keep a proposal, in the place of an earlier one of its kind."""
    connection.execute(
        _PROPOSE,
        {
            "capability": capability,
            "action": action,
            "who": who,
            "reason": reason,
            "asked": Jsonb(dict(asked)),
            "epoch": epoch,
            "seconds": EXPIRES_S,
        },
    )


def proposal(connection: psycopg.Connection, capability: str, action: str, locking: str = "") -> Proposal | None:
    """Return what is proposed and not confirmed, expired or not."""
    query = f"{_OPEN} for update" if locking else _OPEN
    with connection.cursor(row_factory=class_row(Proposal)) as cursor:
        return cursor.execute(query.encode(), [capability, action]).fetchone()


def confirm(connection: psycopg.Connection, capability: str, action: str, who: str, epoch: int) -> Proposal:
    """Confirm what is proposed, within the transaction that does it. Raises ``Refused``."""
    found = proposal(connection, capability, action, "for update")
    if found is None:
        raise Refused(f"nobody has proposed to {action} {capability}")
    found.refuse(who, epoch)
    connection.execute(
        "update strangler.proposal set confirmed_by = %s, confirmed_at = clock_timestamp() where id = %s",
        [who, found.id],
    )
    return found
