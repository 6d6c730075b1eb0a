"""Put the invented rows into the database with COPY.

Foreign keys are checked at the end, so tables are filled in the order that suits what is counted on the way: the
products come after their levels, so that the trigger on the levels finds nothing to bring up to date.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count, islice
from typing import TextIO

from django.contrib.contenttypes.models import ContentType
from django.db import connection, models, transaction
from psycopg import sql

from accounts.models import Address, User
from cart.models import Cart, CartItem
from catalog.models import Category, Collection, CollectionEntry, PriceChange, Product
from inventory.models import Delivery, DeliveryLine, Reservation, StockLevel, StockMovement, Supplier, Warehouse
from notifications.models import Letter, Notification, Preference
from orders.models import Coupon, Order, OrderEvent, OrderLine, Shipment
from payments.models import GatewayCall, Payment, Refund
from reporting.models import SavedReport
from reporting.sales import close_days
from reviews.models import Photo, Review, Vote
from shop.seeding import browsing, photos, rows, stores, told, trade
from shop.seeding.progress import bar
from shop.seeding.shelf import Shelf

PRODUCTS_AT_SCALE_1 = 5_000
REVIEWS_AT_SCALE_1 = 20_000
USERS_AT_SCALE_1 = 400
ORDERS_AT_SCALE_1 = 4_000
DELIVERIES_AT_SCALE_1 = 60
# So many orders are held in memory while the tables take their rows from them.
ORDERS_AT_ONCE = 5_000

RATE_PRODUCTS = """
UPDATE catalog_product SET rating = counted.rating, review_count = counted.count
FROM (
    SELECT product_id, round(avg(rating), 2) AS rating, count(*) AS count
    FROM reviews_review WHERE is_published GROUP BY product_id
) AS counted
WHERE catalog_product.id = counted.product_id
"""
# Their keys come from the database: let it count from 1 whatever went before.
COUNT_FROM_1 = "SELECT setval(pg_get_serial_sequence('reporting_dailysales', 'id'), 1, false)"
# The same moment every time, as if each day had been closed in its night.
CLOSED_IN_THE_NIGHT = "UPDATE reporting_dailysales SET closed_at = (day + 1 + time '00:10') AT TIME ZONE 'UTC'"
SAVED_REPORTS = [
    (1, "Kitchen by day", 1, '{"by": "day", "category": "kitchen"}', True, trade.CLOSED),
    (2, "Last month by category", 1, '{"by": "category"}', True, trade.CLOSED),
    (3, "Two years", 1, '{"since": "2023-11-01", "until": "2025-10-26"}', False, trade.CLOSED),
]


@dataclass(frozen=True, kw_only=True)
class Size:
    products: int
    reviews: int
    users: int
    orders: int
    deliveries: int

    @classmethod
    def of(cls, scale: float) -> "Size":
        return cls(
            products=max(1, round(PRODUCTS_AT_SCALE_1 * scale)),
            reviews=round(REVIEWS_AT_SCALE_1 * scale),
            users=max(50, round(USERS_AT_SCALE_1 * scale)),
            orders=round(ORDERS_AT_SCALE_1 * scale),
            deliveries=max(5, round(DELIVERIES_AT_SCALE_1 * scale)),
        )


@transaction.atomic
def load(size: Size, password: str, stream: TextIO | None) -> None:
    """Fill the empty shop, all of it or nothing."""
    users = list(rows.users(size.users, password))
    customers = [_customer(user) for user in users]
    tree = rows.categories()
    _copy(User, rows.USER_COLUMNS, bar(users, size.users, "users", stream))
    _copy(Address, rows.ADDRESS_COLUMNS, rows.addresses(size.users))
    _copy(Category, rows.CATEGORY_COLUMNS, bar(tree, len(tree), "categories", stream))
    shelf = Shelf(rows.products(size.products))
    lying = stores.Stores(shelf, size.deliveries)
    _trade(bar(trade.orders(size.orders, customers, shelf), size.orders, "orders", stream), shelf, lying)
    _fill_stores(lying)
    _copy(Product, rows.PRODUCT_COLUMNS, bar(rows.products(size.products), size.products, "products", stream))
    _fill_windows(customers, shelf)
    reviews = rows.reviews(size.reviews, size.products, size.users)
    _copy(Review, rows.REVIEW_COLUMNS, bar(reviews, size.reviews, "reviews", stream))
    _copy(Vote, told.VOTE_COLUMNS, told.votes(size.reviews // 2, size.reviews, size.users))
    _copy(Photo, photos.PHOTO_COLUMNS, photos.photos(size.reviews))
    _count()


def _customer(user: tuple) -> trade.Customer:
    known = dict(zip(rows.USER_COLUMNS, user, strict=True))
    name = f"{known['first_name']} {known['last_name']}"
    return trade.Customer(id=known["id"], name=name, email=known["email"], joined=known["date_joined"])


def _trade(orders: Iterable[trade.Bought], shelf: Shelf, lying: stores.Stores) -> None:
    """Fill what comes of orders, some thousand orders at a time."""
    uses, ids = Counter(), {model: count(1) for model in _OF_ORDERS}
    order_type = ContentType.objects.get_for_model(Order).id
    orders = iter(orders)
    while bought := list(islice(orders, ORDERS_AT_ONCE)):
        uses.update(order.coupon for order in bought if order.coupon)
        _copy(Order, trade.ORDER_COLUMNS, trade.order_rows(bought))
        _copy(OrderLine, trade.LINE_COLUMNS, trade.line_rows(bought, shelf, ids[OrderLine]))
        _copy(OrderEvent, trade.EVENT_COLUMNS, trade.event_rows(bought, ids[OrderEvent]))
        _copy(Shipment, trade.SHIPMENT_COLUMNS, trade.shipment_rows(bought, ids[Shipment]))
        _copy(Payment, trade.PAYMENT_COLUMNS, trade.payment_rows(bought))
        _copy(Refund, trade.REFUND_COLUMNS, trade.refund_rows(bought, ids[Refund]))
        _copy(GatewayCall, trade.CALL_COLUMNS, trade.call_rows(bought, ids[GatewayCall]))
        _copy(Reservation, stores.RESERVATION_COLUMNS, lying.reservation_rows(bought, ids[Reservation]))
        _copy(StockMovement, stores.MOVEMENT_COLUMNS, lying.sale_rows(bought))
        notifications = told.notification_rows(bought, order_type, ids[Notification])
        _copy(Notification, told.NOTIFICATION_COLUMNS, notifications)
        _copy(Letter, told.LETTER_COLUMNS, told.letter_rows(bought, ids[Letter]))
    _copy(Coupon, trade.COUPON_COLUMNS, trade.coupons(uses))
    _copy(Coupon.categories.through, ["id", "coupon_id", "category_id"], [(1, trade.COUPON_OF_CATEGORIES, 1)])
    of_products = [(product, trade.COUPON_OF_PRODUCTS, product) for product in range(1, min(3, len(shelf)) + 1)]
    _copy(Coupon.products.through, ["id", "coupon_id", "product_id"], of_products)


_OF_ORDERS = [OrderLine, OrderEvent, Shipment, Refund, GatewayCall, Reservation, Notification, Letter]


def _fill_stores(lying: stores.Stores) -> None:
    _copy(Warehouse, stores.WAREHOUSE_COLUMNS, stores.WAREHOUSES)
    _copy(Supplier, stores.SUPPLIER_COLUMNS, stores.suppliers())
    _copy(Delivery, stores.DELIVERY_COLUMNS, lying.delivery_rows())
    _copy(DeliveryLine, stores.DELIVERY_LINE_COLUMNS, lying.delivery_line_rows())
    _copy(StockMovement, stores.MOVEMENT_COLUMNS, lying.arrival_rows())
    _copy(StockMovement, stores.MOVEMENT_COLUMNS, lying.opening_rows())
    _copy(StockLevel, stores.LEVEL_COLUMNS, lying.level_rows())


def _fill_windows(customers: list[trade.Customer], shelf: Shelf) -> None:
    _copy(Collection, browsing.COLLECTION_COLUMNS, browsing.collections())
    _copy(CollectionEntry, browsing.ENTRY_COLUMNS, browsing.entries(shelf))
    _copy(PriceChange, browsing.PRICE_COLUMNS, browsing.price_changes(shelf))
    _copy(Cart, browsing.CART_COLUMNS, browsing.carts(customers))
    _copy(CartItem, browsing.ITEM_COLUMNS, browsing.items(customers, shelf))
    _copy(Preference, told.PREFERENCE_COLUMNS, told.preferences(customers))
    _copy(SavedReport, ["id", "name", "owner_id", "query", "is_shared", "created_at"], SAVED_REPORTS)


def _count() -> None:
    with connection.cursor() as cursor:
        cursor.execute(RATE_PRODUCTS)
        cursor.execute(COUNT_FROM_1)
    close_days((trade.CLOSED - trade.KEPT).date(), trade.CLOSED.date())
    with connection.cursor() as cursor:
        cursor.execute(CLOSED_IN_THE_NIGHT)


def analyze() -> None:
    """Let the planner know the new rows at once."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _copy(model: type[models.Model], columns: list[str], records: Iterable[tuple]) -> None:
    table = sql.Identifier(model._meta.db_table)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    with connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, names)) as copy:
            for record in records:
                copy.write_row(record)
        if isinstance(model._meta.pk, models.AutoField):
            bump = sql.SQL("SELECT setval(pg_get_serial_sequence(%s, 'id'), (SELECT coalesce(max(id), 1) FROM {}))")
            cursor.execute(bump.format(table), [model._meta.db_table])
