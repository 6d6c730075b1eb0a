"""Whether the process lives, and whether it should be sent requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

Check = Callable[[], Awaitable[str | None]]
"""Looks at one thing the service needs; answers None when it is well, else what is wrong with it."""

PlainCheck = Callable[[], str | None]
"""The same for an application that runs in threads."""

Verdict = tuple[bool, dict[str, str]]
"""Whether to send requests, and what each check said."""

_DRAINING: Final = "the process is stopping"


@dataclass(kw_only=True)
class Readiness:
    """The checks behind ``/health/ready``, and the drain that overrules them.

    Live and ready differ on purpose: a process whose database is gone is not ready, but killing it would not help.
    """

    checks: Mapping[str, Check] = field(default_factory=dict)
    deadline_seconds: float = 2.0
    draining: bool = False

    async def verdict(self) -> Verdict:
        """Return whether to send requests, and what each check said; takes no longer than the deadline."""
        if self.draining:
            return False, {"drain": _DRAINING}
        return _verdict(self.checks, await asyncio.gather(*(self._ask(check) for check in self.checks.values())))

    async def _ask(self, check: Check) -> str | None:
        try:
            async with asyncio.timeout(self.deadline_seconds):
                return await check()
        except TimeoutError:
            return _late(self.deadline_seconds)


@dataclass(kw_only=True)
class PlainReadiness:
    """The same for an application that runs in threads. Each check has a thread of its own to be late in."""

    checks: Mapping[str, PlainCheck] = field(default_factory=dict)
    deadline_seconds: float = 2.0
    draining: bool = False

    def verdict(self) -> Verdict:
        """Return whether to send requests, and what each check said; takes no longer than the deadline."""
        if self.draining:
            return False, {"drain": _DRAINING}
        asked = [thread.submit(check) for thread, check in zip(self._threads, self.checks.values(), strict=True)]
        return _verdict(self.checks, [self._said(each) for each in asked])

    def _said(self, asked: Future[str | None]) -> str | None:
        try:
            return asked.result(self.deadline_seconds)
        except TimeoutError:
            asked.cancel()  # what a check that hangs keeps waiting is not asked when it goes on
            return _late(self.deadline_seconds)

    @cached_property
    def _threads(self) -> tuple[ThreadPoolExecutor, ...]:
        # Made when first asked: servers fork after the application was built, and threads do not survive that.
        return tuple(ThreadPoolExecutor(1, f"check-{name}") for name in self.checks)


def _verdict(names: Iterable[str], said: Iterable[str | None]) -> Verdict:
    words = dict(zip(names, said, strict=True))
    return not any(words.values()), {name: word or "ok" for name, word in words.items()}


def _late(seconds: float) -> str:
    return f"no answer within {seconds:g} s"
