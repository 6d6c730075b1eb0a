"""Until when an answer is of use to whoever waits for it.

A caller says in the header ``Strangler-Deadline`` how many milliseconds it will still wait. What a service asks of
others on its behalf lasts no longer: work that nobody waits for any more is what keeps an overloaded system down.
Milliseconds that remain are sent, not an instant, because two machines' clocks agree less well than that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

HEADER: Final = "strangler-deadline"

# No caller waits longer: the proxy, which is at the beginning of every chain, gives a service so long.
MOST_S: Final = 60.0
_DIGITS: Final = re.compile(r"[0-9]{1,9}")

# On the monotonic clock.
_CURRENT: Final[ContextVar[float | None]] = ContextVar("strangler_service_deadline", default=None)


def read(text: str | None) -> float | None:
    """Return the seconds that a header's value leaves, ``MOST_S`` at most; None for no header, or nonsense."""
    if text is None or _DIGITS.fullmatch(text) is None:
        return None
    return min(int(text) / 1000, MOST_S)


def remaining() -> float | None:
    """Return the seconds that remain for the request being answered, never below 0; None where nobody said."""
    at = _CURRENT.get()
    return None if at is None else max(0.0, at - time.monotonic())


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Let what is inside the ``with`` last ``seconds`` at most; None, or more than remains, changes nothing."""
    left = remaining()
    if seconds is None or (left is not None and left <= seconds):
        yield
        return
    before = _CURRENT.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _CURRENT.reset(before)
