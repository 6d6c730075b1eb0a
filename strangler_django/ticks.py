"""What runs by the clock: the beats of both sides send it, and each tick takes effect once.

No beat asks who owns: two that asked while the owner moved could both be told yes, or both no. A tick's id is made of
the entry's name and of the time it was due at, the same on both sides; so the two messages are one task, and what makes
a task take effect once does the rest. One beat alone does as well, on either side.
"""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from celery.schedules import schedule

from strangler_django import background

# Any fixed one will do; both sides have this one.
_TICKS = uuid.UUID("5c7a3f0e-2f0b-4f0d-9d8e-7d1a6f4c2b90")
_MINUTE_S = 60


def bind(scheduler: Any) -> None:
    """Have a beat's scheduler send ticks of the capabilities' tasks under their ids."""
    works, send = background.works(), scheduler.apply_async

    def apply_async(entry: Any, producer: Any = None, advance: bool = True, **more: Any) -> Any:
        if background.of_task(entry.task, works) is None:
            return send(entry, producer=producer, advance=advance, **more)
        if advance:
            scheduler.reserve(entry)
        # For this sending alone: what is reserved has a copy of these options.
        options, entry.options = entry.options, {**entry.options, "task_id": tick(entry, time.time())}
        try:
            return send(entry, producer=producer, advance=False, **more)
        finally:
            entry.options = options

    scheduler.apply_async = apply_async


def tick(entry: Any, now_s: float) -> str:
    """Return the id of what an entry sends at ``now_s``, in seconds since 1970."""
    return str(uuid.uuid5(_TICKS, f"{entry.name}\n{entry.task}\n{_due(entry, now_s)}"))


def _due(entry: Any, now_s: float) -> str:
    """Return when an entry was due, as both sides have it: its minute, or the number of its interval since 1970."""
    kind = entry.schedule
    if isinstance(kind, schedule):
        return f"interval {int(now_s // max(kind.run_every.total_seconds(), 0.001))}"
    # What it was due at after its last run: one that is late sends the tick that was missed, which may have been sent.
    due = datetime.fromtimestamp(now_s, timezone.utc) + kind.remaining_estimate(entry.last_run_at)
    rounded = due + timedelta(seconds=_MINUTE_S / 2)
    return f"minute {int(rounded.timestamp() // _MINUTE_S)}"
