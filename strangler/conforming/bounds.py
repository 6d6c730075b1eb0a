"""Whether what a client may send has an end: heads, bodies, time, and how long an answer is worked on."""

from __future__ import annotations

from typing import Final

from strangler.conforming.answer import Answer, Asked, Raw
from strangler.conforming.finding import Finding, failed, passed, untold

HEAD_BYTES: Final = 256 << 10
"""More than four times what the proxy lets through, and than any common server takes."""
BODY_BYTES: Final = 16 << 20
"""So much is really sent of a body that says it has ``DECLARED_BYTES``, and never all of it: no request is complete."""
DECLARED_BYTES: Final = 1 << 40
SLOW_CLIENTS: Final = 16
# Below that an answer may just be quicker than the deadline.
SLOW_SECONDS: Final = 0.25
DEADLINE_MS: Final = 50


def judge_head(came: Raw) -> Finding:
    """Say whether a head of ``HEAD_BYTES`` is refused."""
    rule, asked = "limits.head", f"a head of {HEAD_BYTES >> 10} KiB"
    if came.refused:
        return failed(rule, asked, came.refused, "start the service")
    if came.status in (400, 413, 414, 431):
        return passed(rule, asked, f"{came.status} after {came.sent >> 10} KiB")
    if came.status is None and came.closed:
        return passed(rule, asked, f"the connection is closed after {came.sent >> 10} KiB")
    told = "nothing" if came.status is None else f"{came.status}, as if it were a usual one"
    return failed(rule, asked, told, "bound the head of a request: the proxy takes 60 KiB, and common servers 8 to 64")


def judge_body(asked_at: str, came: Raw) -> Finding:
    """Say whether a body without end is refused."""
    rule, asked = "limits.body", f"{asked_at} with a body that says it has 1 TiB, of which at most 16 MiB are sent"
    if came.refused:
        return failed(rule, asked, came.refused, "start the service")
    if came.status is not None and 400 <= came.status < 500:
        return passed(rule, asked, f"{came.status} after {came.sent >> 10} KiB")
    if came.status is None and came.closed:
        return passed(rule, asked, f"the connection is closed after {came.sent >> 10} KiB")
    if came.status is None and came.sent < BODY_BYTES:
        return passed(rule, asked, f"it reads no more than {came.sent >> 10} KiB")
    told = f"all are taken, and {came.status or 'nothing'} comes"
    return failed(rule, asked, told, "refuse what is longer than any body of its routes, by Content-Length, with 413")


def judge_slow(others: Asked, *, usual: float, held: int) -> Finding:
    """Say whether clients that never finish their heads keep others from being answered."""
    rule, asked = "limits.slow", f"GET while {held} clients hold half a head"
    if isinstance(others, Answer) and others.status < 500 and others.seconds <= usual:
        return passed(rule, asked, str(others))
    wanted = "serve more clients at once than wait, and give a head a deadline"
    return failed(rule, asked, f"{others}: they keep others out", wanted)


def judge_patience(seconds: float | None, waited: float) -> Finding:
    """Say after how many ``seconds`` a client that never finishes its head was sent away; None for never."""
    rule, asked = "limits.patience", f"half a head, for {waited:g} s"
    if seconds is None:
        told = "the connection stays open; how long it would cannot be told in that time"
        return untold(rule, asked, told, "give a head a deadline of some seconds; the proxy has 10")
    return passed(rule, asked, f"sent away after {seconds:.1f} s")


def judge_deadline(target: str, usual: Asked, came: Asked) -> Finding:
    """Say whether an answer that nobody waits for any more is given up; ``came`` had ``DEADLINE_MS`` to be made."""
    rule, asked = "limits.deadline", f"GET {target} with Strangler-Deadline: {DEADLINE_MS}"
    if not isinstance(came, Answer) or not isinstance(usual, Answer):
        return untold(rule, asked, str(came))
    if came.status in (503, 504) and usual.status < 500:
        return passed(rule, asked, f"{came}, and without a deadline {usual}")
    if came.status >= 500 and usual.status < 500:
        return failed(rule, asked, str(came), "answer 503 or 504 when time is over")
    if usual.seconds < SLOW_SECONDS:
        return untold(rule, asked, f"{came}: it is quick anyway, so that nothing is seen")
    if came.seconds < usual.seconds / 2:
        return passed(rule, asked, f"{came}, and without a deadline {usual}")
    wanted = "give up what it asks of others when the milliseconds of Strangler-Deadline are over"
    return failed(rule, asked, f"{came}, as slow as without a deadline", wanted)
