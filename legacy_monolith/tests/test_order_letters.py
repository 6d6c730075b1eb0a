import pytest
from django.utils import translation

from inventory.models import StockLevel, Warehouse
from notifications.models import Letter, Notification
from orders.models import Order, OrderLine
from orders.signals import order_cancelled, order_paid, order_placed, order_shipped
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.in_process("it sends the signals")]


@pytest.fixture
def order():
    product = factories.product(name="Tasse <ü>", price="12.50")
    StockLevel.objects.create(product=product, warehouse=Warehouse.objects.create(code="here", name="Here"), on_hand=9)
    order = Order.objects.create(
        user=factories.user(username="ann", first_name="Ann", email="ann@example.com"),
        shipping_address={},
        billing_address={},
        subtotal="25.00",
        shipping="4.90",
        total="29.90",
    )
    OrderLine.objects.create(order=order, product=product, name=product.name, price="12.50", quantity=2)
    order.refresh_from_db()
    return order


def told(order):
    found = Notification.objects.order_by("id")
    assert all(each.about == order for each in found)
    return [(each.recipient.username, each.kind) for each in found]


def test_the_customer_has_a_letter(order):
    order_placed.send(Order, order=order)
    letter = Letter.objects.get()
    assert (letter.to, letter.subject) == ("ann@example.com", f"We have your order ({str(order.number)[:8]})")
    assert letter.body == (
        f"Good day Ann,\n\nWe have your order: {order.number}\n\n2 × Tasse <ü>: 25.00 EUR\n\nPostage: 4.90 EUR\n"
        "Total: 29.90 EUR\n"
    )
    assert told(order) == [("ann", "order_placed")]
    assert Notification.objects.get().data == {"number": str(order.number), "total": "29.90", "currency": "EUR"}


def test_a_letter_is_in_the_language_of_the_page(order):
    with translation.override("de"):
        order_placed.send(Order, order=order)
    letter = Letter.objects.get()
    assert letter.subject.startswith("Wir haben Ihre Bestellung (")
    assert "Guten Tag Ann" in letter.body
    assert "Gesamt: 29,90 EUR" in letter.body


def test_staff_hear_what_is_to_be_shipped(order):
    factories.user(username="boss", is_staff=True)
    order_paid.send(Order, order=order)
    assert told(order) == [("ann", "order_paid"), ("boss", "order_to_ship")]
    assert list(Letter.objects.values_list("to", flat=True)) == ["ann@example.com"]


@pytest.mark.parametrize(("signal", "kind"), [(order_shipped, "order_shipped"), (order_cancelled, "order_cancelled")])
def test_the_customer_hears_what_becomes_of_an_order(order, signal, kind):
    signal.send(Order, order=order)
    assert told(order) == [("ann", kind)]
    assert Letter.objects.count() == 1
