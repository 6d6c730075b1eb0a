# mypy: disable-error-code="misc"
# ruff: noqa: PT009 -- run by Django's own runner, whose asserts explain what they found
from __future__ import annotations

import json
import time
from typing import Any

import django
from django.core.checks import run_checks
from django.test import SimpleTestCase, TestCase, override_settings

from .asking import PATH, SECRET, ask, post, signed

BODY = json.dumps({"session": "", "authorization": "", "permissions": []}).encode()


class Channel(TestCase):
    def status(self, body: bytes = BODY, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        response = post(self.client, body, signed(body) if headers is None else headers)
        return response.status_code, response.json() if response.content else None

    def refused(self, body: bytes = BODY, headers: dict[str, str] | None = None) -> str:
        status, content = self.status(body, headers)
        self.assertEqual(status, 403)
        return str(content["detail"])

    def test_a_signed_question_is_answered(self) -> None:
        self.assertEqual(self.status(), (200, {"identity": None}))

    def test_there_is_nothing_without_a_secret(self) -> None:
        for none in ("", None):
            with override_settings(STRANGLER_IDENTITY_SECRET=none):
                self.assertEqual(self.status(headers=signed(BODY, secret=b"")), (404, None))

    def test_there_is_nothing_to_look_at(self) -> None:
        self.assertEqual(self.client.get(PATH).status_code, 404)
        self.assertEqual(self.client.get(PATH, **signed(b"")).status_code, 404)

    def test_who_has_not_the_secret_is_refused(self) -> None:
        self.assertEqual(self.refused(headers={}), "the question is not signed")
        other = "the question is signed with another secret"
        self.assertEqual(self.refused(headers=signed(BODY, secret=b"another")), other)
        self.assertEqual(self.refused(body=BODY + b" ", headers=signed(BODY)), other)
        self.assertEqual(self.refused(headers={**signed(BODY), "HTTP_STRANGLER_NONCE": "f" * 32}), other)
        self.assertEqual(self.refused(headers={**signed(BODY), "HTTP_STRANGLER_SIGNATURE": "\u00fc"}), other)

    def test_an_answer_does_not_pass_for_a_question(self) -> None:
        answer = post(self.client, BODY, signed(BODY))
        headers = {**signed(answer.content), "HTTP_STRANGLER_SIGNATURE": answer["Strangler-Signature"]}
        self.assertEqual(self.refused(answer.content, headers), "the question is signed with another secret")

    def test_a_question_is_good_for_half_a_minute(self) -> None:
        now = time.time()
        for at in (now - 29, now + 29):
            self.assertEqual(self.status(headers=signed(BODY, at=at))[0], 200)
        for at in (now - 32, now + 32, 0):
            self.assertIn("clocks", self.refused(headers=signed(BODY, at=at)))

    def test_nonsense_in_the_headers_is_not_signed(self) -> None:
        for at in ("", "-1", "1e9", "\u0663", "9" * 13):
            headers = {**signed(BODY), "HTTP_STRANGLER_ASKED_AT": at}
            self.assertEqual(self.refused(headers=headers), "the question is not signed")
        self.assertEqual(self.refused(headers=signed(BODY, nonce="short")), "the question is not signed")

    def test_a_question_that_is_none_is_refused(self) -> None:
        for body in (
            b"",
            b"\xff",
            b"[]",
            b"{}",
            b'{"permissions": "all"}',
            b'{"permissions": [1]}',
            b'{"permissions": [], "session": 7}',
        ):
            self.assertIn("the question is no", self.refused(body, signed(body)))

    def test_a_login_that_every_view_wants_is_not_wanted_here(self) -> None:
        if django.VERSION < (5, 1):
            self.skipTest("Django has LoginRequiredMiddleware since 5.1")
        with self.modify_settings(MIDDLEWARE={"append": "django.contrib.auth.middleware.LoginRequiredMiddleware"}):
            self.assertIsNone(ask(self.client))


class Settings(SimpleTestCase):
    def test_a_secret_that_is_too_short_is_said_at_the_start(self) -> None:
        self.assertEqual([error.id for error in run_checks()], [])
        with override_settings(STRANGLER_IDENTITY_SECRET="x" * 31):
            self.assertEqual([error.id for error in run_checks()], ["strangler_django.E001"])
        self.assertGreaterEqual(len(SECRET), 32)
