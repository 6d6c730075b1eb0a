"""Invent what was sold: orders, and all that came of them.

An order is drawn once, small, and every table takes its rows from it. Amounts are counted in cents.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from random import Random
from uuid import UUID, uuid5

from shop.seeding import words
from shop.seeding.rows import DAYS_OPEN, NAMESPACE, OPENED
from shop.seeding.shelf import Shelf

CLOSED = OPENED + timedelta(days=DAYS_OPEN)
# Orders of the last two years are kept; their events lie in partitions of their own.
KEPT = timedelta(days=730)
SHIPPING, FREE_FROM = 490, 5_000
ANN, BOB = 2, 3
COUPONS = [(f"{name}{percent}", percent) for name in words.COUPONS for percent in (5, 10, 20)]
# These are for some products only, and nobody has used them yet.
COUPON_OF_CATEGORIES, COUPON_OF_PRODUCTS = len(COUPONS) + 1, len(COUPONS) + 2

COUPON_COLUMNS = ["id", "code", "percent", "valid_from", "valid_until", "most_uses", "uses"]
ORDER_COLUMNS = [
    "id",
    "number",
    "user_id",
    "status",
    "shipping_address",
    "billing_address",
    "coupon_id",
    "subtotal",
    "discount",
    "shipping",
    "total",
    "currency",
    "placed_at",
    "updated_at",
]
LINE_COLUMNS = ["id", "order_id", "product_id", "name", "price", "quantity"]
EVENT_COLUMNS = ["id", "order_id", "at", "kind", "data"]
SHIPMENT_COLUMNS = ["id", "order_id", "carrier", "tracking", "shipped_at"]
PAYMENT_COLUMNS = ["id", "order_id", "amount", "currency", "status", "card_last4", "holder", "created_at"]
REFUND_COLUMNS = ["id", "payment_id", "amount", "reason", "at"]
CALL_COLUMNS = ["id", "payment_id", "asked", "answered", "milliseconds", "at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    id: int
    name: str
    email: str
    joined: datetime

    def address(self) -> dict:
        random = Random(self.id)
        return {
            "name": self.name,
            "street": f"{random.choice(words.STREETS)} {random.randrange(1, 120)}",
            "postcode": f"{random.randrange(10000, 99999)}",
            "city": random.choice(words.CITIES),
            "country": "DE",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """An order: `lines` are (product, quantity, price)."""

    id: int
    number: UUID
    customer: Customer
    status: str
    lines: tuple[tuple[int, int, int], ...]
    coupon: int | None
    discount: int
    placed_at: datetime
    paid_at: datetime | None
    shipped_at: datetime | None
    cancelled_at: datetime | None
    declined_first: bool

    @property
    def subtotal(self) -> int:
        return sum(quantity * price for _, quantity, price in self.lines)

    @property
    def shipping(self) -> int:
        return 0 if self.subtotal - self.discount >= FREE_FROM else SHIPPING

    @property
    def total(self) -> int:
        return self.subtotal - self.discount + self.shipping

    @property
    def changed_at(self) -> datetime:
        return self.cancelled_at or self.shipped_at or self.paid_at or self.placed_at


def money(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


def orders(amount: int, customers: list[Customer], shelf: Shelf) -> Iterator[Bought]:
    """Yield orders in the sequence of their moments; nobody ordered before joining."""
    random = Random("orders")
    by_joining = sorted(customers, key=lambda customer: (customer.joined, customer.id))
    joined = [customer.joined for customer in by_joining]
    known = {customer.id: customer for customer in customers}
    for number in range(1, amount + 1):
        placed_at = CLOSED - KEPT + KEPT * (((number - random.random()) / amount) ** 0.8)
        if number % 50 in (ANN, BOB):
            customer = known[number % 50]
        else:
            customer = by_joining[random.randrange(max(1, bisect_right(joined, placed_at)))]
        yield _order(random, number, amount - number, placed_at, customer, shelf)


def _order(random: Random, number: int, later: int, placed_at: datetime, customer: Customer, shelf: Shelf) -> Bought:
    products = {shelf.liked(random) for _ in range(random.choice((1, 1, 2, 2, 3, 4)))}
    lines = tuple((product, random.choice((1, 1, 1, 2, 3)), shelf.price(product)) for product in sorted(products))
    status = _status(random, later)
    coupon = random.randrange(len(COUPONS)) if random.random() < 0.1 else None
    subtotal = sum(quantity * price for _, quantity, price in lines)
    paid_at = placed_at + timedelta(seconds=random.randrange(20, 3600))
    was_paid = status in ("paid", "shipped") or (status == "cancelled" and random.random() < 0.5)
    return Bought(
        id=number,
        number=uuid5(NAMESPACE, f"order {number}"),
        customer=customer,
        status=status,
        lines=lines,
        coupon=None if coupon is None else coupon + 1,
        discount=0 if coupon is None else (subtotal * COUPONS[coupon][1] + 50) // 100,
        placed_at=placed_at,
        paid_at=paid_at if was_paid else None,
        shipped_at=paid_at + timedelta(seconds=random.randrange(3600, 172_800)) if status == "shipped" else None,
        cancelled_at=paid_at + timedelta(seconds=random.randrange(3600, 86_400)) if status == "cancelled" else None,
        declined_first=was_paid and random.random() < 0.06,
    )


def _status(random: Random, later: int) -> str:
    """Return what became of an order after which `later` more came: the last ones are still open."""
    if later < 40:
        return "placed" if later % 4 == 0 else "paid"
    return "cancelled" if random.random() < 0.06 else "shipped"


def coupons(uses: dict[int, int]) -> Iterator[tuple]:
    for number, (code, percent) in enumerate(COUPONS, start=1):
        until = None if number % 3 else CLOSED + timedelta(days=365)
        yield number, code, percent, OPENED, until, None, uses.get(number, 0)
    yield COUPON_OF_CATEGORIES, "KITCHEN15", 15, OPENED, None, 1_000, 0
    yield COUPON_OF_PRODUCTS, "THREE25", 25, OPENED, None, None, 0


def order_rows(bought: list[Bought]) -> Iterator[tuple]:
    for order in bought:
        address = json.dumps(order.customer.address(), ensure_ascii=False)
        yield (
            order.id,
            order.number,
            order.customer.id,
            order.status,
            address,
            address,
            order.coupon,
            money(order.subtotal),
            money(order.discount),
            money(order.shipping),
            money(order.total),
            "EUR",
            order.placed_at,
            order.changed_at,
        )


def line_rows(bought: list[Bought], shelf: Shelf, ids: count) -> Iterator[tuple]:
    for order in bought:
        for product, quantity, price in order.lines:
            yield next(ids), order.id, product, shelf.name(product), money(price), quantity


def events(order: Bought) -> Iterator[tuple[datetime, str, dict]]:
    """Yield what happened to the order, in sequence."""
    yield order.placed_at, "placed", {"lines": len(order.lines)}
    if order.declined_first:
        yield order.placed_at + timedelta(seconds=10), "declined", {"payment": str(_payment_id(order, "declined"))}
    if order.paid_at:
        yield order.paid_at, "paid", {}
    if order.shipped_at:
        yield order.shipped_at, "shipped", dict(zip(("carrier", "tracking"), _carrier(order), strict=True))
    if order.cancelled_at:
        yield order.cancelled_at, "cancelled", {}
        if order.paid_at:
            yield order.cancelled_at, "refunded", {"payment": str(_payment_id(order)), "reason": "cancelled"}


def event_rows(bought: list[Bought], ids: count) -> Iterator[tuple]:
    for order in bought:
        for at, kind, data in events(order):
            yield next(ids), order.id, at, kind, json.dumps(data)


def shipment_rows(bought: list[Bought], ids: count) -> Iterator[tuple]:
    for order in bought:
        if order.shipped_at:
            yield next(ids), order.id, *_carrier(order), order.shipped_at


def payment_rows(bought: list[Bought]) -> Iterator[tuple]:
    for order in bought:
        for payment, status, at in _payments(order):
            shown = f"{order.id * 7919 % 10_000:04d}"
            yield payment, order.id, money(order.total), "EUR", status, shown, order.customer.name, at


def refund_rows(bought: list[Bought], ids: count) -> Iterator[tuple]:
    for order in bought:
        if order.paid_at and order.cancelled_at:
            yield next(ids), _payment_id(order), money(order.total), "cancelled", order.cancelled_at


def call_rows(bought: list[Bought], ids: count) -> Iterator[tuple]:
    for order in bought:
        for payment, status, at in _payments(order):
            asked = {"amount": str(money(order.total)), "currency": "EUR", "card": f"…{order.id * 7919 % 10_000:04d}"}
            answered = {"result": "card_declined" if status == "declined" else "ok"}
            took = 80 + order.id * 31 % 400
            yield next(ids), payment, json.dumps(asked, ensure_ascii=False), json.dumps(answered), float(took), at


def _payments(order: Bought) -> Iterator[tuple[UUID, str, datetime]]:
    if order.declined_first:
        yield _payment_id(order, "declined"), "declined", order.placed_at + timedelta(seconds=10)
    if order.paid_at:
        yield _payment_id(order), "refunded" if order.cancelled_at else "paid", order.paid_at


def _payment_id(order: Bought, outcome: str = "paid") -> UUID:
    return uuid5(order.number, outcome)


def _carrier(order: Bought) -> tuple[str, str]:
    return words.CARRIERS[order.id % len(words.CARRIERS)], f"{order.id * 104_729 % 10**12:012d}"
