from datetime import timedelta

import pytest
from django.contrib.admin.sites import site
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from cart.models import Cart
from cart.tasks import forget_old_carts
from inventory.models import Delivery, Reservation, StockLevel, Supplier
from inventory.tasks import expire_reservations
from orders.models import Coupon, Order
from orders.tasks import cancel_unpaid
from payments.gateway import DEAD_LINE, DECLINED
from payments.models import Payment
from payments.pay import pay
from payments.tasks import settle
from tests import factories

pytestmark = pytest.mark.django_db

CART, ITEMS, ORDERS, STOCK = "/api/cart/", "/api/cart/items/", "/api/orders/", "/api/inventory/stock/"
ADDRESS = {"name": "Ann", "street": "Gasse 1", "postcode": "10115", "city": "Berlin", "country": "DE"}
GOOD = {"number": "4242 4242 4242 4242", "holder": "Ann"}


@pytest.fixture
def ann(api):
    user = factories.user(username="ann")
    api.force_login(user)
    return user


@pytest.fixture
def cup():
    return factories.stocked(5, name="Cup", slug="cup", price="12.50", sku="CUP-1")


@pytest.fixture
def staff(api):
    user = factories.user(is_staff=True)
    api.force_login(user)
    return user


def answered(response, status=200):
    assert response.status_code == status, response.content
    return response.json()


def ordered(api, cup, quantity=2, **more):
    answered(api.post(ITEMS, {"product": cup.id, "quantity": quantity}), 201)
    return answered(api.post(ORDERS, {"address": ADDRESS} | more), 201)


def test_a_cart_is_answered_field_by_field(api, cup):
    told = answered(api.post(ITEMS, {"product": cup.id, "quantity": 2}), 201)
    product = {
        "id": cup.id,
        "slug": "cup",
        "name": "Cup",
        "price": "12.50",
        "currency": "EUR",
        "image": "/images/CUP-1.svg",
    }
    assert told == {"items": [{"product": product, "quantity": 2, "total": "25.00"}], "count": 2, "total": "25.00"}
    assert answered(api.get(CART)) == told
    amount = answered(api.get(CART, headers={"Api-Version": "2"}))["items"][0]["product"]["price"]
    assert amount == {"amount": "12.50", "currency": "EUR"}


def test_an_empty_cart_costs_no_row(api):
    assert answered(api.get(CART)) == {"items": [], "count": 0, "total": "0.00"}
    assert not Cart.objects.exists()


def test_quantities_are_changed_and_taken_out(api, cup):
    api.post(ITEMS, {"product": cup.id})
    assert answered(api.patch(f"{ITEMS}{cup.id}/", {"quantity": 4}))["count"] == 4
    assert answered(api.delete(f"{ITEMS}{cup.id}/"))["count"] == 0
    assert answered(api.delete(f"{ITEMS}{cup.id}/"), 404) == {"detail": "No CartItem matches the given query."}


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"quantity": 6}, {"quantity": ["Cup: only 5 left."]}),
        ({"quantity": 0}, {"quantity": ["Ensure this value is greater than or equal to 1."]}),
        ({"quantity": "x"}, {"quantity": ["A valid integer is required."]}),
        ({"product": 0}, {"product": ['Invalid pk "0" - object does not exist.']}),
    ],
)
def test_what_cannot_be_put_into_a_cart_is_told(api, cup, wanted, problem):
    assert answered(api.post(ITEMS, {"product": cup.id} | wanted), 400) == problem


