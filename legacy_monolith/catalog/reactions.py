"""What follows from products that came by the stream."""

from decimal import Decimal

from strangler_django.reactions import reaction

from catalog.models import PriceChange


@reaction("price")
def keep_trace(change):
    if change.op == "update":
        before, after = (Decimal(row["price"]) for row in (change.old, change.new))
        PriceChange.objects.create(product_id=change.key["id"], before=before, after=after)
