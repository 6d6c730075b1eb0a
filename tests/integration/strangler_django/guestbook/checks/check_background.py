# mypy: disable-error-code="misc"
"""What becomes of a task that a fence has refused, and what the settings may say."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.test import SimpleTestCase, override_settings

from strangler_django import background
from strangler_django.background import Next, Step, Work, after, parse
from strangler_django.fence import Refusal

REVIEWS = {
    "tasks": ["reviews.tasks.*"],
    "commands": ["import_reviews"],
    "record": "sessions.Session",
    "queue": "reviews",
}


def said(owner: str = "service", capability: str = "reviews") -> Refusal:
    return Refusal(capability, owner, "7", "")


class Refused(Exception):
    """As a driver raises it."""

    sqlstate = "SF001"

    def __str__(self) -> str:
        return 'capability "reviews" is fenced here: its owner is the service, epoch 7'


class Deciding(SimpleTestCase):
    def test_an_error_that_is_no_fence_s_is_an_error(self) -> None:
        assert after(None, "reviews", "monolith", 0) == Next(Step.FAIL)

    def test_the_owner_is_sent_what_it_owns_on_either_side(self) -> None:
        assert after(said("service"), "reviews", "monolith", 0) == Next(Step.OWNER, 0)
        assert after(said("monolith"), "reviews", "service", 0) == Next(Step.OWNER, 0)

    def test_one_that_comes_back_again_and_again_waits_longer_and_has_no_last_time(self) -> None:
        waits = [after(said(), "reviews", "monolith", hops).countdown_s for hops in (1, 2, 10, 10_000)]
        assert waits == [1, 2, 10, 10]
        assert after(said(), "reviews", "monolith", 10000).step == Step.OWNER

    def test_a_fence_that_names_nobody_or_this_side_is_waited_for(self) -> None:
        for owner in ("", "monolith"):
            assert after(said(owner), "reviews", "monolith", 0) == Next(Step.HERE, 1)
        assert after(said("", ""), "reviews", "monolith", 99) == Next(Step.HERE, 10)

    def test_another_capability_s_fence_is_waited_for_while_its_owner_may_move(self) -> None:
        assert after(said(capability="catalog"), "reviews", "monolith", 0) == Next(Step.HERE, 1)
        assert after(said(capability="catalog"), "reviews", "monolith", 10) == Next(Step.FAIL)


class Finding(SimpleTestCase):
    def test_a_refusal_is_found_beneath_what_it_has_led_to(self) -> None:
        try:
            try:
                try:
                    raise Refused
                except Refused as error:
                    raise DatabaseError from error
            except DatabaseError:
                raise ValueError("not saved")  # noqa: B904
        except ValueError as error:
            found = background.refused(error)
        assert found is not None
        assert found.owner == "service"

    def test_an_error_that_hides_where_it_comes_from_is_an_error(self) -> None:
        hiding = ValueError("not saved")
        hiding.__context__, hiding.__suppress_context__ = Refused(), True
        assert background.refused(hiding) is None
        assert background.refused(KeyError()) is None


class Settings(SimpleTestCase):
    def test_what_is_given_is_what_is_meant(self) -> None:
        [found] = parse({"reviews": REVIEWS})
        assert (found.capability, found.queue, found.database) == ("reviews", "reviews", "default")
        assert background.of_task("reviews.tasks.count", (found,)) is found
        assert background.of_task("catalog.tasks.count", (found,)) is None
        assert background.of_command("import_reviews", (found,)) is found

    def test_what_is_wrong_is_said(self) -> None:
        for setting, told in (
            ([], "is list; write"),
            ({"reviews": []}, "STRANGLER_BACKGROUND['reviews'] is list; a capability has a name"),
            ({"reviews": {**REVIEWS, "task": ""}}, "has task; known are tasks, commands, record, queue"),
            ({"reviews": {**REVIEWS, "tasks": "reviews.*"}}, "['tasks'] is 'reviews.*'; a list of names is wanted"),
            ({"reviews": {**REVIEWS, "queue": ""}}, 'has no "queue"'),
            ({"reviews": {"commands": ["x"]}}, 'has no "record"'),
            ({"reviews": {**REVIEWS, "broker": 1}}, "['broker'] is a int; text is wanted"),
            ({"reviews": {**REVIEWS, "tasks": ["*.count"]}}, "['tasks'] has '*.count'; * stands at the end"),
        ):
            with self.subTest(told), self.assertRaisesMessage(ImproperlyConfigured, told):
                parse(setting)

    def test_what_is_two_capabilities_is_refused(self) -> None:
        both = parse({"reviews": REVIEWS, "votes": {**REVIEWS, "tasks": ["reviews.*"], "commands": []}})
        with self.assertRaisesMessage(ImproperlyConfigured, "the task reviews.tasks.count to reviews and votes"):
            background.of_task("reviews.tasks.count", both)

    def test_a_broker_s_password_is_not_shown(self) -> None:
        found = Work("reviews", broker="redis://:secret@broker", broker_options={"a": "secret"})
        assert "secret" not in repr(found)

    def test_a_side_is_one_of_two(self) -> None:
        assert background.side() == "monolith"
        with override_settings(STRANGLER_SIDE="old"), self.assertRaisesMessage(ImproperlyConfigured, "is 'old'; write"):
            background.side()


class Checking(SimpleTestCase):
    def told(self, **given: Any) -> str:
        with override_settings(STRANGLER_BACKGROUND={"reviews": {**REVIEWS, **given}}):
            return "; ".join(str(each.msg) for each in background.check())

    def test_a_record_is_a_model_with_a_task_s_id_and_what_is_kept_of_it(self) -> None:
        assert "No installed app with label 'reviews'" in self.told(record="reviews.Job")
        assert "is 'job'" in self.told(record="job")
        assert "Session has no field named 'name'" in self.told(record="sessions.Session")

    def test_a_record_whose_key_is_a_number_cannot_hold_a_task_s_id(self) -> None:
        assert "the primary key of auth.User is an AutoField; a task's id is text" in self.told(record="auth.User")
