import io

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.core.management import call_command

from accounts.models import User
from catalog.models import Product
from reviews.models import Review
from tests import factories

pytestmark = pytest.mark.django_db

OWN = [model for model in apps.get_models() if (settings.BASE_DIR / model._meta.app_label).is_dir()]
LISTS = [f"{model._meta.app_label}/{model._meta.model_name}" for model in OWN if model in admin.site._registry]


@pytest.fixture
def staff(client):
    client.force_login(factories.user(username="admin", is_staff=True, is_superuser=True))
    return client


def act(client, model, action, rows):
    chosen = {"action": action, "_selected_action": [row.id for row in rows]}
    return client.post(f"/admin/{model}/", chosen, follow=True).content.decode()


@pytest.mark.parametrize("model", LISTS)
def test_everything_is_listed_searched_and_added(staff, model):
    factories.review()
    factories.notification()
    factories.letter()
    for page in [f"/admin/{model}/", f"/admin/{model}/?q=good"]:
        assert staff.get(page).status_code == 200
    # What comes about by itself is not added by hand.
    assert staff.get(f"/admin/{model}/add/").status_code in (200, 403)


def test_everything_has_its_place_there():
    beside = {inline.model for page in admin.site._registry.values() for inline in page.inlines}
    beside.add(apps.get_model("reviews", "Job"))  # which task has taken effect: nobody looks there
    assert [model for model in OWN if model not in beside and model not in admin.site._registry] == []


def test_every_page_opens_in_a_shop_that_has_sold(client):
    call_command("seed", scale=0.05, progress=False, stdout=io.StringIO())
    client.force_login(User.objects.get(username="admin"))
    for model in [model for model in OWN if model in admin.site._registry]:
        listed = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        first = model._base_manager.order_by("pk").first()
        for page in [listed, f"{listed}?q=a", f"{listed}{first.pk}/change/", f"{listed}{first.pk}/history/"]:
            assert client.get(page).status_code == 200, page


def test_a_product_is_changed_with_its_reviews_beside_it(staff):
    review = factories.review()
    shown = staff.get(f"/admin/catalog/product/{review.product_id}/change/").content.decode()
    assert 'name="reviews-0-title" value="Good"' in shown
    assert f"/images/{review.product.sku}.svg" in shown


def test_products_are_taken_off_the_shelf_and_put_back(staff):
    product = factories.product()
    assert "1 products changed." in act(staff, "catalog/product", "deactivate", [product])
    changed = Product.objects.get()
    assert (changed.is_active, changed.updated_at > product.updated_at) == (False, True)
    act(staff, "catalog/product", "activate", [product])
    assert Product.objects.get().is_active


def test_products_are_never_deleted(staff):
    product = factories.product()
    assert staff.post(f"/admin/catalog/product/{product.id}/delete/").status_code == 403


@pytest.mark.parametrize("action", ["hide", "delete_selected"])
def test_the_rating_follows_what_is_done_to_reviews(staff, action):
    product = factories.product()
    bad, _ = factories.review(product=product, rating=1), factories.review(product=product, rating=5)
    if action == "delete_selected":
        staff.post(
            "/admin/reviews/review/", {"action": action, "_selected_action": [bad.id], "post": "yes"}, follow=True
        )
    else:
        assert "1 reviews changed." in act(staff, "reviews/review", action, [bad])
    product.refresh_from_db()
    assert (str(product.rating), product.review_count) == ("5.00", 1)


def test_hidden_reviews_are_published_again(staff):
    review = factories.review(is_published=False)
    act(staff, "reviews/review", "publish", [review])
    review.product.refresh_from_db()
    assert (Review.objects.get().is_published, review.product.review_count) == (True, 1)


def test_customers_stay_outside(client):
    client.force_login(factories.user())
    assert client.get("/admin/").status_code == 302


def test_letters_are_sent_again(staff):
    letter = factories.letter(status="failed", attempts=5)
    assert "1 letters are sent again." in act(staff, "notifications/letter", "send_again", [letter])
    letter.refresh_from_db()
    assert (letter.status, letter.attempts) == ("pending", 0)


def test_notifications_are_marked_as_read(staff):
    notification = factories.notification()
    assert "1 notifications are read." in act(staff, "notifications/notification", "mark_as_read", [notification])
    notification.refresh_from_db()
    assert notification.read_at is not None
