"""Invent what lies in the warehouses, so that it adds up: what was counted, delivered and sold is what is there."""

import json
from array import array
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from random import Random

from shop.seeding import words
from shop.seeding.rows import OPENED
from shop.seeding.shelf import Shelf
from shop.seeding.trade import CLOSED, Bought

WAREHOUSES = [(1, "main", "Berlin", 0), (2, "north", "Hamburg", 1)]
MAIN, NORTH = 1, 2
LINES_OF_A_DELIVERY = 12

WAREHOUSE_COLUMNS = ["id", "code", "name", "position"]
SUPPLIER_COLUMNS = ["id", "name", "email", "lead_days"]
DELIVERY_COLUMNS = ["id", "supplier_id", "warehouse_id", "expected_on", "received_at"]
DELIVERY_LINE_COLUMNS = ["id", "delivery_id", "product_id", "quantity"]
RESERVATION_COLUMNS = ["id", "order_id", "level_id", "quantity", "status", "expires_at"]
LEVEL_COLUMNS = ["id", "product_id", "warehouse_id", "on_hand", "reserved"]
MOVEMENT_COLUMNS = ["id", "level_id", "change", "why", "note", "at"]
STATUS_OF_RESERVATIONS = {"placed": "held", "paid": "taken", "shipped": "taken", "cancelled": "released"}


class Stores:
    """What the main warehouse holds back and has sold, counted as orders go by.

    All orders are served from there; the level of a product in it has the product's number.
    """

    def __init__(self, shelf: Shelf, deliveries: int) -> None:
        self._shelf = shelf
        self._deliveries = deliveries
        self._held, self._sold, self._delivered = (array("q", bytes(8 * (len(shelf) + 1))) for _ in range(3))
        self._movements = count(1)

    def reservation_rows(self, bought: list[Bought], ids: count) -> Iterator[tuple]:
        for order in bought:
            status = STATUS_OF_RESERVATIONS[order.status]
            for product, quantity, _ in order.lines:
                if status == "held":
                    self._held[product] += quantity
                yield next(ids), order.id, product, quantity, status, order.placed_at + timedelta(hours=24)

    def sale_rows(self, bought: list[Bought]) -> Iterator[tuple]:
        """Yield the movements of what left the house, and of what came back."""
        for order in bought:
            if not order.paid_at:
                continue
            note = json.dumps({"order": str(order.number)})
            for product, quantity, _ in order.lines:
                yield next(self._movements), product, -quantity, "sold", note, order.paid_at
                if order.cancelled_at:
                    yield next(self._movements), product, quantity, "returned", note, order.cancelled_at
                else:
                    self._sold[product] += quantity

    def delivery_rows(self) -> Iterator[tuple]:
        for number in range(1, self._deliveries + 1):
            expected = (CLOSED - timedelta(days=3 * (self._deliveries - number) // 2 - 10)).date()
            received = CLOSED - timedelta(days=self._deliveries - number) if self._is_received(number) else None
            yield number, 1 + number % len(words.SUPPLIERS), MAIN, expected, received

    def delivery_line_rows(self) -> Iterator[tuple]:
        ids = count(1)
        for number in range(1, self._deliveries + 1):
            for product, quantity in self._delivered_by(number):
                yield next(ids), number, product, quantity

    def arrival_rows(self) -> Iterator[tuple]:
        """Yield the movements of what was delivered."""
        for number, _, _, _, received in self.delivery_rows():
            if received:
                note = json.dumps({"delivery": number})
                for product, quantity in self._delivered_by(number):
                    self._delivered[product] += quantity
                    yield next(self._movements), product, quantity, "delivered", note, received

    def _delivered_by(self, number: int) -> list[tuple[int, int]]:
        random = Random(f"delivery {number}")
        products = {random.randrange(1, len(self._shelf) + 1) for _ in range(LINES_OF_A_DELIVERY)}
        return [(product, random.choice((5, 10, 25))) for product in sorted(products)]

    def _is_received(self, number: int) -> bool:
        return self._deliveries - number >= 3

    def level_rows(self) -> Iterator[tuple]:
        """Yield what lies where; of what is free, the sum is the product's stock."""
        for product in range(1, len(self._shelf) + 1):
            north = self._in_the_north(product)
            main = self._shelf.stock(product) - north + self._held[product]
            yield product, product, MAIN, main, self._held[product]
            if north:
                yield len(self._shelf) + product, product, NORTH, north, 0

    def opening_rows(self) -> Iterator[tuple]:
        """Yield the movements that make up the difference: what was there when the shop opened, or missed at last."""
        for level, product, warehouse, on_hand, _ in self.level_rows():
            moved = self._delivered[product] - self._sold[product] if warehouse == MAIN else 0
            if on_hand != moved:
                at = OPENED if on_hand > moved else CLOSED
                yield next(self._movements), level, on_hand - moved, "counted", "{}", at

    def _in_the_north(self, product: int) -> int:
        return self._shelf.stock(product) // 3 if product % 3 == 0 else 0


def suppliers() -> Iterator[tuple]:
    for number, name in enumerate(words.SUPPLIERS, start=1):
        yield number, name, f"orders{number}@example.com", 7 + number % 4 * 7
