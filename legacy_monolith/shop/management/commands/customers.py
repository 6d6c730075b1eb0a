import json
import random
import signal
import threading
import time
import uuid
from decimal import Decimal
from pathlib import Path

import httpx
from django.core.management import CommandError
from django.core.management.base import BaseCommand
from django.db.models import Avg, Count
from django.db.models.functions import Round

from accounts.models import User
from catalog.models import Product
from reviews.models import Review

PATIENCE_S = 20
SETTLED_S = 15
OFTEN = 4  # so many changes come on one new review


class Command(BaseCommand):
    help = (
        "Write reviews through the front door until ended, a line of JSON for each that was acknowledged; "
        "or hold the shop against such lines."
    )

    def add_arguments(self, parser):
        parser.add_argument("--through", help="the shop's address, such as http://127.0.0.1:8000")
        parser.add_argument("--people", type=int, default=6, help="who write at once")
        parser.add_argument("--rate", type=float, default=2.0, help="writes a second of each of them")
        parser.add_argument("--check", metavar="FILE", help="hold the shop against the lines of this file")

    def handle(self, *, through, people, rate, check, **options):
        if bool(through) == bool(check):
            raise CommandError("say either --through, to write, or --check, to look at what was written")
        if check:
            self.check_lines(Path(check))
            return
        if people < 1 or not 0 < rate <= 100:
            raise CommandError(f"{people} people at {rate:g} writes a second; at least one, and a rate up to 100")
        over = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: over.set())
        self.one_at_a_time = threading.Lock()
        names = User.objects.filter(is_staff=False, is_active=True).order_by("?").values_list("username", flat=True)
        writers = [Customer(through, name, over, rate, self.tell) for name in names[:people]]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()

    def tell(self, line):
        with self.one_at_a_time:
            self.stdout.write(json.dumps(line))
            self.stdout.flush()

    def check_lines(self, file):
        """Say in a line what became of the writes; fails when one is lost, doubled, failed or seen too late."""
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]
        until = time.monotonic() + SETTLED_S
        while any((found := examined(lines)).values()) and time.monotonic() < until:
            time.sleep(0.2)  # rows and what follows from them may be on their way
        written = [line for line in lines if "failed" not in line]
        reads = sum(line["seen"] is not None for line in written)
        self.stdout.write(json.dumps({"acknowledged_writes": len(written), "reads_of_own": reads, **found}))
        if any(found.values()):
            raise CommandError("not all is as it was acknowledged")


def examined(lines):
    """Return how many writes are lost, doubled, failed, unseen by who wrote them, and ratings that are not theirs.

    Who writes goes on meanwhile: a later change than the last of the lines is no loss of that one.
    """
    written = [line for line in lines if "failed" not in line]
    last = {line["title"]: line for line in written}
    kept = {}
    for review in Review.objects.filter(title__in=last):
        kept.setdefault(review.title, []).append(review)
    products = {line["product"] for line in written}
    return {
        "lost": sum(all(int(each.body) < int(line["body"]) for each in kept.get(t, ())) for t, line in last.items()),
        "doubled": sum(len(each) > 1 for each in kept.values()),
        "failed": len(lines) - len(written),
        "stale_reads": sum(line["seen"] is False for line in written),
        "wrong_ratings": wrong_ratings(products),
    }


def wrong_ratings(products):
    """Return how many of the products do not carry the average and number of their published reviews."""
    rated = Review.objects.published().filter(product__in=products).order_by().values("product")
    right = {
        each["product"]: (each["average"], each["count"])
        for each in rated.annotate(average=Round(Avg("rating"), precision=2), count=Count("id"))
    }
    shown = Product.objects.filter(id__in=products).values_list("id", "rating", "review_count")
    return sum(
        (None if rating is None else Decimal(rating), count) != decimal(right.get(number, (None, 0)))
        for number, rating, count in shown
    )


def decimal(pair):
    average, count = pair
    return None if average is None else Decimal(str(average)).quantize(Decimal("0.01")), count


class Customer(threading.Thread):
    """Somebody who writes reviews, changes them, and looks at each at once."""

    def __init__(self, base, name, over, rate, tell):
        super().__init__(daemon=True)
        self.base, self.username, self.over, self.rate, self.tell = base, name, over, rate, tell
        self.draw = random.Random(name)  # noqa: S311
        self.own = None

    def run(self):
        with httpx.Client(base_url=self.base, timeout=PATIENCE_S) as self.client:
            try:
                self.log_in()
                while not self.over.wait(1 / self.rate):
                    self.write()
            except (httpx.HTTPError, CommandError) as exc:
                self.tell({"failed": f"{self.username}: {type(exc).__name__} {exc}"})

    def log_in(self):
        page = "/en/account/login/"
        self.client.get(page).raise_for_status()
        form = {"username": self.username, "password": "demo", "csrfmiddlewaretoken": self.client.cookies["csrftoken"]}
        answer = self.client.post(page, data=form, headers={"Referer": self.base + page})
        if answer.status_code != httpx.codes.FOUND:
            raise CommandError(f"{self.username} could not log in: status {answer.status_code}")

    def write(self):
        if self.own is None or self.draw.randrange(OFTEN) == 0:
            self.review()
        else:
            self.change()

    def review(self):
        """Write of a product that this customer has not written about."""
        title, words = uuid.uuid4().hex, {"rating": self.draw.randint(1, 5), "body": "0"}
        product = self.free_product()
        answer = self.send("POST", "/api/reviews/", {"product": product, "title": title, **words})
        if answer is None:
            return
        self.own = {"id": answer["id"], "title": title, "product": product, "number": 0}
        self.tell_written(words["body"])

    def free_product(self):
        taken = Review.with_deleted.filter(author__username=self.username).values("product")
        return Product.objects.active().exclude(pk__in=taken).order_by("?").values_list("pk", flat=True).first()

    def change(self):
        number = self.own["number"] + 1
        words = {"rating": self.draw.randint(1, 5), "body": str(number)}
        if self.send("PATCH", f"/api/reviews/{self.own['id']}/", words) is not None:
            self.own["number"] = number
            self.tell_written(words["body"])

    def send(self, method, path, words):
        headers = {"X-CSRFToken": self.client.cookies["csrftoken"], "Referer": self.base}
        answer = self.client.request(method, path, json=words, headers=headers)
        if not answer.is_success:
            self.tell({"failed": f"{method} {path}: status {answer.status_code} {answer.text[:200]}"})
            return None
        return answer.json()

    def tell_written(self, body):
        """Tell of a write that was acknowledged, and whether who wrote it sees it at once: None if nobody answers."""
        path = f"/api/reviews/{self.own['id']}/"
        shown = self.client.get(path)
        seen = shown.json()["body"] == body if shown.is_success else None
        self.tell({**self.own, "body": body, "seen": seen})
        if seen is None:
            self.tell({"failed": f"GET {path}: status {shown.status_code} {shown.text[:200]}"})
