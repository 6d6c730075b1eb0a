# mypy: disable-error-code="misc"
# ruff: noqa: PT009 -- run by Django's own runner, whose asserts explain what they found
from __future__ import annotations

import hmac
import json
from datetime import timedelta
from hashlib import sha256
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import TestCase, override_settings
from django.utils import timezone

from .asking import post, signed

SLIDING = {"SESSION_SAVE_EVERY_REQUEST": True}


class Sessions(TestCase):
    def setUp(self) -> None:
        self.client.force_login(get_user_model().objects.create_user("maria", password="secret"))
        self.key = str(self.client.cookies[settings.SESSION_COOKIE_NAME].value)

    def answer(self) -> Any:
        body = json.dumps({"session": self.key, "authorization": "", "permissions": []}).encode()
        return post(self.client_class(), body, signed(body)).json()

    def lives(self) -> float:
        return float((Session.objects.get(pk=self.key).expire_date - timezone.now()).total_seconds())

    def age(self, seconds: int) -> None:
        Session.objects.update(expire_date=timezone.now() + timedelta(seconds=seconds))


@override_settings(**SLIDING)
class Sliding(Sessions):
    def test_a_session_lasts_as_long_as_after_a_request_and_so_does_its_cookie(self) -> None:
        self.age(100)
        cookie = self.answer()["cookie"]
        self.assertTrue(cookie.startswith(f"sessionid={self.key}; "), cookie)
        self.assertIn("HttpOnly", cookie)
        self.assertIn(f"Max-Age={settings.SESSION_COOKIE_AGE}", cookie)
        self.assertGreater(self.lives(), settings.SESSION_COOKIE_AGE - 10)

    def test_it_is_written_once_a_minute(self) -> None:
        self.age(settings.SESSION_COOKIE_AGE - 30)
        self.assertNotIn("cookie", self.answer())
        self.age(settings.SESSION_COOKIE_AGE - 70)
        self.assertIn("cookie", self.answer())
        self.assertNotIn("cookie", self.answer())

    def test_what_another_request_wrote_meanwhile_stays(self) -> None:
        self.age(100)
        store = import_module(settings.SESSION_ENGINE).SessionStore(self.key)
        before = Session.objects.get(pk=self.key).session_data
        self.answer()
        self.assertEqual(Session.objects.get(pk=self.key).session_data, before)
        self.assertTrue(store.exists(self.key))

    def test_a_session_that_is_over_stays_so(self) -> None:
        self.age(-1)
        self.assertEqual(self.answer(), {"identity": None})
        self.assertLess(self.lives(), 0)

    def test_a_session_of_a_browser_s_own_length_needs_no_cookie(self) -> None:
        with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True):
            self.age(100)
            self.assertNotIn("cookie", self.answer())
            self.assertGreater(self.lives(), 1000)

    def test_one_in_the_cache_slides_too(self) -> None:
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache"):
            self.client.force_login(get_user_model().objects.get())
            self.key = str(self.client.cookies[settings.SESSION_COOKIE_NAME].value)
            self.assertIn("cookie", self.answer())
            self.assertNotIn("cookie", self.answer())


class Fixed(Sessions):
    def test_a_session_that_does_not_slide_is_left_alone(self) -> None:
        self.age(100)
        self.assertNotIn("cookie", self.answer())
        self.assertLess(self.lives(), 101)

    def test_the_project_may_say_that_it_slides(self) -> None:
        self.age(100)
        with override_settings(STRANGLER_PROLONG_SESSIONS=True):
            self.assertIn("cookie", self.answer())


class Csrf(Sessions):
    def keep(self, token: str) -> None:
        store = import_module(settings.SESSION_ENGINE).SessionStore(self.key)
        store["_csrftoken"] = token
        store.save()

    def test_the_secret_in_a_session_is_told_as_a_digest(self) -> None:
        secret = "s" * 32
        with override_settings(CSRF_USE_SESSIONS=True):
            for token in (secret, "a" * 32 + secret, "b" * 32 + "t" * 32):
                self.keep(token)
                salt, _, digest = self.answer()["identity"]["csrf"].partition(".")
                self.assertEqual(digest, hmac.new(salt.encode(), secret.encode(), sha256).hexdigest())
            self.keep("nonsense")
            self.assertNotIn("csrf", self.answer()["identity"])
        self.keep(secret)
        self.assertNotIn("csrf", self.answer()["identity"])
