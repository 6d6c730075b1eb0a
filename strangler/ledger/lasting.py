"""For how long a move of the owner lasts, asked with any connection to the control database: what an alarm wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg

from strangler.capability import Phase

_PHASE: Final = "select state -> 'move' ->> 'phase' from strangler.capability where name = %s"
_BEGUN: Final = """
select extract(epoch from clock_timestamp() - at)::float8 from strangler.history
where capability = %s and command in ('move-start', 'move-force') order by id desc limit 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """For how many seconds the owner has been moving, and the service's database unfenced since a rollback by force.

    Each is 0 where that is not so.
    """

    moving_s: float = 0.0
    unfenced_s: float = 0.0


def lasting(control: psycopg.Connection, capability: str) -> Lasting:
    """Return how long the move of a capability lasts that has begun and not ended. Raises ``psycopg.Error``."""
    row = control.execute(_PHASE, [capability]).fetchone()
    phase = Phase(row[0]) if row is not None and row[0] is not None else Phase.DONE
    if phase in (Phase.DONE, Phase.ABORTED):
        return Lasting()
    begun = control.execute(_BEGUN, [capability]).fetchone()
    age_s = 0.0 if begun is None else max(0.0, begun[0])
    return Lasting(unfenced_s=age_s) if phase is Phase.BARRING else Lasting(moving_s=age_s)
