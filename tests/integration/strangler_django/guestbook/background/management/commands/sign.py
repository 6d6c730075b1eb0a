# mypy: disable-error-code="misc"
from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("note")

    def handle(self, *, note: str, **options: Any) -> None:
        apps.get_model("background", "Entry").objects.create(note=note)
