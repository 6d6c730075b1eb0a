"""Invent what customers and staff were told, and what customers think of each other's reviews."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import count
from random import Random

from shop.seeding.trade import CLOSED, Bought, Customer, events, money

# Older ones are put away.
KEPT = timedelta(days=90)
ADMIN = 1

NOTIFICATION_COLUMNS = [
    "id",
    "recipient_id",
    "kind",
    "about_type_id",
    "about_id",
    "data",
    "created_at",
    "read_at",
]
LETTER_COLUMNS = [
    "id",
    "to",
    "subject",
    "body",
    "status",
    "attempts",
    "send_after",
    "sent_at",
    "last_error",
    "created_at",
]
PREFERENCE_COLUMNS = ["id", "user_id", "channel", "kinds"]
VOTE_COLUMNS = ["id", "review_id", "user_id", "helpful"]

SUBJECTS = {
    "placed": "We have your order",
    "paid": "We have your payment",
    "shipped": "Your order is on its way",
    "cancelled": "Your order is cancelled",
}


def notification_rows(bought: list[Bought], order_type: int, ids: count) -> Iterator[tuple]:
    for order, at, kind in _told(bought):
        told = {"number": str(order.number), "total": str(money(order.total)), "currency": "EUR"}
        data = json.dumps(told)
        read_at = at + timedelta(hours=2) if order.id % 3 else None
        yield next(ids), order.customer.id, f"order_{kind}", order_type, str(order.id), data, at, read_at
        if kind == "paid":
            shipped = order.shipped_at
            yield next(ids), ADMIN, "order_to_ship", order_type, str(order.id), data, at, shipped


def letter_rows(bought: list[Bought], ids: count) -> Iterator[tuple]:
    for order, at, kind in _told(bought):
        subject = f"{SUBJECTS[kind]} ({str(order.number)[:8]})"
        body = f"Good day {order.customer.name},\n\n{SUBJECTS[kind]}: {order.number}\n"
        number, to = next(ids), order.customer.email
        if number % 200 == 0:
            problem = "SMTPRecipientsRefused: mailbox unavailable"
            yield number, to, subject, body, "failed", 5, at + timedelta(minutes=62), None, problem, at
        else:
            yield number, to, subject, body, "sent", 1, at, at + timedelta(seconds=20), "", at


def _told(bought: list[Bought]) -> Iterator[tuple[Bought, datetime, str]]:
    for order in bought:
        for at, kind, _ in events(order):
            if kind in SUBJECTS and at >= CLOSED - KEPT:
                yield order, at, kind


def preferences(customers: Iterable[Customer]) -> Iterator[tuple]:
    """Yield what some want to hear of by mail: less than usual."""
    numbers = count(1)
    for customer in customers:
        if customer.id % 17 == 0:
            yield next(numbers), customer.id, "mail", ["order_shipped"]


def votes(amount: int, review_count: int, user_count: int) -> Iterator[tuple]:
    """Yield `amount` votes at most, none twice by the same customer for the same review."""
    random = Random("votes")
    drawn = {(random.randrange(1, review_count + 1), random.randrange(4, user_count + 1)) for _ in range(amount)}
    for number, (review, user) in enumerate(sorted(drawn), start=1):
        yield number, review, user, random.random() < 0.8
