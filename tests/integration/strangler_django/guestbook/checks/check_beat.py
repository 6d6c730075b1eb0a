# mypy: disable-error-code="misc"
"""What a beat sends, over Celery's broker in memory."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from unittest import skipUnless

from django.test import SimpleTestCase, override_settings

WORK = {"reviews": {"tasks": ["reviews.*"], "record": "auth.User", "queue": "reviews"}}


@skipUnless(find_spec("celery"), "Celery is not there")
@override_settings(STRANGLER_BACKGROUND=WORK)
class Beat(SimpleTestCase):
    def sent(self, task: str, queue: str) -> str:
        """Start a beat anew, have it send what is due, and return the id of that."""
        from celery import Celery
        from celery.beat import Scheduler

        from strangler_django import ticks

        app = Celery("beat", broker="memory://", set_as_current=False)
        app.conf.update(
            task_default_queue=queue,
            beat_schedule={"count": {"task": task, "schedule": 1e9, "options": {"expires": 60}}},
        )
        scheduler = Scheduler(app)
        ticks.bind(scheduler)
        entry = scheduler.schedule["count"]
        entry.last_run_at = entry.last_run_at.replace(year=1980)
        scheduler.tick()
        assert "task_id" not in scheduler.schedule["count"].options
        with app.connection_for_read() as connection:
            message: Any = connection.SimpleQueue(queue).get(block=False)
            message.ack()
        return str(message.headers["id"])

    def test_the_beats_of_both_sides_send_a_capability_s_tick_under_one_id(self) -> None:
        assert self.sent("reviews.count", "monolith") == self.sent("reviews.count", "service")

    def test_what_belongs_to_none_is_sent_as_ever(self) -> None:
        assert self.sent("orders.count", "monolith") != self.sent("orders.count", "service")
