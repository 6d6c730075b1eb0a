"""Proof by checksums that a service's tables hold what the mapping makes of the monolith's rows."""

from strangler.sync.verify.looking import Kind, Settle
from strangler.sync.verify.pair import Patience, first_line
from strangler.sync.verify.run import CHUNK_ROWS, TOLD, Ready, Verifying, chosen_of, pause, ready, verdict_of, verify
from strangler.sync.verify.verdict import Cell, Difference, Progress, TableVerdict, Verdict, to_json

__all__ = [
    "CHUNK_ROWS",
    "TOLD",
    "Cell",
    "Difference",
    "Kind",
    "Patience",
    "Progress",
    "Ready",
    "Settle",
    "TableVerdict",
    "Verdict",
    "Verifying",
    "chosen_of",
    "first_line",
    "pause",
    "ready",
    "to_json",
    "verdict_of",
    "verify",
]
