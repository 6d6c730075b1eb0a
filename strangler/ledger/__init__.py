"""The ledger in Postgres, and the publication of what it decided."""

from strangler.ledger.approvals import Proposal
from strangler.ledger.errors import (
    Conflict,
    Drift,
    LedgerError,
    NotInstalled,
    Unacknowledged,
    Unknown,
    Unreachable,
)
from strangler.ledger.ledger import Change, Entry, Ledger, Line, Publication
from strangler.ledger.publish import Acknowledgement, Broker, Publisher, Worker

__all__ = [
    "Acknowledgement",
    "Broker",
    "Change",
    "Conflict",
    "Drift",
    "Entry",
    "Ledger",
    "LedgerError",
    "Line",
    "NotInstalled",
    "Proposal",
    "Publication",
    "Publisher",
    "Unacknowledged",
    "Unknown",
    "Unreachable",
    "Worker",
]
