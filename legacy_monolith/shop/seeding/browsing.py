"""Invent what customers see and leave: shop windows, prices that were, carts that wait."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import count
from random import Random
from uuid import uuid5

from django.utils.text import slugify

from shop.seeding import words
from shop.seeding.rows import NAMESPACE
from shop.seeding.shelf import Shelf
from shop.seeding.trade import CLOSED, Customer, money

COLLECTION_COLUMNS = ["id", "title", "slug"]
ENTRY_COLUMNS = ["id", "collection_id", "product_id", "position"]
PRICE_COLUMNS = ["id", "product_id", "before", "after", "at"]
CART_COLUMNS = ["id", "user_id", "updated_at"]
ITEM_COLUMNS = ["id", "cart_id", "product_id", "quantity", "added_at"]
# Carts of nobody; the others are customers'.
ANONYMOUS = 20


def collections() -> Iterator[tuple]:
    for number, title in enumerate(words.COLLECTIONS, start=1):
        yield number, title, slugify(title)


def entries(shelf: Shelf) -> Iterator[tuple]:
    random, ids = Random("collections"), count(1)
    for collection in range(1, len(words.COLLECTIONS) + 1):
        shown = sorted({shelf.liked(random) for _ in range(30)})
        for position, product in enumerate(random.sample(shown, len(shown))):
            yield next(ids), collection, product, position


def price_changes(shelf: Shelf) -> Iterator[tuple]:
    random, ids = Random("prices"), count(1)
    for product in range(1, len(shelf) + 1, 5):
        now = shelf.price(product)
        before = max(1, now * random.choice((80, 90, 110, 125)) // 100)
        if before != now:
            yield next(ids), product, money(before), money(now), CLOSED - timedelta(days=random.randrange(30, 700))


def carts(customers: Iterable[Customer]) -> Iterator[tuple]:
    left = CLOSED - timedelta(days=3)
    for number in range(1, ANONYMOUS + 1):
        yield uuid5(NAMESPACE, f"cart {number}"), None, left
    for customer in customers:
        if _left_something(customer):
            yield uuid5(NAMESPACE, f"cart of {customer.id}"), customer.id, left


def items(customers: Iterable[Customer], shelf: Shelf) -> Iterator[tuple]:
    random, ids = Random("carts"), count(1)
    for cart, _, left in carts(customers):
        for product in sorted({shelf.liked(random) for _ in range(random.choice((1, 1, 2, 3)))}):
            yield next(ids), cart, product, random.choice((1, 1, 2)), left


def _left_something(customer: Customer) -> bool:
    return customer.id > 3 and customer.id % 10 == 0
