"""A tick has one id, whichever side's beat sends it, and another for each time that it is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab
from hypothesis import given
from hypothesis import strategies as st

from strangler_django import ticks

NIGHT = datetime(2026, 3, 31, 3, 40, tzinfo=UTC)
APP = Celery("ticks", set_as_current=False)
NAME, TASK = "count votes", "reviews.tasks.count"


def entry(schedule: Any = 60.0, last: datetime = NIGHT) -> ScheduleEntry:
    return ScheduleEntry(name=NAME, task=TASK, schedule=schedule, last_run_at=last, app=APP)


def nightly(now: datetime, last: datetime) -> str:
    """Return the tick of an entry for each night at 3:40, of which one was sent last at ``last``."""
    schedule = crontab(minute="40", hour="3", nowfun=lambda: now, app=APP)
    return ticks.tick(entry(schedule, last), now.timestamp())


@given(first=st.floats(0, 59), second=st.floats(0, 59))
def test_both_sides_send_one_tick_of_the_clock_whenever_their_beats_come_to_it(first: float, second: float) -> None:
    before = NIGHT - timedelta(days=1)
    assert nightly(NIGHT + timedelta(seconds=first), before) == nightly(
        NIGHT + timedelta(seconds=second), before + timedelta(seconds=second)
    )


def test_each_night_s_tick_is_another() -> None:
    nights = [NIGHT + timedelta(days=day) for day in range(10)]
    assert len({nightly(each, each - timedelta(days=1)) for each in nights}) == 10


def test_a_beat_that_was_away_sends_the_tick_that_it_has_missed() -> None:
    before = NIGHT - timedelta(days=1)
    assert nightly(NIGHT + timedelta(hours=5), before) == nightly(NIGHT, before)


@given(st.floats(0, 59.9), st.floats(0, 59.9))
def test_both_sides_send_one_tick_in_each_interval(first: float, second: float) -> None:
    start = NIGHT.timestamp()
    assert ticks.tick(entry(), start + first) == ticks.tick(entry(), start + second)
    assert ticks.tick(entry(), start + first) != ticks.tick(entry(), start + 60 + second)


def test_another_entry_s_tick_is_another() -> None:
    other = entry()
    other.name = "count photos"
    assert ticks.tick(entry(), NIGHT.timestamp()) != ticks.tick(other, NIGHT.timestamp())
