# mypy: disable-error-code="misc"
# ruff: noqa: PT009 -- run by Django's own runner, whose asserts explain what they found
"""Errors as both drivers raise them; the fence itself, and PostgreSQL, are in the toolkit's tests."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from unittest import skipUnless

from django.apps import apps
from django.db import DatabaseError, InternalError, OperationalError, ProgrammingError
from django.db.transaction import TransactionManagementError
from django.http import HttpResponse
from django.test import AsyncClient, SimpleTestCase, override_settings
from django.urls import path

from strangler_django.fence import Refusal, refusal
from strangler_django.problem import prefers_html

DETAIL = "capability=shop-books owner=service epoch=7 operation=UPDATE table=public.book role=app"
MESSAGE = 'capability "shop-books" is fenced here: its owner is the service, epoch 7'
SAID = Refusal("shop-books", "service", "7", DETAIL)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Diagnostics:
    def __init__(self, detail: str | None) -> None:
        self.message_detail = detail


class OfDriver(Exception):
    """An error as psycopg 3 (``sqlstate``) or psycopg2 (``pgcode``) has it."""

    def __init__(self, state: str | None, name: str = "sqlstate", detail: str | None = DETAIL) -> None:
        super().__init__(MESSAGE)
        setattr(self, name, state)
        self.diag = Diagnostics(detail)


def of_django(cause: BaseException | None, kind: type[Exception] = ProgrammingError) -> Exception:
    error = kind(MESSAGE)
    error.__cause__ = cause
    return error


RAISED: list[Exception] = [of_django(OfDriver("SF001"))]


def view(request: Any) -> HttpResponse:
    raise RAISED[0]


async def view_on_loop(request: Any) -> HttpResponse:
    raise RAISED[0]


def calm(request: Any) -> HttpResponse:
    return HttpResponse("calm")


def further_in(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """As sessions are, that are written after the view."""

    def middleware(request: Any) -> Any:
        response = get_response(request)
        if request.path == "/calm/":
            raise RAISED[0]
        return response

    return middleware


urlpatterns = [path("", view), path("loop/", view_on_loop), path("calm/", calm)]


class Page(HTMLParser):
    """What a page's reader gets, and what its browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.fetched += [tag for name, _ in attrs if name in ("src", "href", "action", "srcset")]
        self.fetched += [tag] if tag in ("script", "link", "img", "iframe") else []

    def handle_data(self, data: str) -> None:
        self.words += [data.strip()] if data.strip() else []


class Refusals(SimpleTestCase):
    def test_both_drivers_errors_are_understood_under_each_of_django_s(self) -> None:
        for kind in (DatabaseError, ProgrammingError, InternalError, OperationalError):
            for name in ("sqlstate", "pgcode"):
                self.assertEqual(refusal(of_django(OfDriver("SF001", name), kind)), SAID)
        self.assertEqual(refusal(OfDriver("SF001")), SAID)

    def test_what_is_refused_because_a_write_was_before_is_refused_by_the_fence(self) -> None:
        before = of_django(OfDriver("SF001"))
        self.assertEqual(refusal(of_django(before, TransactionManagementError)), SAID)

    def test_without_a_detail_the_message_is_read(self) -> None:
        self.assertEqual(refusal(of_django(OfDriver("SF001", detail=None))), SAID._replace(detail=MESSAGE))

    def test_a_capability_s_name_may_hold_what_names_may(self) -> None:
        detail = DETAIL.replace("shop-books", "shop_books-2")
        self.assertEqual(
            refusal(OfDriver("SF001", detail=detail)), SAID._replace(capability="shop_books-2", detail=detail)
        )

    def test_a_detail_that_is_not_understood_is_a_refusal_all_the_same(self) -> None:
        error = OfDriver("SF001", detail="capability=<b> owner=service epoch=7 ")
        error.args = ("something",)
        self.assertEqual(refusal(of_django(error)), Refusal("", "", "", "capability=<b> owner=service epoch=7 "))

    def test_every_other_error_is_none(self) -> None:
        for error in (
            None,
            ValueError(MESSAGE),
            of_django(None),
            of_django(OfDriver(None)),
            of_django(OfDriver("23505")),
            of_django(ValueError(MESSAGE)),
        ):
            self.assertIsNone(refusal(error))


