from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from catalog.models import Product
from catalog.recommend import rank
from tests import factories

pytestmark = pytest.mark.django_db


def like(product):
    return f"/api/recommendations/{product if isinstance(product, int | str) else product.id}/"


def results(api, product):
    response = api.get(like(product))
    assert response.status_code == 200, response.content
    return [each["id"] for each in response.json()["results"]]


def thing(number, price="10.00", tags=()):
    return SimpleNamespace(id=number, price=Decimal(price), tags=list(tags))


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([], []),
        ([thing(1)], []),
        ([thing(3), thing(2)], [2, 3]),
        ([thing(2, "10.01"), thing(3, "9.98"), thing(4, "10.00")], [4, 2, 3]),
        ([thing(2, "12.00"), thing(3, "8.00"), thing(4, "11.99")], [4, 2, 3]),
        ([thing(2), thing(3, "99.00", ["gift"]), thing(4, "500.00", ["gift", "vegan"])], [4, 3, 2]),
        ([thing(2, tags=["gift", "gift"]), thing(3, "10.01", ["vegan", "gift"])], [3, 2]),
        ([thing(2, tags=["new"]), thing(3)], [2, 3]),
        ([thing(number) for number in range(20, 1, -1)], [2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_the_like_are_ranked_by_tags_then_price_then_id(candidates, expected):
    assert [each.id for each in rank(thing(1, tags=["gift", "vegan"]), candidates)] == expected


def test_an_answer_field_by_field(api):
    category = factories.category()
    product = factories.product(category=category)
    other = factories.product(category=category, slug="tasse", name="Tasse ü", sku="KIT-1", price="12.5", stock=1)
    Product.objects.filter(id=other.id).update(rating="4.5", currency="CHF")
    response = api.get(like(product))
    assert response.content.decode() == (
        f'{{"product":{product.id},"results":[{{"id":{other.id},"slug":"tasse","name":"Tasse ü","price":"12.50",'
        '"currency":"CHF","image":"/images/KIT-1.svg","rating":"4.50"}]}'
    )
    told = {name: response.headers.get(name) for name in ["Content-Type", "Allow", "Cache-Control", "Vary"]}
    assert told == {
        "Content-Type": "application/json",
        "Allow": "GET, HEAD",
        "Cache-Control": "no-cache",
        "Vary": "Api-Version",
    }
    assert "Last-Modified" not in response.headers
    second = api.get(like(product), headers={"api-version": "2"}).json()["results"][0]
    assert (second["price"], "currency" in second) == ({"amount": "12.50", "currency": "CHF"}, False)


def test_what_is_not_to_be_had_is_not_recommended(api):
    top = factories.category()
    below, beside = factories.category(parent=top), factories.category()
    product = factories.product(category=top, stock=0)
    found = [factories.product(category=each, stock=1).id for each in (top, below)]
    factories.product(category=top, stock=0)
    factories.product(category=top, stock=1, is_active=False)
    factories.product(category=beside, stock=1)
    assert results(api, product) == found
    assert results(api, found[1]) == []


def test_only_the_newest_hundred_are_looked_at(api):
    category = factories.category()
    product = factories.product(category=category, price="1.00")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    Product.objects.filter(id=product.id).update(created_at=long_ago)
    oldest = factories.product(category=category, price="1.00", stock=1)
    Product.objects.filter(id=oldest.id).update(created_at=long_ago + timedelta(days=1))
    rest = [Product(sku=f"S-{n}", slug=f"s-{n}", name="Thing", price=2, stock=1, category=category) for n in range(99)]
    Product.objects.bulk_create(rest)
    assert results(api, product)[0] == oldest.id
    factories.product(category=category, price="2.00", stock=1)
    assert oldest.id not in results(api, product)


def test_the_candidates_are_what_the_catalog_answers(api):
    category = factories.category(slug="cups")
    for number in range(130):
        factories.product(category=category, stock=number % 3, tags=["a", "b", "c"][: number % 4], price=number % 17)
    query = "?category=cups&in_stock=true&ordering=-created_at&page_size=100"
    answered = api.get(f"/api/catalog/products/{query}").json()["results"]
    candidates = [thing(each["id"], each["price"], each["tags"]) for each in answered]
    for number in [0, 1, 64, 129]:
        product = Product.objects.order_by("id")[number]
        assert results(api, product) == [each.id for each in rank(product, candidates)]


@pytest.mark.parametrize("key", ["0", "99999999999999999999999"])
def test_nothing_is_like_an_unknown_product(api, key):
    response = api.get(like(key))
    assert (response.status_code, response.content) == (404, b'{"detail":"Not found."}')
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("url", ["/api/recommendations/", like("abc"), like("-1"), like("1") + "x/"])
def test_there_is_nothing_else(api, url):
    response = api.get(url)
    assert (response.status_code, response.json()) == (404, {"detail": "Not found."})


def test_nothing_is_like_what_is_off_the_shelf(api):
    assert api.get(like(factories.product(is_active=False))).status_code == 404


def test_unchanged_recommendations_are_not_sent_again(api):
    category = factories.category()
    product, other = (factories.product(category=category, stock=1) for _ in range(2))
    first = api.get(like(product))
    unchanged = api.get(like(product), headers={"if-none-match": first.headers["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    for kept in ["ETag", "Cache-Control", "Vary"]:
        assert unchanged.headers[kept] == first.headers[kept]
    Product.objects.filter(id=other.id).update(stock=0)
    assert api.get(like(product), headers={"if-none-match": first.headers["ETag"]}).json()["results"] == []


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_recommendations_are_read_only(api, method):
    response = getattr(api, method)(like(factories.product()))
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
    assert api.head(like(Product.objects.get())).content == b""


def test_recommendations_take_three_queries(api, django_assert_num_queries):
    category = factories.category()
    products = [factories.product(category=category, stock=1) for _ in range(12)]
    with django_assert_num_queries(3):
        api.get(like(products[0]))
