"""What a change of the reviews brings about elsewhere.

A product carries its average rating, so that lists need not count reviews; and a photo's file goes with its row.
"""

from django.db import transaction
from django.db.models import Avg, Count, DecimalField
from django.db.models.functions import Round
from django.db.models.signals import post_delete, post_save
from django.utils import timezone

from catalog.models import Product
from reviews.models import Photo, Review


def connect():
    post_save.connect(_changed, sender=Review)
    post_delete.connect(_changed, sender=Review)
    post_delete.connect(_photo_deleted, sender=Photo)


def _changed(sender, instance, **kwargs):
    if not kwargs.get("raw"):
        refresh_rating(instance.product_id)


def _photo_deleted(sender, instance, **kwargs):
    transaction.on_commit(lambda: instance.image.delete(save=False))


@transaction.atomic
def refresh_rating(product_id):
    """Count a product's published reviews anew; those that were deleted count no more."""
    # Two reviews at once: the second waits here and then counts the first one too.
    product = Product.objects.select_for_update().filter(id=product_id).first()
    if product is None:
        return
    counted = (
        Review.objects.published()
        .filter(product_id=product_id)
        .aggregate(
            rating=Round(Avg("rating", output_field=DecimalField()), precision=2),
            review_count=Count("id"),
        )
    )
    Product.objects.filter(id=product_id).update(**counted, updated_at=timezone.now())
