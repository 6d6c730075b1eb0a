import random
import signal
import threading
from decimal import Decimal

from django.core.management import CommandError
from django.core.management.base import BaseCommand
from django.db import DatabaseError, transaction
from django.db.models import F

from accounts.models import User
from catalog.models import Category, Product
from reviews.models import Review, Vote
from shop import elsewhere

MOVING = ("catalog", "reviews")  # whose owner a service may be one day


class Command(BaseCommand):
    help = "Work in the shop at random until ended: prices, stock, names, reviews and votes change."

    def add_arguments(self, parser):
        parser.add_argument("--rate", type=float, default=20.0, help="changes a second")

    def handle(self, *, rate, **options):
        if not 0 < rate <= 1000:
            raise CommandError(f"--rate is {rate:g}; a number above 0, at most 1000, is wanted")
        self.draw = random.Random()  # noqa: S311
        self.products = list(Product.objects.values_list("pk", flat=True))
        self.people = list(User.objects.values_list("pk", flat=True))
        self.over = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.over.set())
        done = refused = 0
        work = [self.price, self.stock, self.stock, self.rename, self.review, self.vote, self.withdraw]
        while not self.over.wait(1 / rate):
            try:
                with transaction.atomic():
                    self.draw.choice(work)()
                done += 1
            except DatabaseError as exc:
                if not any(elsewhere.refused(exc, each) for each in MOVING):
                    raise
                refused += 1
        self.stdout.write(f"{done:,} changes, and {refused:,} of what has another owner")

    def price(self):
        product = Product.objects.get(pk=self.draw.choice(self.products))
        product.price = max(Decimal("0.99"), product.price + self.draw.choice([-1, 1]))
        product.save()

    def stock(self):
        Product.objects.filter(pk=self.draw.choice(self.products)).update(stock=F("stock") + self.draw.randint(1, 3))

    def rename(self):
        category = Category.objects.order_by("?").first()
        category.position = self.draw.randint(0, 99)
        category.save()

    def review(self):
        Review.objects.update_or_create(
            product_id=self.draw.choice(self.products),
            author_id=self.draw.choice(self.people),
            defaults={
                "rating": self.draw.randint(1, 5),
                "title": "Bustle",
                "body": "as described " * self.draw.randint(1, 300),
            },
        )

    def vote(self):
        review = Review.objects.order_by("-pk").first()
        if review:
            Vote.objects.update_or_create(
                review=review, user_id=self.draw.choice(self.people), defaults={"helpful": self.draw.random() < 0.5}
            )

    def withdraw(self):
        review = Review.objects.filter(title="Bustle").order_by("?").first()
        if review:
            Vote.objects.filter(review=review).delete()