def test_an_order_is_answered_field_by_field(api, ann, cup):
    Coupon.objects.create(code="TEN", percent=10)
    told = ordered(api, cup, coupon="TEN")
    order = Order.objects.get()
    moment = order.placed_at.isoformat().replace("+00:00", "Z")
    assert told == {
        "number": str(order.number),
        "status": "placed",
        "shipping_address": ADDRESS,
        "billing_address": ADDRESS,
        "coupon": "TEN",
        "subtotal": "25.00",
        "discount": "2.50",
        "shipping": "4.90",
        "total": "27.40",
        "currency": "EUR",
        "placed_at": moment,
        "updated_at": order.updated_at.isoformat().replace("+00:00", "Z"),
        "lines": [{"product": cup.id, "name": "Cup", "price": "12.50", "quantity": 2, "total": "25.00"}],
        "events": [{"at": order.events.get().at.isoformat().replace("+00:00", "Z"), "kind": "placed"}],
    }
    second = answered(api.get(f"{ORDERS}{order.number}/", headers={"Api-Version": "2"}))
    assert second["total"] == {"amount": "27.40", "currency": "EUR"}
    assert second["lines"][0]["price"] == {"amount": "12.50", "currency": "EUR"}
    assert "currency" not in second


def test_an_order_that_is_unchanged_is_not_sent_again(api, ann, cup):
    address = f"{ORDERS}{ordered(api, cup)['number']}/"
    first = api.get(address)
    assert api.get(address, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert api.get(address, headers={"If-Modified-Since": first.headers["Last-Modified"]}).status_code == 304


def test_a_card_that_was_declined_is_a_change_of_the_order(api, ann, cup):
    number = ordered(api, cup)["number"]
    Order.objects.update(updated_at=timezone.now() - timedelta(hours=1))
    first = api.get(f"{ORDERS}{number}/")
    answered(api.post(f"{ORDERS}{number}/pay/", GOOD | {"number": DECLINED}), 402)
    since = {"If-Modified-Since": first.headers["Last-Modified"]}
    assert [event["kind"] for event in answered(api.get(f"{ORDERS}{number}/", headers=since))["events"]] == [
        "placed",
        "declined",
    ]


def test_orders_are_narrowed_ordered_and_paged(api, ann, cup):
    numbers = [ordered(api, cup, 1)["number"] for _ in range(3)]
    Order.objects.filter(number=numbers[0]).update(placed_at=timezone.now() - timedelta(days=9), total=1)
    api.post(f"{ORDERS}{numbers[1]}/cancel/")

    def found(query):
        return [order["number"] for order in answered(api.get(ORDERS + query))["results"]]

    yesterday = (timezone.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert found("") == [numbers[2], numbers[1], numbers[0]]
    assert found("?status=cancelled") == [numbers[1]]
    assert found(f"?placed_before={yesterday}") == [numbers[0]]
    assert found(f"?placed_after={yesterday}") == [numbers[2], numbers[1]]
    assert found("?ordering=total")[0] == numbers[0]
    assert found("?page_size=2&page=2") == [numbers[0]]
    assert answered(api.get(f"{ORDERS}?status=lost"), 400)["status"]


def test_the_list_of_orders_takes_as_many_queries_for_three_as_for_one(api, ann, cup, django_assert_max_num_queries):
    for _ in range(3):
        ordered(api, cup, 1)
    with django_assert_max_num_queries(7):
        api.get(ORDERS)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"coupon": "NONE"}, {"coupon": ["There is no such coupon."]}),
        ({"coupon": "\0"}, {"coupon": ["Null characters are not allowed."]}),
        (
            {"card": {"number": "4242424242424241"}},
            {"card": {"number": ["This is no card number."], "holder": ["This field is required."]}},
        ),
        (
            {"address": {}},
            {"address": {name: ["This field is required."] for name in ("name", "street", "postcode", "city")}},
        ),
    ],
)
def test_what_is_wrong_with_an_order_is_told(api, ann, cup, more, problem):
    api.post(ITEMS, {"product": cup.id})
    assert answered(api.post(ORDERS, {"address": ADDRESS} | more), 400) == problem
    assert not Order.objects.exists()


def test_nothing_is_ordered_of_an_empty_cart(api, ann):
    told = answered(api.post(ORDERS, {"address": ADDRESS}), 400)
    assert told == {"non_field_errors": ["The cart is empty."]}


