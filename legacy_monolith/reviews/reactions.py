"""What follows from reviews that came by the stream, or that were written here while a service owns the catalog."""

from strangler_django.reactions import reaction

from catalog.counted import write_at_owner
from reviews.signals import counted


@reaction("rating")
def rate(change):
    products = {row["product_id"] for row in (change.old, change.new, change.key) if row and "product_id" in row}
    for product_id in sorted(products):
        write_at_owner(product_id, counted, f"{change.token}-{product_id}")
