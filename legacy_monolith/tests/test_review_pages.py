import pytest
from django.conf import settings
from django.core.signing import TimestampSigner
from django.test import Client

from reviews.models import Review
from tests import factories
from tests.pictures import picture, upload

pytestmark = pytest.mark.django_db
CUP = "/en/reviews/of/cup/"
WORDS = {"rating": "4", "title": "Good", "body": "Every day."}


@pytest.fixture
def ann():
    return factories.user(username="ann")


@pytest.fixture
def cup():
    return factories.product(name="Cup & Saucer", slug="cup")


def page(response, status=200):
    assert response.status_code == status
    return response.content.decode()


def messages(client):
    """Return what the next page would show, as the cookie carries it from one stack to the other."""
    signer = TimestampSigner(key=f"messages{settings.MESSAGES_KEY}", salt="django.contrib.messages")
    value = client.cookies["messages"].value
    return [message[3] for message in signer.unsign_object(value)] if value else []


def test_a_product_has_a_page_of_what_customers_say(client, cup):
    review = factories.review(product=cup, title="Lovely <b>cup</b>")
    factories.review(product=cup, title="Hidden", is_published=False)
    factories.review(product=cup, title="Taken back").withdraw()
    factories.photo(review=review, image="reviews/a.jpg")
    factories.vote(review=review)
    shown = page(client.get("/de/reviews/of/cup/"))
    for text in [
        "<title>Bewertungen zu Cup &amp; Saucer",
        "Lovely &lt;b&gt;cup",
        'src="/media/reviews/a.jpg" width="60" height="40"',
        f"Foto 1 von {review.author.username}",
        "1 Person fand das hilfreich",
        'href="/de/account/login/?next=/de/reviews/write/cup/"',
    ]:
        assert text in shown
    assert "Hidden" not in shown
    assert "Taken back" not in shown
    assert "<form method" not in shown[shown.index("<main") :]


def test_a_part_is_the_same_without_the_page_around_it(client, cup):
    factories.review(product=cup, title="Lovely")
    part, whole = (page(client.get(CUP + query)) for query in ["?part=1", ""])
    assert part.strip() in whole
    assert "<html" not in part
    assert "Lovely" in part


def test_many_reviews_are_paged_and_the_links_lead_to_whole_pages(client, cup):
    for number in range(12):
        factories.review(product=cup, title=f"Review {number:02}")
    first = page(client.get(f"{CUP}?part=1"))
    assert "Review 00" not in first
    assert f'href="{CUP}?page=2"' in first
    for query in ["?page=2", "?page=99"]:
        assert "Review 00" in page(client.get(CUP + query))
    assert "Review 11" in page(client.get(f"{CUP}?page=x"))


def test_a_page_takes_few_queries(client, ann, cup, django_assert_max_num_queries):
    for _ in range(8):
        review = factories.review(product=cup)
        factories.vote(review=review, user=ann)
        factories.photo(review=review)
    client.force_login(ann)
    with django_assert_max_num_queries(8):
        client.get(CUP)


@pytest.mark.parametrize("path", ["of/nothing/", "of/off/", "write/nothing/", "write/off/"])
def test_what_is_not_for_sale_has_no_reviews(client, ann, path):
    factories.product(slug="off", is_active=False)
    client.force_login(ann)
    assert "There is nothing at this address." in page(client.get(f"/en/reviews/{path}"), 404)


def test_a_customer_reviews_a_product_once(client, ann, cup):
    client.force_login(ann)
    assert 'enctype="multipart/form-data"' in page(client.get("/en/reviews/write/cup/"))
    sent = client.post("/en/reviews/write/cup/", WORDS)
    mine = Review.objects.get()
    assert (sent.status_code, sent.headers["Location"]) == (302, f"{CUP}#review-{mine.id}")
    assert messages(client) == ["Thank you for your review."]
    for again in [client.post("/en/reviews/write/cup/", WORDS), client.get("/en/reviews/write/cup/")]:
        assert (again.status_code, again.headers["Location"]) == (302, CUP)
    assert messages(client)[-1] == "You have already reviewed this product."
    assert Review.objects.count() == 1
    assert "You have already reviewed this product." in page(client.get(CUP))