def test_a_card_pays_once(api, ann, cup):
    number = ordered(api, cup)["number"]
    address = f"{ORDERS}{number}/pay/"
    declined = answered(api.post(address, GOOD | {"number": DECLINED}), 402)
    assert declined == {"detail": "The bank declined this card. Nothing was charged.", "number": number}
    assert "does not answer" in answered(api.post(address, GOOD | {"number": DEAD_LINE}), 503)["detail"]
    assert answered(api.post(address, GOOD | {"number": "1234"}), 400) == {"number": ["This is no card number."]}
    assert answered(api.post(address, GOOD))["status"] == answered(api.post(address, GOOD))["status"] == "paid"
    assert Payment.objects.filter(status="paid").count() == 1


def test_an_order_is_placed_and_paid_at_once(api, ann, cup):
    told = ordered(api, cup, card=GOOD)
    assert (told["status"], [event["kind"] for event in told["events"]]) == ("paid", ["placed", "paid"])
    assert "4242424242424242" not in str(told)


@pytest.mark.parametrize(("card", "status"), [(DECLINED, 402), (DEAD_LINE, 503)])
def test_an_order_whose_card_does_not_pay_is_named_and_waits(api, ann, cup, card, status):
    api.post(ITEMS, {"product": cup.id})
    refused = answered(api.post(ORDERS, {"address": ADDRESS, "card": GOOD | {"number": card}}), status)
    assert answered(api.get(f"{ORDERS}{refused['number']}/"))["status"] == "placed"
    assert answered(api.post(f"{ORDERS}{refused['number']}/pay/", GOOD))["status"] == "paid"
    assert answered(api.get(CART))["count"] == 0


def test_an_order_is_cancelled_once(api, ann, cup):
    address = f"{ORDERS}{ordered(api, cup)['number']}/cancel/"
    assert answered(api.post(address))["status"] == "cancelled"
    assert answered(api.post(address), 400) == {"non_field_errors": ["The order is cancelled."]}


def test_orders_are_seen_by_their_buyer_only(api, ann, cup):
    number = ordered(api, cup)["number"]
    api.force_login(factories.user())
    assert answered(api.get(ORDERS))["count"] == 0
    for method, path in [("get", ""), ("post", "pay/"), ("post", "cancel/")]:
        answered(getattr(api, method)(f"{ORDERS}{number}/{path}"), 404)
    api.logout()
    answered(api.get(ORDERS), 401)


def test_stock_is_for_staff(api, ann, cup):
    assert answered(api.get(STOCK), 403)["detail"]


def test_stock_is_listed_and_narrowed(api, staff, cup):
    level = StockLevel.objects.get()
    other = factories.stocked(50)
    told = answered(api.get(f"{STOCK}?below=10"))["results"]
    assert told == [
        {
            "id": level.id,
            "product": cup.id,
            "sku": "CUP-1",
            "warehouse": level.warehouse.code,
            "on_hand": 5,
            "reserved": 0,
            "free": 5,
        }
    ]
    for query in (f"sku={other.sku}", f"product={other.id}", f"warehouse={other.levels.get().warehouse.code}"):
        assert [each["product"] for each in answered(api.get(f"{STOCK}?{query}"))["results"]] == [other.id]


def sent(api, text):
    file = SimpleUploadedFile("count.csv", text.encode(), content_type="text/csv")
    return api.post(f"{STOCK}import/", {"file": file}, format="multipart")


def test_counted_stock_is_imported(api, staff, cup):
    warehouse = factories.warehouse(code="north")
    assert answered(sent(api, "\ufeffsku,warehouse,on_hand\r\nCUP-1,north,7\r\n")) == {"rows": 1}
    cup.refresh_from_db()
    assert (cup.stock, warehouse.levels.get().on_hand) == (12, 7)


