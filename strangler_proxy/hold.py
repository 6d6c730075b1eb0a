"""Writes of one capability that wait while its ownership moves, or while this worker may be the one that does not know.

A routing table says that the writes of a capability are held. Each worker parks those that come from then on, lets
those go on that it has already sent, and tells how many these still are: when none is left, and this is what it
acknowledges, no write of its own can reach a stack before a table without the hold has come. Then each parked write is
decided anew, and goes to the owner of then.

A capability may have a lease: a worker that has heard of nobody who publishes tables for so long parks its writes by
its own clock. It counts from before it asked, and so from before it was seen: whoever moves the owner may take it that
a worker which neither Valkey nor Postgres has seen for longer than the lease parks.

What this cannot know is what a stack still does for a client that has left, or whose time was over. That is what the
databases' fence is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from math import inf
from time import monotonic
from typing import Final, Protocol

from strangler.routing.hold import Hold
from strangler.routing.table import Capability, RoutingTable
from strangler_proxy.telemetry import Tally

# For those who wait for a lease: no table says how many may.
_BY_CLOCK: Final = Hold(id=0)


class Outcome(StrEnum):
    """How a held write went on."""

    RELEASED = "released"  # decided anew
    OVERFLOW = "overflow"  # too many waited, or too much
    TIMEOUT = "timeout"
    LEFT = "left"  # its client did
    STOPPED = "stopped"  # the worker did


class Parked(Protocol):
    """A write that waits."""

    def decide_anew(self) -> None: ...
    def turn_away(self, outcome: Outcome) -> None: ...


class Parking:
    """The writes of one capability that wait in this worker, in the order in which they came: pure.

    ``hold`` is that of the table in force, ``lease`` the capability's in seconds.
    """

    __slots__ = ("_waiting", "bytes", "hold", "lease", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.hold: Hold | None = None
        self.lease = inf
        self.bytes = 0
        self._waiting: dict[Parked, int] = {}

    def __repr__(self) -> str:
        return f"Parking({self.name!r}, {len(self)} waiting, {self.bytes} bytes, hold={self.hold}, lease={self.lease})"

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def bounds(self) -> Hold:
        return self.hold or _BY_CLOCK

    def closed(self, silence: float) -> bool:
        """Return whether writes wait; nobody who publishes tables was heard of for ``silence`` seconds."""
        return self.hold is not None or silence > self.lease

    def park(self, write: Parked, size: int) -> bool:
        """Have ``write`` wait with ``size`` bytes of its body; False when there is no room."""
        if len(self._waiting) >= self.bounds.count or self.bytes + size > self.bounds.bytes:
            return False
        self._waiting[write] = size
        self.bytes += size
        return True

    def grow(self, write: Parked, size: int) -> bool:
        """Note that ``size`` bytes more of a waiting body have come; False when they have no room."""
        if write not in self._waiting:
            return True
        if self.bytes + size > self.bounds.bytes:
            return False
        self._waiting[write] += size
        self.bytes += size
        return True

    def leave(self, write: Parked) -> bool:
        """Have ``write`` wait no longer; False when it did not."""
        size = self._waiting.pop(write, None)
        if size is None:
            return False
        self.bytes -= size
        return True

    def __iter__(self) -> Iterator[Parked]:
        return iter(tuple(self._waiting))


class Holds:
    """What one worker holds back."""

    __slots__ = ("_heard_at", "_later", "_parkings", "_stopping", "_tally")

    def __init__(self, tally: Tally, later: Callable[[Callable[[], None]], object]) -> None:
        self._tally = tally
        self._later = later
        self._parkings: dict[str, Parking] = {}
        self._heard_at = -inf
        self._stopping = False

    def __repr__(self) -> str:
        return f"Holds({list(self._parkings.values())})"

    # --- what others tell ---

    def adopt(self, table: RoutingTable) -> None:
        """Hold what ``table`` says. It is in force already: what waits no longer is decided by it."""
        for parking in self._parkings.values():
            parking.hold, parking.lease = None, inf
        for capability in table.capabilities:
            if is_held(capability):
                parking = self._parkings.setdefault(capability.name, Parking(capability.name))
                parking.hold, parking.lease = capability.hold, capability.protect.lease or inf
        self._release()

    def heard(self, asked_at: float) -> None:
        """Note an answer of somebody who publishes tables to what was asked at ``asked_at``, on the monotonic clock.

        What they know of tables is taken before.
        """
        self._heard_at = max(self._heard_at, asked_at)
        if self._parkings:
            self._release()

    def stop(self) -> None:
        """Have nobody wait any more: the worker ends."""
        self._stopping = True
        for parking in self._parkings.values():
            for write in parking:
                self.end(parking, write, Outcome.STOPPED)
                write.turn_away(Outcome.STOPPED)

    def _release(self) -> None:
        silence = monotonic() - self._heard_at
        for name, parking in tuple(self._parkings.items()):
            if parking.closed(silence):
                continue
            for write in parking:
                self.end(parking, write, Outcome.RELEASED)
                self._later(write.decide_anew)  # a call for each: what fails in one must not keep the others waiting
            if parking.lease == inf:
                del self._parkings[name]

    # --- writes ---

    def parking(self, capability: str | None) -> Parking | None:
        """Return where writes of ``capability`` may have to wait, None when they need not."""
        return self._parkings.get(capability) if capability is not None else None

    def closed(self, parking: Parking) -> bool:
        """Return whether writes have to wait now."""
        return parking.closed(monotonic() - self._heard_at)

    def park(self, parking: Parking, write: Parked, size: int) -> Outcome | None:
        """Have ``write`` wait; return why it may not, None when it does."""
        if not self._stopping and parking.park(write, size):
            return None
        outcome = Outcome.STOPPED if self._stopping else Outcome.OVERFLOW
        self._tally.hold(parking.name, outcome)
        return outcome

    def end(self, parking: Parking, write: Parked, outcome: Outcome) -> bool:
        """Have ``write`` wait no longer; False when it did not."""
        if not parking.leave(write):
            return False
        self._tally.hold(parking.name, outcome)
        return True

    # --- what is told ---

    def words(self) -> dict[str, dict[str, int]]:
        """Return what is acknowledged of each hold that a table asks for: its id, and how many writes are under way."""
        return {
            name: {"id": parking.hold.id, "in_flight": self._in_flight(parking), "parked": len(parking)}
            for name, parking in self._parkings.items()
            if parking.hold is not None
        }

    def waiting(self) -> list[tuple[str, int]]:
        """Return how many writes of each capability wait."""
        return [(name, len(parking)) for name, parking in self._parkings.items()]

    def _in_flight(self, parking: Parking) -> int:
        return self._tally.writes(parking.name) - len(parking)


def is_held(capability: Capability) -> bool:
    """Return whether writes of ``capability`` wait, or may have to."""
    return capability.hold is not None or capability.protect.lease is not None
