"""Whether a read that the service failed is answered by the monolith: pure.

While the monolith owns a capability's data, its answer is as good as the service's, or better. So a reader need not see
that a service is down. Once the service owns the data, the monolith holds what was true at some time before, and an
answer that is wrong in silence is worse than none. Writes are no question: they have one owner, and nobody else takes
them.

Every such answer is marked and counted, since what readers do not notice somebody else must.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from strangler.capability import Data, Stack, Stage, State
from strangler.routing.decide import Decision, Why

FAILURES: Final = frozenset({500, 502, 503, 504})
"""Statuses of a service with which it failed a read. With a 4xx, 501 or 505 it answered it."""


class Failure(StrEnum):
    """How a service failed a read; told in the header, and counted by."""

    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect_timeout"
    TIMEOUT = "timeout"  # no first byte in time
    RESET = "reset"
    GARBLED = "garbled"
    STATUS = "status"  # one of FAILURES
    OPEN = "open"  # its breaker
    OVERLOAD = "overload"  # its bounds, or those of the capability


class Verdict(StrEnum):
    """Whether the monolith answers, in a word for metrics."""

    FALLBACK = "fallback"  # yes
    NO_SERVICE = "no_service"  # it was the monolith that failed
    WRITE = "write"
    OVERRIDE = "override"
    OFF = "off"
    KILLED = "killed"
    NOT_CURRENT = "not_current"
    BEGUN = "begun"
    BODY_GONE = "body_gone"
    NO_ROOM = "no_room"


def may_fall_back(
    decision: Decision, state: State, *, allowed: bool, begun: bool, replayable: bool, room: bool
) -> Verdict:
    """Return whether the monolith is asked for what ``decision`` sent to a service, which failed it.

    ``state`` is the capability's at this moment, and ``allowed`` what its files say. ``begun`` says that the client has
    been sent some of the answer; ``replayable``, that the request has no body, or that all of it is still here;
    ``room``, that the monolith's breaker and bounds take one more.
    """
    if decision.stack is Stack.MONOLITH:
        return Verdict.NO_SERVICE
    if decision.why is Why.WRITE:
        return Verdict.WRITE
    if decision.why is Why.OVERRIDE:  # a tester, or a comparison of both stacks, means the one that was asked for
        return Verdict.OVERRIDE
    if not allowed:
        return Verdict.OFF
    if state.owner is Stack.SERVICE and state.killed is not None:  # all reads are the owner's
        return Verdict.KILLED
    if not is_current(state):
        return Verdict.NOT_CURRENT
    if begun:
        return Verdict.BEGUN
    if not replayable:
        return Verdict.BODY_GONE
    return Verdict.FALLBACK if room else Verdict.NO_ROOM


def is_current(state: State) -> bool:
    """Return whether the monolith answers reads with data that are as they are now.

    They are while it owns them, and where there are none, as long as its code is kept. What else it holds is a copy.
    """
    if state.owner is Stack.MONOLITH:
        return True
    return state.data is Data.NONE and state.stage is not Stage.RETIRED


def fallback_line(failure: Failure) -> bytes:
    """Return the header's line by which the answer is marked: a token with a parameter (RFC 9651)."""
    return b"Strangler-Fallback: monolith; why=%s\r\n" % failure.encode()
