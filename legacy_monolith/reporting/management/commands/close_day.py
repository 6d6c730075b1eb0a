from datetime import date

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from reporting.asked import yesterday
from reporting.sales import close_day


class Command(BaseCommand):
    help = "Count the sales of a day that is over; once more changes nothing. Meant for cron, each night."

    def add_arguments(self, parser):
        parser.add_argument("--day", help="such as 2026-03-31; yesterday if absent")

    def handle(self, *, day, **options):
        day = _day(day) if day else yesterday()
        if day > yesterday():
            raise CommandError(f"{day} is not over; the last day that can be closed is {yesterday()}")
        categories, revenue = close_day(day)
        self.stdout.write(f"{day}: {revenue:,.2f} in {categories} categories.")


def _day(text):
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise CommandError(f"--day is {text!r}; a date such as 2026-03-31 is wanted") from exc
