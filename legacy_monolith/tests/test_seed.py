import io
from collections import Counter
from itertools import islice

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import AutoField, Avg, Count, F, Max, Q, Sum

from accounts.models import User
from catalog.models import Product
from inventory.models import StockLevel
from notifications.models import Letter, Notification
from orders.models import Coupon, Order
from reporting.models import DailySales
from reviews.models import Photo, Review
from shop.seeding import rows, trade
from shop.seeding.progress import bar
from shop.seeding.shelf import Shelf
from shop.seeding.trade import Customer


def seed(*args):
    out = io.StringIO()
    call_command("seed", *args, "--no-progress", stdout=out)
    return out.getvalue()


OWN = [
    model
    for model in apps.get_models(include_auto_created=True)
    if (settings.BASE_DIR / model._meta.app_label).is_dir() and model._meta.managed
]


def snapshot():
    found = {model._meta.label: list(model._base_manager.order_by("pk").values()) for model in OWN}
    for row in found["notifications.Notification"]:
        del row["about_type_id"]  # Django numbers the types as it meets them
    return found


@pytest.mark.django_db(transaction=True)
def test_a_seeded_shop_is_whole_and_seeding_again_changes_nothing():
    assert "Seeded 500 products, 2,000 reviews and 50 accounts" in seed("--scale", "0.1")
    assert (Product.objects.count(), Review.objects.count(), User.objects.count()) == (500, 2000, 50)
    counted = Q(reviews__is_published=True)
    products = Product.objects.annotate(
        counted=Count("reviews", filter=counted), average=Avg("reviews__rating", filter=counted)
    )
    for product in products:
        assert product.review_count == product.counted
        assert product.rating is None or abs(float(product.rating) - product.average) <= 0.005
    assert User.objects.get(username="ann").check_password("demo")
    assert User.objects.get(username="admin").is_superuser
    before = snapshot()
    empty = {label for label, found in before.items() if not found}
    assert empty == {"accounts.User_groups", "accounts.User_user_permissions", "reviews.Job"}
    assert_it_adds_up()
    assert seed("--scale", "3") == "Already seeded: 500 products. Nothing changed.\n"
    assert snapshot() == before
    made = Product.objects.create(sku="X-1", slug="x-1", name="Next", price=1, category_id=1)
    assert made.id == 501
    for model in OWN:
        if isinstance(model._meta.pk, AutoField):
            assert next_id(model) > (model._base_manager.aggregate(last=Max("pk"))["last"] or 0)
    assert "Seeded 500 products" in seed("--scale", "0.1", "--flush")
    assert snapshot() == before


def next_id(model):
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [model._meta.db_table])
        return cursor.fetchone()[0]


def assert_it_adds_up():
    """Every rule that the shop keeps while it sells holds for what was never sold."""
    free = Sum(F("levels__on_hand") - F("levels__reserved"), default=0)
    assert not Product.objects.annotate(free=free).exclude(stock=F("free")).exists()
    held = Sum("reservations__quantity", filter=Q(reservations__status="held"), default=0)
    assert not StockLevel.objects.annotate(held=held).exclude(reserved=F("held")).exists()
    moved = Sum("movements__change", default=0)
    assert not StockLevel.objects.annotate(moved=moved).exclude(on_hand=F("moved")).exists()
    summed = Sum(F("lines__price") * F("lines__quantity"), default=0)
    assert not Order.objects.annotate(summed=summed).exclude(subtotal=F("summed")).exists()
    assert not Order.objects.exclude(total=F("subtotal") - F("discount") + F("shipping")).exists()
    assert not Order.objects.filter(placed_at__lt=F("user__date_joined")).exists()
    paid = Count("payments", filter=Q(payments__status="paid"))
    assert set(Order.objects.annotate(paid=paid).values_list("status", "paid").distinct()) == {
        ("placed", 0),
        ("paid", 1),
        ("shipped", 1),
        ("cancelled", 0),
    }
    assert Coupon.objects.aggregate(uses=Sum("uses"))["uses"] == Order.objects.exclude(coupon=None).count()
    assert not Notification.objects.exclude(about_type__model="order").exists()
    assert not Letter.objects.due().exists()
    photo = Photo.objects.first()
    assert (photo.image.width, photo.image.height) == (photo.width, photo.height)
    closed = list(DailySales.objects.values_list("day", "category", "orders", "units", "revenue"))
    call_command("close_day", day=str(closed[0][0]), stdout=io.StringIO())
    assert list(DailySales.objects.values_list("day", "category", "orders", "units", "revenue")) == closed


@pytest.mark.django_db
def test_accounts_are_not_mixed_with_invented_ones():
    User.objects.create_user("owner", "owner@example.com")
    with pytest.raises(CommandError, match="--flush"):
        seed("--scale", "0.1")


@pytest.mark.django_db
@pytest.mark.parametrize("scale", ["0", "-1", "1001"])
def test_a_scale_must_make_sense(scale):
    with pytest.raises(CommandError, match="--scale"):
        seed("--scale", scale)


@pytest.mark.django_db
def test_the_password_comes_from_the_environment_and_is_not_shown(monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", "not-the-usual")
    assert "not-the-usual" not in seed("--scale", "0.01")
    assert User.objects.get(username="bob").check_password("not-the-usual")


def test_more_products_begin_with_the_same_ones():
    assert list(rows.products(50)) == list(islice(rows.products(500), 50))


def test_rows_fit_together():
    products = list(rows.products(3000))
    for column in [1, 2, 3]:
        assert len({product[column] for product in products}) == 3000
    for column in ["price", "created_at"]:
        values = Counter(product[rows.PRODUCT_COLUMNS.index(column)] for product in products)
        assert values.most_common(1)[0][1] > 1
    assert any(not product[4].isascii() for product in products)
    users = list(rows.users(400, "hash"))
    assert len({user[1] for user in users}) == len({user[2] for user in users}) == 400
    reviews = list(rows.reviews(1000, 300, 100))
    assert len({(review[1], review[2]) for review in reviews}) == 1000


def test_a_small_shop_is_whole_too():
    shelf = Shelf(rows.products(3))
    customers = [Customer(id=number, name="", email="", joined=rows.OPENED) for number in range(1, 50)]
    orders = list(trade.orders(200, customers, shelf))
    assert [order.id for order in orders] == list(range(1, 201))
    assert orders == sorted(orders, key=lambda order: order.placed_at)
    assert all(order.lines and order.total >= 0 for order in orders)
    assert {order.status for order in orders} == {"placed", "paid", "shipped", "cancelled"}
    for order in orders:
        moments = [at for at, _, _ in trade.events(order)]
        assert moments == sorted(moments)


def test_progress_is_drawn_to_the_end():
    stream = io.StringIO()
    assert list(bar(range(1200), 1200, "things", stream)) == list(range(1200))
    assert stream.getvalue().endswith("[##############################] 1,200/1,200\n")
