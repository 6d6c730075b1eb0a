import pytest

from reviews.models import Review
from tests import factories

pytestmark = pytest.mark.django_db
LIST = "/admin/reviews/review/"


@pytest.fixture
def staff(client):
    client.force_login(factories.user(username="admin", is_staff=True, is_superuser=True))
    return client


def act(client, action, *reviews):
    chosen = {"action": action, "_selected_action": [review.id for review in reviews], "post": "yes"}
    return client.post(f"{LIST}?deleted=all", chosen, follow=True).content.decode()


def rated(product):
    product.refresh_from_db()
    return str(product.rating), product.review_count


def test_photos_and_votes_stand_beside_the_review(staff):
    review = factories.review()
    photo, vote = factories.photo(review=review), factories.vote(review=review)
    shown = staff.get(f"{LIST}{review.id}/change/").content.decode()
    assert f'src="{photo.image.url}"' in shown
    assert f'value="{vote.id}"' in shown


def test_what_is_deleted_is_shown_to_those_who_look_for_it(staff):
    factories.review(title="Still here")
    factories.review(title="Taken back").withdraw()
    found = {query: staff.get(LIST + query).content.decode() for query in ["", "?deleted=yes", "?deleted=all"]}
    assert [("Still here" in page, "Taken back" in page) for page in found.values()] == [
        (True, False),
        (False, True),
        (True, True),
    ]


@pytest.mark.parametrize("way", ["action", "page"])
def test_deleting_takes_a_review_out_of_sight_and_out_of_the_rating(staff, way):
    review = factories.review()
    if way == "action":
        act(staff, "delete_selected", review)
    else:
        staff.post(f"{LIST}{review.id}/delete/", {"post": "yes"})
    assert (Review.objects.count(), Review.with_deleted.count()) == (0, 1)
    assert rated(review.product) == ("None", 0)


def test_a_deleted_review_is_restored_and_counts_again(staff):
    review = factories.review(rating=3)
    review.withdraw()
    assert "1 reviews changed." in act(staff, "restore", review)
    assert Review.objects.get() == review
    assert rated(review.product) == ("3.00", 1)


def test_a_review_is_not_restored_when_its_author_has_written_another(staff):
    review = factories.review(title="First")
    review.withdraw()
    factories.review(product=review.product, author=review.author, title="Second")
    shown = act(staff, "restore", review)
    assert "“4/5 First” stays deleted: its author has written another." in shown
    assert "0 reviews changed." in shown
    assert Review.objects.get().title == "Second"
