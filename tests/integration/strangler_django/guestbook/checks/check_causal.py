# mypy: disable-error-code="misc, untyped-decorator"
# ruff: noqa: PT009 -- run by Django's own runner, whose asserts explain what they found
"""Of a database that is no PostgreSQL nothing is told; the others are in the toolkit's tests."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.test import AsyncClient, TestCase, override_settings
from django.urls import path

from strangler_django import causal


def save(request: Any) -> HttpResponse:
    get_user_model().objects.create_user("ann")
    return HttpResponse()


urlpatterns = [path("save/", save), path("nothing/", lambda request: HttpResponse())]


@override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=["strangler_django.causal.middleware"])
class Elsewhere(TestCase):
    def test_nothing_is_told(self) -> None:
        for address in ("/save/", "/nothing/"):
            self.assertNotIn(causal.HEADER, self.client.post(address))

    async def test_nothing_is_told_on_a_loop(self) -> None:
        self.assertNotIn(causal.HEADER, await AsyncClient().post("/nothing/"))
