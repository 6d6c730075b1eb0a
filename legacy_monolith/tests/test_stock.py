"""What must hold when several people change the stock at once."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from cart import shopping
from cart.models import Cart
from inventory import imports, stock
from inventory.models import Delivery, StockLevel, Supplier
from orders import checkout
from orders.models import Order
from tests import factories

ADDRESS = {"name": "Ann", "street": "Gasse 1", "postcode": "10115", "city": "Berlin", "country": "DE"}
ROUNDS = 15

pytestmark = pytest.mark.django_db(transaction=True)


def apart(work):
    """Make ``work`` leave no connection behind in its thread."""

    def run():
        try:
            return work()
        finally:
            connection.close()

    return run


WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"


def until_somebody_waits():
    """Return once another connection waits for what this one has locked."""
    deadline = time.monotonic() + 10
    with connection.cursor() as cursor:
        while not cursor.execute(WAITING).fetchone()[0]:
            assert time.monotonic() < deadline, "nobody waits for a lock"
            time.sleep(0.01)


def test_two_warehouses_of_a_product_are_counted_at_once():
    cup = factories.stocked(5)
    here = cup.levels.get()
    there = StockLevel.objects.create(product=cup, warehouse=factories.warehouse(), on_hand=5)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            StockLevel.objects.filter(pk=here.pk).update(on_hand=1)
            waiting = pool.submit(apart(lambda: StockLevel.objects.filter(pk=there.pk).update(on_hand=2)))
            until_somebody_waits()
        waiting.result()
    cup.refresh_from_db()
    assert cup.stock == 3


def test_of_two_who_want_the_last_one_exactly_one_gets_it():
    last = factories.stocked(1, name="Last")
    users = [factories.user() for _ in range(2)]
    for user in users:
        shopping.add(Cart.objects.create(user=user), last, 1)
    first, second = (lambda user=user: checkout.place(user.cart, user, ADDRESS) for user in users)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            order = first()
            waiting = pool.submit(apart(second))
            until_somebody_waits()
        with pytest.raises(ValidationError, match="Last: only 0 left"):
            waiting.result()
    last.refresh_from_db()
    assert (last.stock, list(Order.objects.all()), shopping.count(users[1].cart)) == (0, [order], 1)


def test_a_cart_is_ordered_once_by_two_clicks():
    ann = factories.user()
    shopping.add(Cart.objects.create(user=ann), factories.stocked(5), 1)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            checkout.place(ann.cart, ann, ADDRESS)
            waiting = pool.submit(apart(lambda: checkout.place(ann.cart, ann, ADDRESS)))
            until_somebody_waits()
        with pytest.raises(ValidationError, match="The cart is empty"):
            waiting.result()
    assert Order.objects.count() == 1


def test_orders_deliveries_and_imports_never_wait_in_a_ring():
    """Each would take the products in an order of its own, which PostgreSQL would end as a deadlock."""
    first, second = factories.stocked(500, sku="Z"), factories.stocked(500, sku="A")
    other = factories.warehouse(code="other", position=9)
    supplier = Supplier.objects.create(name="Potter", email="potter@example.com")
    ann = factories.user()
    cart = Cart.objects.create(user=ann)

    def order():
        for _ in range(ROUNDS):
            shopping.add(cart, first, 1)
            shopping.add(cart, second, 1)
            checkout.cancel(checkout.place(cart, ann, ADDRESS))

    def deliver():
        for _ in range(ROUNDS):
            delivery = Delivery.objects.create(supplier=supplier, warehouse=other, expected_on="2026-01-01")
            for product in (second, first):
                delivery.lines.create(product=product, quantity=1)
            stock.receive(delivery)

    def count():
        for number in range(ROUNDS):
            imports.take(f"sku,warehouse,on_hand\nA,other,{number}\nZ,other,{number}\n".encode())

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(apart(work)) for work in (order, deliver, count)]:
            done.result()
    for product in (first, second):
        product.refresh_from_db()
        assert product.stock == sum(level.free for level in product.levels.all())
        assert {level.reserved for level in product.levels.all()} == {0}
