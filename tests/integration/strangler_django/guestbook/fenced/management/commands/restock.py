# mypy: disable-error-code="misc"
from __future__ import annotations

import sys
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand
from django.db import transaction


class Command(BaseCommand):
    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--asking", action="store_true", help="wait half-way for a line")

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            apps.get_model("fenced", "Other").objects.create(pk=7, note="before")
            if options["asking"]:
                self.stdout.write("half-way")
                self.stdout.flush()
                sys.stdin.readline()
            apps.get_model("fenced", "Book").objects.filter(pk=7).update(title="7 anew")
