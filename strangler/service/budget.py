"""How many calls may be repeated, so that repeating never makes a bad moment worse.

A retry is cheap while few calls fail and ruinous when all do: three attempts for each then treble the load of what
is already down. A budget bounds retries by what is asked anyway (Site Reliability Engineering, chapter 21: "Handling
Overload"): a share of the calls of the last seconds, and a few more so that a quiet service may retry, too.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

SHARE: Final = 0.2  # Envoy's and Linkerd's usual one
LEAST: Final = 3  # Envoy's min_retry_concurrency
WINDOW_S: Final = 10


class Budget:
    """Counts calls and their retries by the second. It has no clock: times are seconds that never go back.

    In any window of ``window_s`` seconds there are at most ``least`` retries, or a ``share`` of the calls when that
    is more.
    """

    def __init__(self, *, share: float = SHARE, least: int = LEAST, window_s: int = WINDOW_S) -> None:
        if not 0 <= share <= 1 or least < 0 or window_s < 1:
            raise ValueError(f"no budget has a share of {share}, at least {least} retries and {window_s} s")
        self._share = share
        self._least = least
        self._window_s = window_s
        self._calls: Counter[int] = Counter()
        self._retries: Counter[int] = Counter()

    def __repr__(self) -> str:
        return f"Budget({self._retries.total()} retries of {self._calls.total()} calls in {self._window_s} s)"

    def called(self, at: float) -> None:
        """Count a call, not its retries."""
        self._forget(at)
        self._calls[int(at)] += 1

    def spend(self, at: float) -> bool:
        """Return whether a call may be repeated at ``at``, and count the retry when it may."""
        self._forget(at)
        if self._retries.total() >= max(self._least, int(self._share * self._calls.total())):
            return False
        self._retries[int(at)] += 1
        return True

    def _forget(self, at: float) -> None:
        oldest = int(at) - self._window_s + 1
        for counted in (self._calls, self._retries):
            for second in [each for each in counted if each < oldest]:
                del counted[second]