def test_one_wrong_row_keeps_the_whole_file_out(api, staff, cup):
    factories.warehouse(code="north")
    rows = ["sku,warehouse,on_hand", "CUP-1,north,7", "NO-1,north,7", "CUP-1,south,7", "CUP-1,north,-1", "CUP-1,north"]
    told = answered(sent(api, "\n".join(rows)), 400)
    assert told == {
        "rows": [
            {"line": "3", "problem": "There is no product NO-1."},
            {"line": "4", "problem": "There is no warehouse south."},
            {"line": "5", "problem": "on_hand is a whole number from 0 to 1000000."},
            {"line": "6", "problem": "A row has 3 columns."},
        ]
    }
    cup.refresh_from_db()
    assert cup.stock == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n", {"rows": [{"line": "1", "problem": "The first line must be: sku,warehouse,on_hand"}]}),
        ("sku,warehouse,on_hand\nA\0,b,1\n", {"rows": [{"line": "1", "problem": "This is no CSV file in UTF-8."}]}),
        ("", {"file": ["The submitted file is empty."]}),
    ],
    ids=["columns", "nul", "empty"],
)
def test_another_file_is_told_what_is_wanted(api, staff, text, problem):
    assert answered(sent(api, text), 400) == problem


def test_what_was_not_paid_in_time_is_given_back(api, ann, cup):
    ordered(api, cup, 2)
    Reservation.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    assert (expire_reservations(), expire_reservations()) == (1, 0)
    ordered(api, cup, 3)
    Order.objects.filter(status="placed").update(placed_at=timezone.now() - timedelta(days=2))
    assert (cancel_unpaid(), cancel_unpaid()) == (1, 0)
    cup.refresh_from_db()
    assert cup.stock == 5


def test_carts_of_nobody_are_forgotten(api, cup):
    api.post(ITEMS, {"product": cup.id})
    assert forget_old_carts() == 0
    Cart.objects.update(updated_at=timezone.now() - timedelta(days=31))
    assert forget_old_carts() == 1


def test_money_for_cancelled_orders_is_given_back(api, ann, cup):
    ordered(api, cup)
    order = Order.objects.get()
    pay(order, "4242424242424242", "Ann")
    Order.objects.update(status="cancelled")
    assert (settle(), settle()) == (1, 0)


@pytest.mark.parametrize(
    "model",
    [each for each in site._registry if each._meta.app_label in {"cart", "orders", "payments", "inventory"}],
    ids=lambda model: model.__name__,
)
def test_every_list_and_form_of_the_admin_opens(admin_client, api, cup, model):
    user = factories.user()
    api.force_login(user)
    ordered(api, cup)
    pay(Order.objects.get(), "4242424242424242", "Ann")
    Coupon.objects.create(code="TEN", percent=10)
    supplier = Supplier.objects.create(name="Potter", email="potter@example.com")
    warehouse = factories.warehouse()
    Delivery.objects.create(supplier=supplier, warehouse=warehouse, expected_on="2026-01-01")
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    assert admin_client.get(reverse(f"{name}_changelist")).status_code == 200
    assert admin_client.get(reverse(f"{name}_change", args=[model._default_manager.first().pk])).status_code == 200


def test_staff_ship_cancel_refund_and_receive_by_action(admin_client, api, ann, cup):
    ordered(api, cup, 1)
    ordered(api, cup, 1)
    first, second = Order.objects.order_by("id")
    pay(first, "4242424242424242", "Ann")
    pay(second, "4242424242424242", "Ann")
    supplier = Supplier.objects.create(name="Potter", email="potter@example.com")
    delivery = Delivery.objects.create(supplier=supplier, warehouse=factories.warehouse(), expected_on="2026-01-01")
    delivery.lines.create(product=cup, quantity=4)

    def act(model, action, *rows):
        keys = [row.pk for row in rows]
        path = reverse(f"admin:{model}_changelist")
        assert admin_client.post(path, {"action": action, "_selected_action": keys}).status_code == 302

    act("orders_order", "ship", first)
    act("orders_order", "cancel", first, second)
    act("orders_order", "put_away", first)
    act("payments_payment", "give_back", *Payment.objects.all())
    act("inventory_delivery", "receive", delivery)
    assert list(Order.everything.order_by("id").values_list("status", flat=True)) == ["shipped", "cancelled"]
    assert list(Order.objects.all()) == [second]
    assert set(Payment.objects.values_list("status", flat=True)) == {"refunded"}
    cup.refresh_from_db()
    assert cup.stock == 8
