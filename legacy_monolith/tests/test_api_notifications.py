import pytest
from django.contrib.contenttypes.models import ContentType

from notifications.models import Letter, Notification, Preference
from tests import factories

pytestmark = pytest.mark.django_db
NOTIFICATIONS = "/api/notifications/"
PREFERENCES = f"{NOTIFICATIONS}preferences/"


@pytest.fixture
def ann(api):
    user = factories.user(username="ann")
    api.force_login(user)
    return user


def ids(response):
    assert response.status_code == 200, response.content
    return [each["id"] for each in response.json()["results"]]


def test_a_notification_is_answered_field_by_field(api, ann):
    review = factories.review()
    told = factories.notification(recipient=ann, about=review, data={"rating": 4})
    assert api.get(f"{NOTIFICATIONS}{told.id}/").json() == {
        "id": told.id,
        "kind": "review_written",
        "about": {"type": "reviews.review", "id": str(review.id)},
        "data": {"rating": 4},
        "created_at": told.created_at.isoformat().replace("+00:00", "Z"),
        "read_at": None,
    }
    assert Notification.objects.get().about == review


def test_everyone_sees_their_own(api, ann):
    own, other = factories.notification(recipient=ann), factories.notification()
    assert ids(api.get(NOTIFICATIONS)) == [own.id]
    for method, url in [(api.get, f"{NOTIFICATIONS}{other.id}/"), (api.post, f"{NOTIFICATIONS}{other.id}/read/")]:
        assert method(url).status_code == 404


@pytest.mark.parametrize("url", [NOTIFICATIONS, f"{NOTIFICATIONS}1/", PREFERENCES])
def test_nobody_is_told_nothing(api, url):
    assert api.get(url).status_code == 401


def test_a_notification_is_read_once(api, ann):
    told = factories.notification(recipient=ann)
    first = api.post(f"{NOTIFICATIONS}{told.id}/read/")
    assert (first.status_code, first.json()["read_at"] is not None) == (200, True)
    assert api.post(f"{NOTIFICATIONS}{told.id}/read/").json() == first.json()


def test_notifications_are_narrowed_and_ordered(api, ann):
    first, second = factories.notification(recipient=ann, kind="order_paid"), factories.notification(recipient=ann)
    api.post(f"{NOTIFICATIONS}{first.id}/read/")
    assert ids(api.get(NOTIFICATIONS)) == [second.id, first.id]
    assert ids(api.get(f"{NOTIFICATIONS}?ordering=created_at")) == [first.id, second.id]
    assert ids(api.get(f"{NOTIFICATIONS}?unread=true")) == [second.id]
    assert ids(api.get(f"{NOTIFICATIONS}?unread=false")) == [first.id]
    assert ids(api.get(f"{NOTIFICATIONS}?kind=order_paid")) == [first.id]
    assert api.get(f"{NOTIFICATIONS}?kind=gossip").status_code == 400


def test_notifications_are_not_written_by_clients(api, ann):
    told = factories.notification(recipient=ann)
    assert api.post(NOTIFICATIONS, {}).status_code == 405
    assert api.delete(f"{NOTIFICATIONS}{told.id}/").status_code == 405


def test_many_notifications_take_no_more_queries(api, ann, django_assert_num_queries):
    for _ in range(5):
        factories.notification(recipient=ann)
    with django_assert_num_queries(4):
        api.get(NOTIFICATIONS)


def test_preferences_are_told_and_changed(api, ann):
    of_orders = ["order_cancelled", "order_paid", "order_placed", "order_shipped"]
    assert api.get(PREFERENCES).json() == [
        {"channel": "site", "kinds": [*of_orders, "order_to_ship", "review_written"]},
        {"channel": "mail", "kinds": of_orders},
    ]
    for kinds in [["review_written", "order_paid", "order_paid"], []]:
        changed = api.put(f"{PREFERENCES}mail/", {"kinds": kinds, "channel": "site"})
        assert (changed.status_code, changed.json()) == (200, {"channel": "mail", "kinds": sorted(set(kinds))})
    assert api.get(PREFERENCES).json()[1] == {"channel": "mail", "kinds": []}
    assert Preference.objects.get().user == ann


@pytest.mark.parametrize(
    ("channel", "body", "status"),
    [("pigeon", {"kinds": []}, 404), ("mail", {"kinds": ["gossip"]}, 400), ("mail", {}, 400)],
)
def test_preferences_make_sense(api, ann, channel, body, status):
    assert api.put(f"{PREFERENCES}{channel}/", body).status_code == status


def test_staff_hear_of_a_review(api, ann):
    admin, absent = factories.user(is_staff=True), factories.user(is_staff=True, is_active=False)
    product = factories.product(slug="tasse")
    answer = api.post("/api/reviews/", {"product": product.id, "rating": 2, "title": "Meh", "body": "Too blue."})
    assert answer.status_code == 201
    told = Notification.objects.get()
    assert (told.recipient, told.kind, told.data) == (
        admin,
        "review_written",
        {"product": "tasse", "rating": 2, "title": "Meh"},
    )
    assert (told.about_type, told.about_id) == (ContentType.objects.get(model="review"), str(answer.json()["id"]))
    assert not absent.notifications.exists()
    api.patch(f"/api/reviews/{answer.json()['id']}/", {"rating": 3})
    assert Notification.objects.count() == 1


@pytest.mark.parametrize(("kinds", "letters"), [(None, 0), (["review_written"], 1), ([], 0)])
def test_mail_is_queued_for_those_who_want_it(kinds, letters):
    admin = factories.user(is_staff=True, email="admin@example.com")
    if kinds is not None:
        Preference.objects.create(user=admin, channel="mail", kinds=kinds)
    factories.review(rating=5, title="Love it", product=factories.product(name="Cup"))
    assert list(Letter.objects.values_list("to", "subject")) == [("admin@example.com", "5/5: Cup")] * letters


def test_who_wants_to_hear_nothing_hears_nothing():
    admin = factories.user(is_staff=True)
    Preference.objects.create(user=admin, channel="site", kinds=[])
    factories.review()
    assert not Notification.objects.exists()
