import threading

import pytest
from django.db import IntegrityError, connection
from django.db.models import ProtectedError

from catalog import tree
from catalog.models import Category, Product
from reviews.models import Review
from tests import factories

pytestmark = pytest.mark.django_db


def rated(product):
    product.refresh_from_db()
    return str(product.rating), product.review_count


def test_a_product_carries_the_average_of_its_published_reviews():
    product = factories.product()
    for rating in [5, 4, 4, 4, 4, 4, 4, 4]:
        factories.review(product=product, rating=rating)
    hidden = factories.review(product=product, rating=1, is_published=False)
    assert rated(product) == ("4.13", 8)
    hidden.is_published = True
    hidden.save()
    assert rated(product) == ("3.78", 9)
    hidden.delete()
    assert rated(product) == ("4.13", 8)


def test_a_product_without_reviews_has_no_rating():
    review = factories.review()
    review.delete()
    assert rated(review.product) == ("None", 0)


def test_a_review_counts_as_a_change_of_its_product():
    product = factories.product()
    before = product.updated_at
    factories.review(product=product)
    product.refresh_from_db()
    assert product.updated_at > before


def test_reviews_go_with_their_author():
    review = factories.review()
    review.author.delete()
    assert rated(review.product) == ("None", 0)


@pytest.mark.django_db(transaction=True)
def test_reviews_at_the_same_moment_are_all_counted():
    product = factories.product()
    authors = [factories.user() for _ in range(6)]
    start = threading.Barrier(len(authors))

    def write(author):
        start.wait()
        Review.objects.create(product=product, author=author, rating=3, title="At once")
        connection.close()

    writers = [threading.Thread(target=write, args=[author]) for author in authors]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert rated(product) == ("3.00", 6)


@pytest.mark.parametrize("wrong", [{"rating": 0}, {"rating": 6}])
def test_the_database_refuses_a_rating_out_of_range(wrong):
    with pytest.raises(IntegrityError):
        factories.review(**wrong)


def test_the_database_refuses_a_negative_price():
    with pytest.raises(IntegrityError):
        factories.product(price="-1.00")


def test_a_category_with_products_stays():
    product = factories.product()
    with pytest.raises(ProtectedError):
        product.category.delete()


def test_the_tree_reads_parents_before_children():
    garden = factories.category(name="Garden", position=2)
    kitchen = factories.category(name="Kitchen", position=1)
    knives = factories.category(name="Knives", position=9, parent=kitchen)
    paring = factories.category(name="Paring", position=0, parent=knives)
    assert [(each.name, each.depth) for each in tree.whole()] == [
        ("Kitchen", 0),
        ("Knives", 1),
        ("Paring", 2),
        ("Garden", 0),
    ]
    assert sorted(tree.branch(kitchen.id)) == sorted([kitchen.id, knives.id, paring.id])
    assert tree.branch(garden.id) == [garden.id]


def test_things_are_named_for_people():
    review = factories.review(title="Fine", rating=3)
    assert [str(review), str(review.product), str(review.product.category)] == [
        "3/5 Fine",
        review.product.name,
        review.product.category.name,
    ]
    assert Category.objects.get().get_absolute_url() == f"/en/products/?category={review.product.category.slug}"
    assert Product.objects.get().get_absolute_url() == f"/en/products/{review.product.slug}/"
