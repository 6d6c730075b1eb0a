"""Whether the process lives, and whether it should be sent requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

Check = Callable[[], Awaitable[str | None]]
"""Looks at one thing the service needs; answers None when it is well, else what is wrong with it."""


@dataclass(kw_only=True)
class Readiness:
    """The checks behind ``/health/ready``, and the drain that overrules them.

    Live and ready differ on purpose: a process whose database is gone is not ready, but killing it would not help.
    """

    checks: Mapping[str, Check] = field(default_factory=dict)
    deadline_seconds: float = 2.0
    draining: bool = False

    async def verdict(self) -> tuple[bool, dict[str, str]]:
        """Return whether to send requests, and what each check said; takes no longer than the deadline."""
        if self.draining:
            return False, {"drain": "the process is stopping"}
        said = await asyncio.gather(*(self._ask(check) for check in self.checks.values()))
        return not any(said), {name: word or "ok" for name, word in zip(self.checks, said, strict=True)}

    async def _ask(self, check: Check) -> str | None:
        try:
            async with asyncio.timeout(self.deadline_seconds):
                return await check()
        except TimeoutError:
            return f"no answer within {self.deadline_seconds:g} s"
