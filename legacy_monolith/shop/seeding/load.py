"""Put the invented rows into the database with COPY."""

from dataclasses import dataclass
from typing import TextIO

from django.db import connection, transaction
from psycopg import sql

from accounts.models import Address, User
from catalog.models import Category, Product
from reviews.models import Review
from shop.seeding import rows
from shop.seeding.progress import bar

PRODUCTS_AT_SCALE_1 = 5_000
REVIEWS_AT_SCALE_1 = 20_000
USERS_AT_SCALE_1 = 400

RATE_PRODUCTS = """
UPDATE catalog_product SET rating = counted.rating, review_count = counted.count
FROM (
    SELECT product_id, round(avg(rating), 2) AS rating, count(*) AS count
    FROM reviews_review WHERE is_published GROUP BY product_id
) AS counted
WHERE catalog_product.id = counted.product_id
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    products: int
    reviews: int
    users: int

    @classmethod
    def of(cls, scale: float) -> "Size":
        return cls(
            products=max(1, round(PRODUCTS_AT_SCALE_1 * scale)),
            reviews=round(REVIEWS_AT_SCALE_1 * scale),
            users=max(50, round(USERS_AT_SCALE_1 * scale)),
        )


@transaction.atomic
def load(size: Size, password: str, stream: TextIO | None) -> None:
    """Fill the empty shop, all of it or nothing."""
    tree = rows.categories()
    _copy(User, rows.USER_COLUMNS, bar(rows.users(size.users, password), size.users, "users", stream))
    _copy(Address, rows.ADDRESS_COLUMNS, rows.addresses(size.users))
    _copy(Category, rows.CATEGORY_COLUMNS, bar(tree, len(tree), "categories", stream))
    _copy(Product, rows.PRODUCT_COLUMNS, bar(rows.products(size.products), size.products, "products", stream))
    reviews = rows.reviews(size.reviews, size.products, size.users)
    _copy(Review, rows.REVIEW_COLUMNS, bar(reviews, size.reviews, "reviews", stream))
    with connection.cursor() as cursor:
        cursor.execute(RATE_PRODUCTS)


def analyze() -> None:
    """Let the planner know the new rows at once."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _copy(model, columns, records) -> None:
    table = sql.Identifier(model._meta.db_table)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    with connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, names)) as copy:
            for record in records:
                copy.write_row(record)
        bump = sql.SQL("SELECT setval(pg_get_serial_sequence(%s, 'id'), (SELECT coalesce(max(id), 1) FROM {}))")
        cursor.execute(bump.format(table), [model._meta.db_table])