@override_settings(
    ROOT_URLCONF="guestbook.checks.check_fence",
    MIDDLEWARE=["strangler_django.fence.middleware", "django.middleware.common.CommonMiddleware"],
)
class Answers(SimpleTestCase):
    def setUp(self) -> None:
        RAISED[0] = of_django(OfDriver("SF001"))

    def asked(self, address: str = "/", **headers: str) -> Any:
        with self.assertLogs("strangler_django.fence", "WARNING") as logged:
            response = self.client.post(address, **headers)
        self.assertEqual(logged.output, [f"WARNING:strangler_django.fence:a write is refused by a fence: {DETAIL}"])
        self.assertEqual(response.status_code, 503)
        self.assertEqual((response["Retry-After"], response["Cache-Control"]), ("2", "no-store"))
        return response

    def test_a_program_gets_a_problem(self) -> None:
        response = self.asked(HTTP_X_REQUEST_ID="abc-1")
        self.assertEqual(response["Content-Type"], "application/problem+json")
        self.assertEqual(
            json.loads(response.content.decode()),
            {
                "type": "about:blank",
                "title": "Service Unavailable",
                "status": 503,
                "detail": "What you sent belongs to shop-books, which cannot be written here at this moment."
                " It was not saved; send it again in a few seconds.",
                "capability": "shop-books",
                "instance": "urn:request:abc-1",
            },
        )

    def test_a_browser_gets_a_page_that_stands_alone(self) -> None:
        response = self.asked(HTTP_ACCEPT=BROWSER, HTTP_X_REQUEST_ID="<script>")
        self.assertEqual(response["Content-Type"], "text/html; charset=utf-8")
        page = Page(response.content.decode())
        self.assertEqual(page.fetched, [])
        self.assertNotIn("<script>", page.words)
        self.assertEqual(page.words[2:4] + page.words[-2:], ["503", "Not saved yet", "capability", "shop-books"])

    def test_nothing_that_the_database_said_is_believed_to_be_a_name(self) -> None:
        RAISED[0] = of_django(OfDriver("SF001", detail="capability=<b>x</b> owner=service epoch=7 "))
        RAISED[0].__cause__.args = ("<b>",)  # type: ignore[union-attr]
        with self.assertLogs("strangler_django.fence", "WARNING"):
            response = self.client.post("/", HTTP_ACCEPT=BROWSER)
        self.assertEqual(response.status_code, 503)
        self.assertNotIn("<b>", response.content.decode())

    def test_what_prefers_html_is_a_browser(self) -> None:
        for accept, page in (
            (BROWSER, True),
            ("text/html", True),
            ("", False),
            ("*/*", False),
            ("application/json, text/html;q=0.9", False),
            ("text/html;q=nonsense", False),
        ):
            self.assertEqual(prefers_html(accept), page)

    def test_every_other_error_is_left_to_whoever_answers_it(self) -> None:
        self.client.raise_request_exception = False
        for error in (of_django(OfDriver("23505")), of_django(None), ValueError(MESSAGE)):
            RAISED[0] = error
            with self.assertLogs("django.request", "ERROR"):
                self.assertEqual(self.client.post("/").status_code, 500)

    def test_nobody_is_sent_mail_about_it(self) -> None:
        with self.assertLogs("django.request") as logged:
            self.asked()
            logging.getLogger("django.request").error("after it")
        self.assertEqual(logged.output, ["ERROR:django.request:after it"])

    def test_a_middleware_further_in_may_meet_the_fence(self) -> None:
        self.client.raise_request_exception = False
        raising = self.modify_settings(MIDDLEWARE={"append": "guestbook.checks.check_fence.further_in"})
        with raising, self.assertLogs("django.request", "ERROR"):  # what Django had answered before it is replaced
            self.asked("/calm/")
        self.assertEqual(self.client_class().post("/calm/").status_code, 200)

    def test_it_is_the_same_on_a_loop(self) -> None:
        async def asked() -> Any:
            return await AsyncClient().post("/loop/")

        with self.assertLogs("strangler_django.fence", "WARNING"):
            response = asyncio.run(asked())
        self.assertEqual((response.status_code, response["Retry-After"]), (503, "2"))


@skipUnless(apps.is_installed("rest_framework"), "Django REST Framework is not installed")
@override_settings(ROOT_URLCONF="guestbook.checks.check_fence", MIDDLEWARE=["strangler_django.fence.middleware"])
class RestFramework(SimpleTestCase):
    def test_a_view_of_the_rest_framework_s_is_answered_alike(self) -> None:
        from rest_framework.views import APIView

        class Api(APIView):
            authentication_classes: Any = ()
            permission_classes: Any = ()

            def post(self, request: Any) -> HttpResponse:
                raise of_django(OfDriver("SF001"))

        urls = type("urls", (), {"urlpatterns": [path("", Api.as_view())]})
        with override_settings(ROOT_URLCONF=urls), self.assertLogs("strangler_django.fence", "WARNING"):
            response = self.client.post("/")
        self.assertEqual((response.status_code, response["Content-Type"]), (503, "application/problem+json"))
