# mypy: disable-error-code="misc"
# ruff: noqa: PT009 -- run by Django's own runner, whose asserts explain what they found
from __future__ import annotations

import tempfile
from datetime import timedelta
from importlib import import_module
from typing import Any
from unittest import skipUnless

import django
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from .asking import ask

HAS_TOKENS = apps.is_installed("rest_framework.authtoken")
MARIA = {"name": "maria", "staff": False, "groups": [], "permissions": []}


class Visitors(TestCase):
    def setUp(self) -> None:
        self.user = get_user_model().objects.create_user("maria", password="secret")

    def logged_in(self) -> str:
        self.client.force_login(self.user)
        return str(self.client.cookies[settings.SESSION_COOKIE_NAME].value)

    def maria(self, via: str, **changed: Any) -> dict[str, Any]:
        return {**MARIA, "subject": str(self.user.pk), "via": via, **changed}


class Sessions(Visitors):
    def test_a_session_is_whoever_logged_in_with_it(self) -> None:
        self.assertEqual(ask(self.client_class(), self.logged_in()), self.maria("session"))

    def test_staff_groups_and_the_permissions_that_were_asked_for_are_told(self) -> None:
        self.user.is_staff = True
        self.user.save()
        editors = Group.objects.create(name="editors")
        self.user.groups.add(editors, Group.objects.create(name="authors"))
        editors.permissions.add(*Permission.objects.filter(codename__in=["add_group", "change_group"]))
        asked = ("auth.delete_group", "auth.add_group", "nonsense")
        told = ask(self.client, self.logged_in(), permissions=asked)
        wanted = self.maria("session", staff=True, groups=["authors", "editors"], permissions=["auth.add_group"])
        self.assertEqual(told, wanted)

    def test_every_engine_s_sessions_are_understood(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for engine in ("db", "cache", "cached_db", "file", "signed_cookies"):
                name = f"django.contrib.sessions.backends.{engine}"
                with self.subTest(engine), override_settings(SESSION_ENGINE=name, SESSION_FILE_PATH=folder):
                    self.assertEqual(ask(self.client, self.logged_in()), self.maria("session"))
                    self.assertIsNone(ask(self.client, "0123456789abcdef0123456789abcdef"))

    def test_nobody_s_session_is_nobody(self) -> None:
        for key in ("", "x", "0123456789abcdef0123456789abcdef", "'; --", "\u00fc" * 40, "x" * 4000):
            self.assertIsNone(ask(self.client, key))

    def test_a_session_of_somebody_who_did_not_log_in_is_nobody(self) -> None:
        store = import_module(settings.SESSION_ENGINE).SessionStore()
        store["basket"] = 3
        store.save()
        self.assertIsNone(ask(self.client, store.session_key))

    def test_a_session_that_is_over_is_nobody(self) -> None:
        key = self.logged_in()
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        self.assertIsNone(ask(self.client, key))

    def test_a_logout_ends_it(self) -> None:
        key = self.logged_in()
        self.client.logout()
        self.assertIsNone(ask(self.client, key))

    def test_somebody_who_was_switched_off_is_nobody(self) -> None:
        key = self.logged_in()
        get_user_model().objects.update(is_active=False)
        self.assertIsNone(ask(self.client, key))
        with override_settings(AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.AllowAllUsersModelBackend"]):
            self.assertIsNone(ask(self.client, self.logged_in()))

    def test_somebody_who_was_deleted_is_nobody(self) -> None:
        key = self.logged_in()
        get_user_model().objects.all().delete()
        self.assertIsNone(ask(self.client, key))

    def test_a_changed_password_ends_the_session_and_asking_does_not_delete_it(self) -> None:
        key = self.logged_in()
        self.user.set_password("another")
        self.user.save()
        self.assertIsNone(ask(self.client, key))
        self.assertTrue(Session.objects.filter(pk=key).exists())

    def test_a_session_of_a_former_secret_key_keeps_its_id(self) -> None:
        if django.VERSION < (4, 1, 8):
            self.skipTest("Django renews such sessions since 4.1.8")
        key = self.logged_in()
        with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
            self.assertEqual(ask(self.client, key), self.maria("session"))
        self.assertTrue(Session.objects.filter(pk=key).exists())

    def test_nothing_is_written(self) -> None:
        key = self.logged_in()
        with CaptureQueriesContext(connection) as asked:
            ask(self.client_class(), key)
        self.assertGreater(len(asked), 0)
        for query in asked.captured_queries:
            self.assertTrue(query["sql"].startswith("SELECT "), query["sql"])


@skipUnless(HAS_TOKENS, "Django REST Framework is not installed")
class Tokens(Visitors):
    def setUp(self) -> None:
        super().setUp()
        from rest_framework.authtoken.models import Token

        self.token = Token.objects.create(user=self.user).key

    def test_a_token_is_whose_it_is(self) -> None:
        for spelt in (f"Token {self.token}", f"token   {self.token} "):
            self.assertEqual(ask(self.client, authorization=spelt), self.maria("token"))

    def test_a_bad_token_is_nobody_also_beside_a_session(self) -> None:
        key = self.logged_in()
        for bad in ("Token 0123", "Token", f"Token {self.token} x", "Token \u00fc"):
            self.assertIsNone(ask(self.client, key, bad))

    def test_a_token_counts_before_a_session(self) -> None:
        key = self.logged_in()
        self.assertEqual(ask(self.client, key, f"Token {self.token}"), self.maria("token"))

    def test_what_is_no_token_leaves_the_session(self) -> None:
        key = self.logged_in()
        for other in ("Basic bWFyaWE6c2VjcmV0", f"Bearer {self.token}", "nonsense"):
            self.assertEqual(ask(self.client, key, other), self.maria("session"))
            self.assertIsNone(ask(self.client, authorization=other))

    def test_a_token_of_somebody_who_was_switched_off_is_nobody(self) -> None:
        get_user_model().objects.update(is_active=False)
        self.assertIsNone(ask(self.client, authorization=f"Token {self.token}"))

    def test_the_project_s_own_way_to_read_a_token_is_taken(self) -> None:
        ours = {"DEFAULT_AUTHENTICATION_CLASSES": ["guestbook.checks.check_identity.Bearer"]}
        with override_settings(REST_FRAMEWORK=ours):
            self.assertEqual(ask(self.client, authorization=f"Bearer {self.token}"), self.maria("token"))
            self.assertIsNone(ask(self.client, authorization=f"Token {self.token}"))

    def test_without_tokens_there_are_none(self) -> None:
        with self.modify_settings(INSTALLED_APPS={"remove": ["rest_framework.authtoken"]}):
            self.assertIsNone(ask(self.client, authorization=f"Token {self.token}"))


if HAS_TOKENS:
    from rest_framework.authentication import TokenAuthentication

    class Bearer(TokenAuthentication):
        keyword = "Bearer"
