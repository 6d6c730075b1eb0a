"""How long a response took and where, in a header that browsers show beside it (W3C Server Timing).

Whoever reads it learns which stack answered and how busy it is. So it is closed unless ``[proxy] server_timing``
opens it to everybody; a tester with a signed override gets it always, beside ``Strangler-Why``.
"""

from __future__ import annotations

from typing import Final

# What a clock that was set back or a sum gone wrong may say at most: an hour, in milliseconds.
_MOST: Final = 3_600_000.0


def server_timing(total: float, upstream: float | None, stack: str) -> bytes:
    """Return the header's line, with its end, for a response whose head leaves ``total`` seconds after its request's.

    ``upstream`` is the part of it spent waiting for ``stack``, None when the proxy answered by itself. The stack's own
    ``Server-Timing`` stays beside it: a list may stand on several lines (RFC 9110, section 5.3).
    """
    if upstream is None:
        return b"Server-Timing: strangler;dur=%.1f\r\n" % _milliseconds(total)
    return b'Server-Timing: strangler;dur=%.1f, upstream;dur=%.1f;desc="%b"\r\n' % (
        _milliseconds(total - upstream),
        _milliseconds(upstream),
        stack.encode("ascii"),
    )


def _milliseconds(seconds: float) -> float:
    return min(max(seconds * 1000, 0.0), _MOST)
