"""What others count of a product, written where its owner is: here, or in the catalog's service."""

from django.db import transaction
from django.utils import timezone

from catalog.models import Product
from shop import elsewhere


@transaction.atomic
def write(product_id, count):
    """Write the numbers that ``count`` returns for a product into its row here."""
    # Two at once: the second waits here and then counts what the first one brought.
    if Product.objects.select_for_update().filter(id=product_id).exists():
        Product.objects.filter(id=product_id).update(**count(product_id), updated_at=timezone.now())


def write_at_owner(product_id, count, token):
    """Write them wherever the product is owned; may ask a service, and so is no part of a request."""
    if not elsewhere.owned("catalog"):
        write(product_id, count)
        return
    try:
        path = f"/internal/products/{product_id}/counted/"
        elsewhere.ask("catalog", "PUT", path, json=_as_there(**count(product_id)), key=token)
    except elsewhere.failures() as error:
        if getattr(error, "status", None) != 404:  # a product that is gone needs no numbers
            raise


def _as_there(**numbers):
    if "rating" in numbers:
        rating = numbers.pop("rating")
        numbers["rating_hundredths"] = None if rating is None else int(rating * 100)
    return numbers
