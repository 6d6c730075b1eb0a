"""What sells best now: asked for often, and cached until the next order is paid."""

from django.core.cache import cache
from django.db import connection, transaction

from orders.signals import order_cancelled, order_paid

DAYS, MOST = 30, 10
KEY = "reporting.bestsellers"
# Where the cache is not shared, other processes are behind by that much.
SECONDS = 300

BESTSELLERS = """
SELECT product.id, product.slug, product.name, sum(line.quantity) AS units, sum(line.quantity * line.price) AS revenue
FROM orders_orderevent event
JOIN orders_order bought ON bought.id = event.order_id
JOIN orders_orderline line ON line.order_id = bought.id
JOIN catalog_product product ON product.id = line.product_id
WHERE event.kind = 'paid' AND event.at >= now() - make_interval(days => %(days)s)
    AND bought.status IN ('paid', 'shipped') AND bought.deleted_at IS NULL
GROUP BY product.id
ORDER BY units DESC, revenue DESC, product.id
LIMIT %(most)s
"""


def connect():
    order_paid.connect(_sold, dispatch_uid="reporting")
    order_cancelled.connect(_sold, dispatch_uid="reporting")


def bestsellers():
    return cache.get_or_set(KEY, _count, SECONDS)


def _count():
    with connection.cursor() as cursor:
        cursor.execute(BESTSELLERS, {"days": DAYS, "most": MOST})
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def _sold(sender, **kwargs):
    # Robust: the order is paid all the same when the cache is away.
    transaction.on_commit(_forget, robust=True)


def _forget():
    cache.delete(KEY)
