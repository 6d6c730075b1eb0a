import os
import sys
import time

from django.contrib.auth.hashers import make_password
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand

from accounts.models import User
from catalog.models import Category, Product
from shop.seeding import rows
from shop.seeding.load import Size, analyze, load

# One hash for all, and the same on every machine: these accounts are for looking around.
SALT = "theSameSaltOnEveryMachine"


class Command(BaseCommand):
    help = "Fill the empty shop with invented products, customers and reviews, the same ones every time."

    def add_arguments(self, parser):
        parser.add_argument(
            "--scale", type=float, default=1.0, help="1 is 5,000 products, 20,000 reviews, 4,000 orders"
        )
        parser.add_argument("--flush", action="store_true", help="empty the whole database first, accounts included")
        progress = parser.add_mutually_exclusive_group()
        progress.add_argument("--progress", action="store_true", default=None, help="draw progress bars on stderr")
        progress.add_argument("--no-progress", action="store_false", dest="progress", help="draw none")

    def handle(self, *, scale, flush, progress, **options):
        if not 0 < scale <= 1000:
            raise CommandError(f"--scale is {scale:g}; a number above 0, at most 1000, is wanted")
        if flush:
            call_command("flush", interactive=False, verbosity=0)
        if Product.objects.exists() or Category.objects.exists():
            self.stdout.write(f"Already seeded: {Product.objects.count():,} products. Nothing changed.")
            return
        if User.objects.exists():
            raise CommandError("There are accounts but no products; --flush removes them and seeds anew")
        self._fill(Size.of(scale), progress)

    def _fill(self, size, progress):
        started = time.monotonic()
        password = os.environ.get("DEMO_PASSWORD") or "demo"
        drawn = sys.stderr.isatty() if progress is None else progress
        load(size, make_password(password, salt=SALT), sys.stderr if drawn else None)
        analyze()
        self.stdout.write(
            f"Seeded {size.products:,} products, {size.reviews:,} reviews and {size.users:,} accounts, "
            f"who placed {size.orders:,} orders, in {time.monotonic() - started:.1f} s."
        )
        shown = "$DEMO_PASSWORD" if os.environ.get("DEMO_PASSWORD") else password
        self.stdout.write(f"Log in as {', '.join(rows.KNOWN)}; the password is {shown}.")
