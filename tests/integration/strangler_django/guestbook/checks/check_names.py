# mypy: disable-error-code="misc, untyped-decorator"
# ruff: noqa: PT009 -- run by Django's own runner, whose asserts explain what they found
"""What a statement says that it comes from; PostgreSQL, and a fence that observes, are in the toolkit's tests."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any
from unittest import skipUnless

from django.http import HttpResponse
from django.test import AsyncClient, RequestFactory, SimpleTestCase, override_settings
from django.urls import include, path, re_path

from strangler_django import names

COMMAND = "test"  # what Django's runner was started by


def told(request: Any, **_: object) -> HttpResponse:
    return HttpResponse(names.words())


async def told_on_loop(request: Any, **_: object) -> HttpResponse:
    return HttpResponse(names.words())


urlpatterns = [
    path("api/", include([path("reviews/<int:pk>/", told), re_path(r"^notes/(?P<slug>[^/.]+)/$", told)])),
    path("loop/<slug:name>/", told_on_loop),
]


class Statements(SimpleTestCase):
    def test_what_may_write_does_so_by_its_first_word(self) -> None:
        for statement in (
            "INSERT INTO a VALUES (1)",
            "  \n update a set b = 1",
            "Delete from a",
            "merge into a using b on true when matched then delete",
            "TRUNCATE a",
            "copy a from stdin",
            "call restock()",
            "do $$ begin end $$",
            "/* a */ -- insert\n /* ** b */ UPDATE a SET b = 1",
            "WITH x AS (SELECT 1) INSERT INTO a SELECT * FROM x",
            "with x as (delete from a returning *) select * from x",
        ):
            self.assertTrue(names.writes(statement), statement)

    def test_what_reads_is_left_alone(self) -> None:
        for statement in (
            "",
            "SELECT 'insert into a'",
            "(select 1) union (select 2)",
            "updated",
            "-- update",
            "/* update a set b = 1",
            "/*" * 5_000,
            "/* */" * 5_000,
            "with x as (select 1) select * from x",
            "savepoint s",
            "BEGIN",
        ):
            self.assertFalse(names.writes(statement), statement[:80])

    def test_nothing_can_end_the_comment(self) -> None:
        self.assertEqual(names.clean("a*/ drop table b; /*%s'\n\u00fc<pk>:-."), "a_/_drop_table_b__/__s___<pk>:-.")
        self.assertEqual(len(names.clean("x" * 500)), names.MOST)

    def test_a_comment_stands_before(self) -> None:
        self.assertEqual(names.comment("task=a", "update b"), "/* strangler task=a */ update b")
        self.assertEqual(names.comment("", "update b"), "update b")


class Commands(SimpleTestCase):
    def test_a_command_is_read_from_what_the_process_was_started_with(self) -> None:
        for arguments, name in (
            (["manage.py", "import_prices", "--all"], "import_prices"),
            (["/srv/shop/manage.py", "migrate"], "migrate"),
            (["/usr/bin/django-admin", "migrate"], "migrate"),
            (["/x/site-packages/django/__main__.py", "test"], "test"),
            (["C:\\shop\\manage.py", "migrate"], "migrate"),
            (["manage.py"], ""),
            (["manage.py", "--version"], ""),
            (["/usr/bin/gunicorn", "shop.wsgi"], ""),
            (["mismanage.py", "migrate"], ""),
            ([], ""),
        ):
            self.assertEqual(names.command(arguments), name, arguments)

    def test_where_nothing_else_is_done_it_is_the_command(self) -> None:
        self.assertEqual(names.words(), f"command={COMMAND}")


@override_settings(ROOT_URLCONF="guestbook.checks.check_names", MIDDLEWARE=["strangler_django.names.middleware"])
class Requests(SimpleTestCase):
    def told(self, address: str) -> str:
        return str(self.client.post(address).content.decode())

    def test_it_is_the_route_and_not_the_path(self) -> None:
        self.assertEqual(self.told("/api/reviews/7/"), "method=POST route=/api/reviews/<int:pk>/")
        self.assertEqual(self.told("/api/notes/maria/"), "method=POST route=/api/notes/<slug>/")
        self.assertEqual(names.words(), f"command={COMMAND}")

    def test_it_is_the_same_on_a_loop(self) -> None:
        async def asked() -> Any:
            return await AsyncClient().post("/loop/maria/")

        self.assertEqual(asyncio.run(asked()).content, b"method=POST route=/loop/<slug:name>/")

    def test_before_there_is_a_view_the_route_is_not_known(self) -> None:
        seen = []

        def answer(request: Any) -> HttpResponse:
            seen.append(names.words())
            return HttpResponse()

        names.middleware(answer)(RequestFactory().put("/"))
        self.assertEqual(seen, ["method=PUT route=-"])

    def test_patterns_are_readable(self) -> None:
        for route, shown in (
            ("", "/"),
            ("^$", "/"),
            (r"^a/(?P<b>(c|d){2})/(?P<e>[)(]+)/f\.json$", "/a/<b>/<e>/f.json"),
            (r"^a/(?P<b>x(?P<c>y))/\Z", "/a/<b>/"),
            (r"a/(?P<b>", "/a/<b>"),
            (r"^a\-b/(\d+)/$", "/a-b/__d__/"),
        ):
            self.assertEqual(names.readable(route), shown)


class Units(SimpleTestCase):
    def test_anything_else_is_named_by_whoever_does_it(self) -> None:
        with names.named("job", "nightly prices"):
            self.assertEqual(names.words(), "job=nightly_prices")
            with names.named("step", "*/"):
                self.assertEqual(names.words(), "step=_/")
            self.assertEqual(names.words(), "job=nightly_prices")
        self.assertEqual(names.words(), f"command={COMMAND}")

    @skipUnless(importlib.util.find_spec("celery"), "Celery is not installed")
    def test_a_task_is_named_also_within_another(self) -> None:
        from celery import Celery

        app = Celery("guestbook", set_as_current=False)
        app.conf.task_always_eager = True
        names.connect()

        @app.task(name="shop.inner")
        def inner() -> str:
            return names.words()

        @app.task(name="shop.outer")
        def outer() -> list[str]:
            before = names.words()
            return [before, inner.apply().get(disable_sync_subtasks=False), names.words()]

        self.assertEqual(outer.apply().get(), ["task=shop.outer", "task=shop.inner", "task=shop.outer"])
        self.assertEqual(names.words(), f"command={COMMAND}")
