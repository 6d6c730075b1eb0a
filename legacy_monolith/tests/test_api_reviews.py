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
        "photos": [],
        "helpful": 0,
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
    client.get("/en/bar/")
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


def test_a_deleted_review_is_kept_but_nobody_finds_it_and_its_author_may_write_another(api, cup, ann):
    review = factories.review(product=cup, author=ann)
    api.force_authenticate(ann)
    assert api.delete(f"{REVIEWS}{review.id}/").status_code == 204
    assert api.get(f"{REVIEWS}{review.id}/").status_code == 404
    assert api.get(REVIEWS).json()["count"] == 0
    assert Review.with_deleted.get().deleted_at is not None
    assert api.post(REVIEWS, written(cup)).status_code == 201
    assert api.post(REVIEWS, written(cup)).status_code == 400


def test_a_review_of_a_product_off_the_shelf_is_not_shown(api, cup):
    review = factories.review(product=cup)
    Product.objects.update(is_active=False)
    assert api.get(REVIEWS).json()["count"] == 0
    assert api.get(f"{REVIEWS}{review.id}/").status_code == 404


def test_a_product_has_its_reviews_below_it(api, cup, ann):
    mine = factories.review(product=cup, author=ann, rating=1)
    factories.review(product=cup, rating=5)
    factories.review(author=ann)
    below = f"/api/catalog/products/{cup.id}/reviews/"
    assert api.get(below).json()["count"] == 2
    for query in ["?author=ann", "?rating=1", "?ordering=rating&page_size=1"]:
        assert api.get(below + query).json()["results"] == [api.get(f"{REVIEWS}{mine.id}/").json()]


def test_a_review_is_written_below_its_product(api, cup, ann):
    below = f"/api/catalog/products/{cup.id}/reviews/"
    assert api.post(below, {}).status_code == 401
    api.force_authenticate(ann)
    response = api.post(below, {"product": factories.product().id, "rating": 2, "title": "Meh"})
    assert (response.status_code, response.json()["product"], response.json()["author"]) == (201, cup.id, "ann")
    assert api.post(below, {"rating": 2, "title": "Meh"}).json() == {
        "non_field_errors": ["You have already reviewed this product."]
    }


@pytest.mark.parametrize(
    "number",
    ["0", "999999", "9" * 30, pytest.param("9" * 5000, marks=pytest.mark.in_process("no server reads so far"))],
)
def test_there_are_no_reviews_below_what_is_no_product(api, db, number):
    assert api.get(f"/api/catalog/products/{number}/reviews/").status_code == 404


def test_what_is_unchanged_is_not_sent_again(api, cup, ann):
    review = factories.review(product=cup)
    for url in [f"{REVIEWS}{review.id}/", f"/api/catalog/products/{cup.id}/reviews/"]:
        first = api.get(url)
        for name, value in [("if-none-match", first["ETag"]), ("if-modified-since", first["Last-Modified"])]:
            again = api.get(url, headers={name: value})
            assert (again.status_code, again.content) == (304, b"")
    first = api.get(REVIEWS)
    assert "Last-Modified" not in first
    review.vote(ann, True)
    assert api.get(REVIEWS, headers={"if-none-match": first["ETag"]}).status_code == 200


def test_photos_and_votes_change_when_a_review_was_last_modified(api, cup, ann):
    review = factories.review(product=cup)
    before = review.updated_at
    for change in [lambda: review.vote(ann, True), lambda: review.take_back_vote(ann), review.withdraw]:
        change()
        after = Review.with_deleted.get().updated_at
        assert after > before
        before = after


def test_others_say_whether_a_review_helped(api, cup, ann):
    review = factories.review(product=cup)
    url = f"{REVIEWS}{review.id}/vote/"
    assert api.post(url, {"helpful": True}).status_code == 401
    api.force_authenticate(ann)
    voted = api.post(url, {"helpful": True})
    assert (voted.status_code, voted.json()["helpful"], voted.json()["id"]) == (200, 1, review.id)
    assert api.post(url, {"helpful": False}).json()["helpful"] == 0
    assert api.post(url, {}).json() == {"helpful": ["This field is required."]}
    api.post(url, {"helpful": True})
    factories.vote(review=review)
    assert api.get(f"{REVIEWS}{review.id}/").json()["helpful"] == 2
    assert api.delete(url).status_code == 204
    assert api.get(f"{REVIEWS}{review.id}/").json()["helpful"] == 1
    assert (api.delete(url).status_code, api.delete(url).json()) == (404, {"detail": "Not found."})


def test_nobody_votes_for_a_review_of_their_own(api, cup, ann):
    review = factories.review(product=cup, author=ann)
    api.force_authenticate(ann)
    refused = api.post(f"{REVIEWS}{review.id}/vote/", {"helpful": True})
    assert (refused.status_code, refused.json()) == (403, {"detail": "You cannot vote for your own review."})


def test_a_list_takes_few_queries(api, cup, django_assert_max_num_queries):
    for _ in range(8):
        review = factories.review(product=cup)
        factories.vote(review=review)
        factories.photo(review=review)
    for url in [REVIEWS, f"/api/catalog/products/{cup.id}/reviews/"]:
        with django_assert_max_num_queries(5):
            assert len(api.get(url).json()["results"]) == 8
