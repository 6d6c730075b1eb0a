# mypy: disable-error-code="misc"
# ruff: noqa: PT009 -- run by Django's own runner, whose asserts explain what they found
from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_out
from django.core.checks import run_checks
from django.http import HttpResponse
from django.test import RequestFactory, TestCase, override_settings

from strangler_django.forget import forget_user, middleware

from .asking import SECRET


def mark(kind: str, text: str) -> str:
    """Return what stands for somebody: written down a second time, for the proxy makes the same."""
    return hmac.new(SECRET, f"strangler-identity\nforget\n{kind}\n{text}".encode(), sha256).hexdigest()[:32]


class Forgotten(TestCase):
    def setUp(self) -> None:
        self.user = get_user_model().objects.create_user("maria", password="secret")

    def told(self, view: Any) -> str:
        """Return what a request says in whose view ``view`` is called."""

        def answer(request: Any) -> HttpResponse:
            view(request)
            return HttpResponse()

        request = RequestFactory().get("/")
        request.COOKIES["sessionid"] = "abc"
        return str(middleware(answer)(request).headers.get("Strangler-Forget", ""))

    def maria(self) -> str:
        return mark("subject", str(self.user.pk))

    def test_nothing_is_told_where_nobody_changes(self) -> None:
        self.assertEqual(self.told(lambda request: None), "")
        self.assertEqual(self.told(lambda request: self.user.save(update_fields=["last_login"])), "")
        self.assertEqual(self.told(lambda request: get_user_model().objects.create_user("otto")), "")

    def test_a_logout_names_the_session(self) -> None:
        def log_out(request: Any) -> None:
            user_logged_out.send(sender=type(self.user), request=request, user=self.user)

        self.assertEqual(self.told(log_out), mark("session", "abc"))

    def test_whoever_changes_is_named_whoever_did_it(self) -> None:
        group = Group.objects.create(name="editors")
        for change in (
            lambda request: self.user.save(),
            lambda request: self.user.groups.add(group),
            lambda request: group.user_set.remove(self.user),
            lambda request: forget_user(self.user.pk),
        ):
            self.assertEqual(self.told(change), self.maria())
        before = self.maria()
        self.assertEqual(self.told(lambda request: self.user.delete()), before)

    def test_a_group_s_permissions_concern_everybody(self) -> None:
        group = Group.objects.create(name="editors")
        self.assertEqual(self.told(lambda request: group.permissions.add(1)), mark("everybody", ""))

    def test_too_many_are_everybody(self) -> None:
        def change(request: Any) -> None:
            for pk in range(65):
                forget_user(pk)

        self.assertEqual(self.told(change), mark("everybody", ""))

    def test_outside_of_requests_and_without_a_secret_nothing_is_told(self) -> None:
        self.user.save()
        with override_settings(STRANGLER_IDENTITY_SECRET=""):
            self.assertEqual(self.told(lambda request: self.user.save()), "")

    def test_a_missing_middleware_is_said_at_the_start(self) -> None:
        with self.modify_settings(MIDDLEWARE={"remove": ["strangler_django.forget.middleware"]}):
            self.assertEqual([found.id for found in run_checks()], ["strangler_django.W001"])
