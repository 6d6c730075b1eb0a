"""Whether two databases can be kept equal: what each lacks for it, and the statement that mends it."""

from strangler.sync.check.facts import Role, Room, Server, Side, Table
from strangler.sync.check.finding import Finding, Level
from strangler.sync.check.judging import judge
from strangler.sync.check.migrations import NOT_LOOKED_AT, WHERE, concerns, judge_migrations, mapped
from strangler.sync.check.referred import policies_of
from strangler.sync.check.run import check, refuse_losses

__all__ = [
    "NOT_LOOKED_AT",
    "WHERE",
    "Finding",
    "Level",
    "Role",
    "Room",
    "Server",
    "Side",
    "Table",
    "check",
    "concerns",
    "judge",
    "judge_migrations",
    "mapped",
    "policies_of",
    "refuse_losses",
]
