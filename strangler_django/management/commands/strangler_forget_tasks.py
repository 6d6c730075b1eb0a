from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from strangler_django import background, names, records
from strangler_django.background import Work


class Command(BaseCommand):
    help = "Forget which tasks have taken effect long ago, where their capability's data are owned. Meant for cron."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--days", type=int, default=30, help="older than this; longer than any task is delayed or lies in a queue"
        )

    def handle(self, *, days: int, **options: Any) -> None:
        if days < 1:
            raise CommandError(f"--days is {days}; 1 or more is wanted")
        for work in background.works():
            # A name of a command belongs to one capability at most, and this one is each one's.
            with names.named("command", f"strangler_forget_tasks.{work.capability}"):
                self.stdout.write(_forget(work, days))


def _forget(work: Work, days: int) -> str:
    standing = records.ask(work)
    if standing is not None:
        return f"{work.capability}: its data are the {standing.owner}'s, which forgets them; the stream brings it here"
    old = records.model(work)._base_manager.using(work.database)
    number, _ = old.filter(done_at__lt=timezone.now() - timedelta(days=days)).delete()
    return f"{work.capability}: {number} tasks forgotten"
