import io
from collections import Counter
from itertools import islice

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Avg, Count, Q

from accounts.models import Address, User
from catalog.models import Category, Product
from reviews.models import Review
from shop.seeding import rows
from shop.seeding.progress import bar


def seed(*args):
    out = io.StringIO()
    call_command("seed", *args, "--no-progress", stdout=out)
    return out.getvalue()


def snapshot():
    return [list(model.objects.order_by("id").values()) for model in (User, Address, Category, Product, Review)]


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
    assert seed("--scale", "3") == "Already seeded: 500 products. Nothing changed.\n"
    assert snapshot() == before
    made = Product.objects.create(sku="X-1", slug="x-1", name="Next", price=1, category_id=1)
    assert made.id == 501
    assert "Seeded 500 products" in seed("--scale", "0.1", "--flush")
    assert snapshot() == before


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


def test_progress_is_drawn_to_the_end():
    stream = io.StringIO()
    assert list(bar(range(1200), 1200, "things", stream)) == list(range(1200))
    assert stream.getvalue().endswith("[##############################] 1,200/1,200\n")
