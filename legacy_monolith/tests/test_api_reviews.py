import pytest
from django.test import Client
from rest_framework.authtoken.models import Token

from catalog.models import Product
from reviews.models import Review
from tests import factories

REVIEWS = "/api/reviews/"


@pytest.fixture
def ann(db):
    return factories.user(username="ann")


@pytest.fixture
def cup(db):
    return factories.product(name="Cup")


def written(product, **fields):
    return {"product": product.id, "rating": 5, "title": "Lovely", "body": "Für jeden Tag.", **fields}


def test_reviews_are_listed_newest_first(api, cup, ann):
    older = factories.review(product=cup)
    newer = factories.review(product=cup, author=ann, rating=2, title="Meh", body="")
    factories.review()
    factories.review(product=cup, is_published=False)
    page = api.get(f"{REVIEWS}?product={cup.id}").json()
    assert [review["id"] for review in page["results"]] == [newer.id, older.id]
    assert page["results"][0] == {
        "id": newer.id,
        "product": cup.id,
        "author": "ann",
        "rating": 2,
        "title": "Meh",
        "body": "",
        "created_at": newer.created_at.isoformat().replace("+00:00", "Z"),
    }


def test_reviews_are_filtered_by_author_and_rating(api, cup, ann):
    mine = factories.review(product=cup, author=ann, rating=1)
    factories.review(product=cup, rating=5)
    for query in ["?author=ann", "?rating=1", "?ordering=rating&page_size=1"]:
        assert [review["id"] for review in api.get(REVIEWS + query).json()["results"]] == [mine.id]
    assert api.get(f"{REVIEWS}?product=x").json() == {"product": ["Enter a number."]}


def test_a_review_is_shown_unless_hidden(api, cup):
    shown, hidden = factories.review(product=cup), factories.review(product=cup, is_published=False)
    assert api.get(f"{REVIEWS}{shown.id}/").json()["title"] == "Good"
    assert api.get(f"{REVIEWS}{hidden.id}/").status_code == 404
    assert api.get(f"{REVIEWS}abc/").json() == {"detail": "Not found."}


def test_a_token_may_write_a_review(api, cup, ann):
    token = Token.objects.create(user=ann)
    response = api.post(REVIEWS, written(cup), headers={"authorization": f"Token {token.key}"})
    assert response.status_code == 201
    assert response.json()["author"] == "ann"
    cup.refresh_from_db()
    assert (str(cup.rating), cup.review_count) == ("5.00", 1)


def test_a_session_needs_the_csrf_token_to_write(db, cup, ann):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    refused = client.post(REVIEWS, written(cup), content_type="application/json")
    assert (refused.status_code, refused.json()) == (403, {"detail": "CSRF Failed: CSRF cookie not set."})
    client.get(f"/en/products/{cup.slug}/")
    token = {"x-csrftoken": client.cookies["csrftoken"].value}
    assert client.post(REVIEWS, written(cup), content_type="application/json", headers=token).status_code == 201


def test_nobody_may_not_write(api, cup):
    response = api.post(REVIEWS, written(cup))
    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided."}
    assert response.headers["WWW-Authenticate"] == "Token"
    assert api.post(REVIEWS, written(cup), headers={"authorization": "Token x"}).json() == {"detail": "Invalid token."}


def test_what_is_wrong_with_a_review_is_said(api, cup, ann):
    api.force_authenticate(ann)
    response = api.post(REVIEWS, {"product": 0, "rating": 6, "title": "", "body": "x" * 4001})
    assert response.status_code == 400
    assert response.json() == {
        "product": ['Invalid pk "0" - object does not exist.'],
        "rating": ["Ensure this value is less than or equal to 5."],
        "title": ["This field may not be blank."],
        "body": ["Ensure this field has no more than 4000 characters."],
    }
    broken = api.post(REVIEWS, "{", content_type="application/json")
    assert broken.status_code == 400
    assert broken.json()["detail"].startswith("JSON parse error")
    assert api.post(REVIEWS, "<a/>", content_type="text/xml").status_code == 415


def test_one_review_for_each_product_and_author(api, cup, ann):
    api.force_authenticate(ann)
    assert api.post(REVIEWS, written(cup)).status_code == 201
    again = api.post(REVIEWS, written(cup))
    assert (again.status_code, again.json()) == (
        400,
        {"non_field_errors": ["You have already reviewed this product."]},
    )
    assert Review.objects.count() == 1


def test_only_the_author_or_staff_may_change_a_review(api, cup, ann):
    review = factories.review(product=cup, author=ann, rating=2)
    url = f"{REVIEWS}{review.id}/"
    assert api.patch(url, {"rating": 1}).status_code == 401
    api.force_authenticate(factories.user())
    assert api.patch(url, {"rating": 1}).status_code == 403
    assert api.delete(url).status_code == 403
    api.force_authenticate(ann)
    assert api.patch(url, {"rating": 3}).json()["rating"] == 3
    moved = api.patch(url, {"product": factories.product().id})
    assert moved.json() == {"product": ["A review stays with its product."]}
    assert str(Product.objects.get(id=cup.id).rating) == "3.00"
    api.force_authenticate(factories.user(is_staff=True))
    assert api.delete(url).status_code == 204
    assert Product.objects.get(id=cup.id).review_count == 0
