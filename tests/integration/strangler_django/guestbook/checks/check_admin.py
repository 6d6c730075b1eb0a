# mypy: disable-error-code="misc"
# ruff: noqa: PT027 -- run by Django's own runner, whose asserts explain what they found
"""Which models are whose; what the administration then offers is in the toolkit's tests."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings

from strangler_django.admin import models


class Owned(SimpleTestCase):
    def test_what_is_amiss_with_the_owned_models_is_said(self) -> None:
        for told, said in (
            ({"users": ["auth.User"]}, r"STRANGLER_OWNED\['users'\] is \['auth.User'\]; write"),
            ({"users": {"models": ["auth.Usr"]}}, "names 'auth.Usr', and there is no such model"),
            ({"users": {"models": ["User"]}}, "names 'User', and there is no such model"),
            (
                {"users": {"models": ["auth.User"]}, "staff": {"models": ["auth.User"]}},
                "names auth.User for users and for staff",
            ),
        ):
            with override_settings(STRANGLER_OWNED=told), self.assertRaisesRegex(ImproperlyConfigured, said):
                models()
