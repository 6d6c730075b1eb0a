import re

import pytest

from accounts.models import Address
from cart import shopping
from cart.models import Cart
from inventory.models import StockLevel
from orders.models import Coupon, Order
from payments.gateway import DEAD_LINE, DECLINED
from tests import factories

pytestmark = pytest.mark.django_db

ADDRESS = {"name": "Ann", "street": "Gasse 1", "postcode": "10115", "city": "Berlin", "country": "DE"}
CARD = {"number": "4242 4242 4242 4242", "holder": "Ann"}


@pytest.fixture
def ann():
    return factories.user(username="ann")


@pytest.fixture
def cup():
    return factories.stocked(5, name="Cup", slug="cup", price="12.50")


@pytest.fixture
def buyer(client, ann, cup):
    client.force_login(ann)
    client.post("/en/cart/add/cup/", {"quantity": 2})
    return client


def page(response, status=200):
    assert response.status_code == status
    return response.content.decode()


def placed(buyer, **more):
    response = buyer.post("/en/checkout/", ADDRESS | more)
    assert response.status_code == 302, page(response)
    return Order.objects.get()


def test_from_the_shelf_to_a_paid_order(client, ann, cup):
    assert "Cup" in page(client.get("/en/cart/add/cup/?quantity=2"))
    assert client.post("/en/cart/add/cup/", {"quantity": 2}).headers["Location"] == "/en/cart/"
    assert "25.00" in page(client.get("/en/cart/"))
    client.force_login(ann)
    checkout = page(client.get("/en/checkout/"))
    assert "4.90&nbsp;EUR" in checkout
    assert "29.90&nbsp;EUR" in checkout
    order = placed(client, keep="on")
    assert ann.addresses.get(kind=Address.Kind.SHIPPING).city == "Berlin"
    assert "29.90" in page(client.get(f"/en/checkout/{order.number}/"))
    paid = client.post(f"/en/checkout/{order.number}/", CARD, follow=True)
    assert paid.redirect_chain == [(f"/en/orders/{order.number}/", 302)]
    assert '<span class="status paid">Paid</span>' in page(paid)
    assert f"/en/orders/{order.number}/" in page(client.get("/en/orders/"))
    assert "bezahlt" in page(client.get(f"/de/orders/{order.number}/")).lower()


def test_looking_at_an_empty_cart_makes_no_row_and_no_session(client):
    assert "Your cart is empty." in page(client.get("/en/cart/"))
    assert (Cart.objects.count(), "sessionid" in client.cookies) == (0, False)


def test_a_cart_is_brought_along_at_login(client, ann, cup):
    shopping.add(Cart.objects.create(user=ann), cup, 1)
    client.post("/en/cart/add/cup/", {"quantity": 2})
    ann.set_password("secret-enough")
    ann.save()
    client.post("/en/account/login/", {"username": "ann", "password": "secret-enough"})
    assert (shopping.count(ann.cart), Cart.objects.count()) == (3, 1)


def test_quantities_are_changed_and_taken_out(buyer, cup):
    buyer.post(f"/en/cart/change/{cup.id}/", {"quantity": 4})
    assert re.search(r'name="quantity" value="4"', page(buyer.get("/en/cart/")))
    buyer.post(f"/en/cart/change/{cup.id}/", {"quantity": 0})
    assert "Your cart is empty." in page(buyer.get("/en/cart/"))


@pytest.mark.parametrize(("quantity", "words"), [("6", "only 5 left"), ("x", "whole number"), ("-1", "whole number")])
def test_a_quantity_that_will_not_do_is_told(buyer, cup, quantity, words):
    response = buyer.post(f"/en/cart/change/{cup.id}/", {"quantity": quantity})
    assert response.headers["Location"] == "/en/cart/"
    assert any(words in str(message) for message in buyer.get("/en/bar/").context["messages"])


@pytest.mark.parametrize("quantity", ["0", "100", "", "2.5"])
def test_only_so_many_are_added(client, cup, quantity):
    page(client.post("/en/cart/add/cup/", {"quantity": quantity}))
    assert not Cart.objects.exists()


def test_more_than_there_are_is_told_on_the_form(client, cup):
    assert "only 5 left" in page(client.post("/en/cart/add/cup/", {"quantity": 6}))


def test_who_is_not_logged_in_is_asked_to_before_checking_out(client, cup):
    client.post("/en/cart/add/cup/", {"quantity": 1})
    assert client.get("/en/checkout/").headers["Location"] == "/en/account/login/?next=/en/checkout/"


def test_there_is_nothing_to_check_out_of_an_empty_cart(client, ann):
    client.force_login(ann)
    assert client.get("/en/checkout/").headers["Location"] == "/en/cart/"


def test_what_is_gone_meanwhile_is_told_and_nothing_is_ordered(buyer, cup):
    StockLevel.objects.update(on_hand=1)
    assert "Cup: only 1 left." in page(buyer.post("/en/checkout/", ADDRESS))
    assert not Order.objects.exists()


def test_a_coupon_is_taken_and_an_unknown_one_told(buyer):
    assert "There is no such coupon." in page(buyer.post("/en/checkout/", ADDRESS | {"coupon": "NONE"}))
    Coupon.objects.create(code="TEN", percent=10)
    assert str(placed(buyer, coupon="ten").discount) == "2.50"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (DECLINED, "declined this card"),
        (DEAD_LINE, "does not answer"),
        ("4242424242424241", "no card number"),
        ("x", "12 to 19"),
    ],
)
def test_a_card_that_does_not_pay_is_told_and_may_be_tried_again(buyer, number, words):
    order = placed(buyer)
    assert words in page(buyer.post(f"/en/checkout/{order.number}/", {"number": number, "holder": "Ann"}))
    assert buyer.post(f"/en/checkout/{order.number}/", CARD).status_code == 302


def test_a_paid_order_is_not_paid_again(buyer):
    order = placed(buyer)
    buyer.post(f"/en/checkout/{order.number}/", CARD)
    assert buyer.get(f"/en/checkout/{order.number}/").headers["Location"] == f"/en/orders/{order.number}/"


def test_an_order_is_cancelled_until_it_is_shipped(buyer, cup):
    order = placed(buyer)
    buyer.post(f"/en/orders/{order.number}/cancel/")
    order.refresh_from_db()
    assert order.status == "cancelled"
    assert buyer.post(f"/en/orders/{order.number}/cancel/").status_code == 302


def test_an_order_is_seen_by_its_buyer_only(buyer):
    order = placed(buyer)
    buyer.force_login(factories.user())
    for path in (f"/en/orders/{order.number}/", f"/en/checkout/{order.number}/"):
        page(buyer.get(path), 404)
    page(buyer.post(f"/en/orders/{order.number}/cancel/"), 404)
    assert "not ordered anything" in page(buyer.get("/en/orders/"))
