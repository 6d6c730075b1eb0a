# mypy: disable-error-code="misc"
"""What is sent on of a task that a fence has refused, over Celery's broker in memory."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from unittest import skipUnless

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings

from strangler_django.background import Next, Step, Work

WORK = Work("reviews", tasks=("reviews.*",), record="auth.User", queue="reviews")
NOBODY = "redis://127.0.0.1:1/0"
LATER = "2999-01-01T00:00:00+00:00"


def count(number: int, of: str) -> None:
    """Never run here."""


@skipUnless(find_spec("celery"), "Celery is not there")
class Deliveries(SimpleTestCase):
    def setUp(self) -> None:
        from celery import Celery

        self.app = Celery("deliveries", broker="memory://", set_as_current=False)
        self.app.conf.task_default_queue = "shop"
        self.task = self.app.task(name="reviews.count")(count)

    def send(self, work: Work, following: Next, **request: Any) -> None:
        from strangler_django import deliveries

        found = {"id": "7", "args": (1,), "kwargs": {"of": "all"}, "called_directly": False, "retries": 2, **request}
        found["delivery_info"] = {"exchange": "", "routing_key": "shop", "priority": 3}
        self.task.push_request(**found)
        try:
            deliveries._send(self.task, work, following)
        finally:
            self.task.pop_request()

    def received(self, queue: str) -> Any:
        with self.app.connection_for_read() as connection:
            message = connection.SimpleQueue(queue).get(block=False)
            message.ack()
            return message

    def test_the_owner_is_sent_the_same_task(self) -> None:
        self.send(WORK, Next(Step.OWNER), expires=LATER, headers={"tenant": "a"}, strangler_hops=4)
        message = self.received("reviews")
        headers = message.headers
        assert (headers["task"], headers["id"], headers["retries"], headers["eta"]) == ("reviews.count", "7", 2, None)
        assert (headers["expires"], headers["tenant"], headers["strangler_hops"]) == (LATER, "a", 5)
        assert message.properties["priority"] == 3
        assert message.payload[:2] == [[1], {"of": "all"}]

    def test_what_waits_for_the_fence_comes_to_this_side_s_queue_later(self) -> None:
        self.send(WORK, Next(Step.HERE, 3.0))
        headers = self.received("shop").headers
        assert (headers["id"], headers["strangler_hops"]) == ("7", 1)
        assert headers["eta"]

    def test_while_the_owner_s_broker_is_away_it_is_kept_here(self) -> None:
        self.send(Work("reviews", queue="reviews", broker=NOBODY), Next(Step.OWNER))
        headers = self.received("shop").headers
        assert (headers["id"], bool(headers["eta"])) == ("7", True)

    def test_while_no_broker_can_be_reached_it_is_delivered_again(self) -> None:
        from celery.exceptions import Reject

        self.app.conf.broker_url = NOBODY
        with self.assertRaises(Reject) as rejected:  # noqa: PT027  # Django's runner
            self.send(WORK, Next(Step.OWNER))
        assert rejected.exception.requeue

    def test_a_worker_does_not_begin_where_a_task_of_the_settings_is_unknown(self) -> None:
        from strangler_django import deliveries

        given = {"reviews": {"tasks": ["reviews.cuont"], "record": "sessions.Session", "queue": "reviews"}}
        with override_settings(STRANGLER_BACKGROUND=given), self.assertRaises(ImproperlyConfigured):  # noqa: PT027
            deliveries.bind(self.app)

    def test_a_replaced_task_is_another_than_the_one_whose_id_it_keeps(self) -> None:
        from celery.app.task import Context

        from strangler_django import deliveries

        assert deliveries._key(Context(id="7")) == "7"
        assert deliveries._key(Context(id="7", replaced_task_nesting=1)) == "7+1"
