"""What can go wrong with a copy, by who must act."""

from __future__ import annotations

from typing import Final

BEGIN_ANEW: Final = (
    "put that back; or mend the mapping and the service's table, then begin anew: strangler sync remove, strangler sync"
    " start --replace"
)
"""The way on where rows are not what was copied any more."""
RETYPED: Final = (
    "values may be others now in rows that nobody has written: mend the mapping and the service's table, then begin"
    " anew: strangler sync remove, strangler sync start --replace; or put that back and then compare all rows:"
    " strangler sync verify, strangler sync repair"
)
"""The way on where a column has another type: what that has rounded or cut stays so when the type is put back."""
FULL: Final = (
    "run in the source: alter table ... replica identity full, then begin anew: strangler sync remove, strangler sync"
    " start --replace"
)
"""The way on where a change did not carry what is needed of the row that was there."""


class SyncError(Exception):
    """A copy could not be made. What is copied already stays, and the next run carries on from there."""


class MappingInvalid(SyncError):
    """The mapping does not fit the live schemas. Mend what each line names; nothing was copied."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class NotEmpty(SyncError):
    """The service's tables hold rows that no run of ours put there. Say ``--replace`` to empty them first."""


class ChunkFailed(SyncError):
    """A range of keys could not be copied. The message has the table, the range and the database's words."""


class Unreachable(SyncError):
    """One of the databases does not answer. Start it, or mend its URL; then run the same command again."""


class RightMissing(SyncError):
    """The sync's role may not do what is needed. Run the statement that the message ends with, then go on."""


class OutOfDate(SyncError):
    """A worker holds other project files than the copy was planned for. Start it again, so that it reads them."""


class TimedOut(SyncError):
    """A statement waited for a lock or ran for too long. Run it again at a quieter hour, or as the message says."""


class NotComparable(SyncError):
    """The two databases cannot be compared by checksums; the message says why."""


class NotListed(SyncError):
    """What the monolith's pending migrations are could not be learnt. Mend what the message names."""


class StreamBroken(SyncError):
    """A stream cannot go on, and would lose or double rows if it did. What was applied stays; the message says why."""


class Widened(StreamBroken):
    """A column's values may be wider than the session thought. Begin it anew, if the catalogue says so, too."""


class CannotApply(SyncError):
    """A change is refused by the target, even alone and in its order. Do there what the message ends with."""


class BatchBroken(SyncError):
    """A batch breaks a constraint; up to the transaction that commits at ``position`` more care is to be taken."""

    def __init__(self, why: str, position: int) -> None:
        super().__init__(why)
        self.position = position


class Overtaken(SyncError):
    """Another process has applied to the same stream meanwhile. This one must begin anew from where that one is."""


class StaleEpoch(SyncError):
    """Somebody else has moved the capability on. Do nothing more for it: look at its state, and begin anew."""


class Unfenced(SyncError):
    """A fence does not hold, and writes could pass it. Mend what the message names, then raise it again."""
