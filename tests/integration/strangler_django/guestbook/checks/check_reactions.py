# mypy: disable-error-code="misc"
# ruff: noqa: PT009, PT027 -- run by Django's own runner, whose asserts explain what they found
"""What needs no database of a reaction; the queue itself is in the toolkit's tests."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError, call_command
from django.test import SimpleTestCase

from strangler_django.owner import MONOLITH, owner
from strangler_django.reactions import Change, pause, reaction, registered


class Reactions(SimpleTestCase):
    def test_a_name_is_one_function_s(self) -> None:
        @reaction("of these checks")
        def first(change: Any) -> None:
            """The one."""

        reaction("of these checks")(first)
        self.assertIs(registered()["of these checks"], first)
        with self.assertRaisesRegex(
            ValueError, "two functions are the reaction 'of these checks': .*first and .*second"
        ):

            @reaction("of these checks")
            def second(change: Any) -> None:
                """The other."""

    def test_a_change_has_a_token_of_its_own(self) -> None:
        change = Change(7, "books", "shelf", "book", "insert", {"id": 1}, None, {})
        self.assertEqual(change.token, "shelf-7")

    def test_the_pauses_grow_up_to_a_minute(self) -> None:
        self.assertEqual([pause(tries) for tries in (1, 2, 3, 7, 8, 10_000)], [0.5, 1.0, 2.0, 32.0, 60.0, 60.0])

    def test_another_database_than_postgresql_has_no_queue_and_nothing_that_moved(self) -> None:
        with self.assertRaisesRegex(CommandError, "the database 'default' is no PostgreSQL"):
            call_command("strangler_react")
        self.assertEqual(owner("books"), MONOLITH)
