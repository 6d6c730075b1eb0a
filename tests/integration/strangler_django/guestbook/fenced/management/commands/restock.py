# mypy: disable-error-code="misc"
from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    def handle(self, *args: Any, **options: Any) -> None:
        apps.get_model("fenced", "Book").objects.filter(pk=7).update(title="7 anew")
