"""A command line as somebody types it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What is said after the program's name and the project: the verb, its words, and the reason where it wants one."""

    words: tuple[str, ...]
    reason: str = ""

    def line(self, before: tuple[str, ...] = ()) -> str:
        """Return the line for a shell; ``before`` stands before the verb."""
        reason = ("--reason", self.reason) if self.reason else ()
        return shlex.join(("strangler", *before, *self.words, *reason))


def typed(*words: str, reason: str = "") -> Typed:
    return Typed(words=words, reason=reason)