def test_a_review_has_photos(client, ann, cup):
    client.force_login(ann)
    client.post("/en/reviews/write/cup/", {**WORDS, "photos": [picture(), picture("PNG", size=(30, 20))]})
    assert [(each.width, each.height) for each in Review.objects.get().photos.all()] == [(60, 40), (30, 20)]


def test_a_wrong_review_is_shown_again_with_the_reason(client, ann, cup):
    client.force_login(ann)
    shown = page(client.post("/en/reviews/write/cup/", {"rating": "9", "title": "", "body": "kept words"}))
    for text in ["kept words", "This field is required.", "Select a valid choice."]:
        assert text in shown
    for photos, reason in [([upload(b"x")], "this file is none"), ([picture() for _ in range(5)], "at most four")]:
        assert reason in page(client.post("/en/reviews/write/cup/", {**WORDS, "photos": photos}))
    assert Review.objects.count() == 0


def test_a_customer_deletes_what_they_wrote_and_may_write_again(client, ann, cup):
    mine = factories.review(product=cup, author=ann)
    client.force_login(ann)
    assert f'action="/en/reviews/delete/{mine.id}/"' in page(client.get(CUP))
    deleted = client.post(f"/en/reviews/delete/{mine.id}/")
    assert (deleted.status_code, deleted.headers["Location"]) == (302, CUP)
    assert messages(client) == ["Your review is deleted."]
    assert client.post(f"/en/reviews/delete/{mine.id}/").status_code == 404
    client.post("/en/reviews/write/cup/", WORDS)
    assert (Review.objects.count(), Review.with_deleted.count()) == (1, 2)


def test_reviews_are_written_and_deleted_by_their_author_only(client, ann, cup):
    review = factories.review(product=cup)
    login = "/en/account/login/?next="
    assert client.post("/en/reviews/write/cup/").headers["Location"] == f"{login}/en/reviews/write/cup/"
    for path in [f"delete/{review.id}", f"vote/{review.id}"]:
        assert client.post(f"/en/reviews/{path}/").headers["Location"] == f"{login}{CUP}"
    client.force_login(ann)
    assert client.post(f"/en/reviews/delete/{review.id}/").status_code == 404
    for path in ["delete/1", "vote/1"]:
        assert client.get(f"/en/reviews/{path}/").status_code == 405


def test_a_visitor_says_whether_a_review_helped_and_takes_it_back(client, ann, cup):
    review = factories.review(product=cup)
    client.force_login(ann)

    def voted(answer):
        sent = client.post(f"/en/reviews/vote/{review.id}/", {"helpful": answer, "page": "3"})
        assert sent.headers["Location"] == f"{CUP}?page=3#review-{review.id}"
        return page(client.get(CUP))

    assert '<button class="link" name="helpful" value="-" aria-pressed="true">Helpful' in voted("yes")
    assert "1 person found this helpful" in voted("yes")
    assert '<button class="link" name="helpful" value="-" aria-pressed="true">Not helpful' in voted("no")
    assert 'aria-pressed="true"' not in voted("-")


def test_nobody_votes_for_a_review_of_their_own(client, ann, cup):
    mine = factories.review(product=cup, author=ann)
    client.force_login(ann)
    client.post(f"/en/reviews/vote/{mine.id}/", {"helpful": "yes"})
    assert messages(client) == ["You cannot vote for your own review."]
    assert mine.votes.count() == 0


def test_forms_need_the_csrf_token(ann, cup):
    review = factories.review(product=cup)
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    for path in ["write/cup", f"delete/{review.id}", f"vote/{review.id}"]:
        assert client.post(f"/en/reviews/{path}/", WORDS).status_code == 403


def test_a_message_signed_by_somebody_else_is_not_shown(client, ann):
    client.cookies["messages"] = TimestampSigner(key="other", salt="django.contrib.messages").sign_object(["x"])
    client.force_login(ann)
    assert "messages" in client.get("/en/account/").cookies
