"""What a change of the reviews brings about elsewhere.

A product carries its average rating, so that lists need not count reviews; and a photo's file goes with its row.
"""

from django.db import DatabaseError, transaction
from django.db.models import Avg, Count, DecimalField
from django.db.models.functions import Round
from django.db.models.signals import post_delete, post_save

from catalog.counted import write
from reviews.models import Photo, Review
from shop import elsewhere


def connect():
    post_save.connect(_changed, sender=Review)
    post_delete.connect(_changed, sender=Review)
    post_delete.connect(_photo_deleted, sender=Photo)


def _changed(sender, instance, **kwargs):
    if not kwargs.get("raw"):
        refresh_rating(instance.product_id)


def _photo_deleted(sender, instance, **kwargs):
    transaction.on_commit(lambda: instance.image.delete(save=False))


def refresh_rating(product_id):
    """Have a product's published reviews counted anew; those that were deleted count no more."""
    try:
        write(product_id, counted)
    except DatabaseError as error:
        if not elsewhere.refused(error, "catalog"):
            raise
        # The product's row is its service's: it is told when this transaction is committed.
        elsewhere.leave("rating", "catalog", product_id=product_id)


def counted(product_id):
    """Return how a product's reviews rate it, as the reviews are here: owned, or as the stream brings them."""
    return (
        Review.objects.published()
        .filter(product_id=product_id)
        .aggregate(
            rating=Round(Avg("rating", output_field=DecimalField()), precision=2),
            review_count=Count("id"),
        )
    )
