"""What follows from stock that moved while a service owns the catalog; see the trigger in migration 0004."""

from django.db.models import F, Sum
from strangler_django.reactions import reaction

from catalog.counted import write_at_owner
from inventory.models import StockLevel


@reaction("stock")
def tell_stock(change):
    write_at_owner(change.key["product_id"], _free, change.token)


def _free(product_id):
    levels = StockLevel.objects.filter(product=product_id)
    return {"stock": levels.aggregate(free=Sum(F("on_hand") - F("reserved")))["free"] or 0}
