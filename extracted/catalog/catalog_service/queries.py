"""The statements that the catalog's answers come from.

A list is one statement: how many rows match, when anything last changed, and the page itself, all of one moment.
It gives at least one row, whose product or category is NULL when the page is empty.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import Final

from psycopg.sql import SQL, Composable, Identifier, Placeholder

# When anything in the catalog last changed, what is not published included. Two looks at the end of an index.
_CHANGED: Final = SQL("greatest((SELECT max(updated_at) FROM product), (SELECT max(updated_at) FROM category))")

_PRODUCT_COLUMNS: Final = SQL(
    """p.id, p.public_id, p.sku, p.slug, p.title, p.description,
    c.id AS category_id, c.slug AS category_slug, c.title AS category_title,
    p.price_cents, p.currency, p.attributes, p.tags, p.stock, p.image, p.rating_hundredths, p.review_count,
    p.created_at, p.updated_at"""
)
_CATEGORY_COLUMNS: Final = SQL(
    """c.id, c.slug, c.title, (SELECT parent.slug FROM category AS parent WHERE parent.id = c.parent_id) AS parent_slug,
    c.position, (SELECT count(*) FROM product AS p WHERE p.category_id = c.id AND p.is_published) AS product_count"""
)

# A product by its id. It shows its category's name, so it changes when that does.
PRODUCT: Final = (
    SQL(
        "SELECT greatest(p.updated_at, c.updated_at), {columns}"
        " FROM product AS p JOIN category AS c ON c.id = p.category_id WHERE p.id = %(id)s AND p.is_published"
    )
    .format(columns=_PRODUCT_COLUMNS)
    .as_bytes(None)
)

# A product by its slug, with the category above its own.
PRODUCT_PAGE: Final = (
    SQL(
        "SELECT greatest(p.updated_at, c.updated_at), {columns}, above.slug, above.title"
        " FROM product AS p JOIN category AS c ON c.id = p.category_id"
        " LEFT JOIN category AS above ON above.id = c.parent_id"
        " WHERE p.slug = %(slug)s AND p.is_published"
    )
    .format(columns=_PRODUCT_COLUMNS)
    .as_bytes(None)
)

# All categories: they are few.
TREE: Final = b"SELECT id, parent_id, slug, title FROM category ORDER BY position, id"

# A category by its slug.
CATEGORY: Final = (
    SQL("SELECT {changed}, {columns} FROM category AS c WHERE c.slug = %(slug)s")
    .format(changed=_CHANGED, columns=_CATEGORY_COLUMNS)
    .as_bytes(None)
)

# A page of categories, in reading order.
CATEGORIES: Final = (
    SQL(
        """
    SELECT total.count, {changed}, c.*
    FROM (SELECT count(*) AS count FROM category) AS total
    LEFT JOIN LATERAL (
        SELECT {columns} FROM category AS c ORDER BY c.position, c.id
        LIMIT %(size)s OFFSET coalesce(%(offset)s::bigint, greatest(0, (total.count - 1) / %(size)s * %(size)s))
    ) AS c ON true
    ORDER BY c.position, c.id
    """
    )
    .format(changed=_CHANGED, columns=_CATEGORY_COLUMNS)
    .as_bytes(None)
)

# A category, by its slug, and all that stand below it.
BRANCH: Final = b"""
WITH RECURSIVE branch (id) AS (
    SELECT id FROM category WHERE slug = %(slug)s
    UNION
    SELECT category.id FROM category JOIN branch ON category.parent_id = branch.id
)
SELECT id FROM branch
"""

COUNTED: Final = ("stock", "rating_hundredths", "review_count")
"""Columns that others count, and write."""

_CONDITIONS: Final = MappingProxyType(
    {
        "branch": SQL("p.category_id = ANY (%(branch)s)"),
        "min_cents": SQL("p.price_cents >= %(min_cents)s"),
        "max_cents": SQL("p.price_cents <= %(max_cents)s"),
        "stocked": SQL("p.stock > 0"),
        "sold_out": SQL("p.stock = 0"),
        "slug": SQL("p.slug = %(slug)s"),
    }
)
_ORDERINGS: Final = MappingProxyType(
    {
        "name": SQL("p.title"),
        "-name": SQL("p.title DESC"),
        "price": SQL("p.price_cents"),
        "-price": SQL("p.price_cents DESC"),
        "created_at": SQL("p.created_at"),
        "-created_at": SQL("p.created_at DESC"),
    }
)
# A word counts wherever it stands in one of these. Matched as upper(...) LIKE upper(...), which is how the other
# stack ignores case; anything cleverer would find other rows.
_SEARCHED: Final = (SQL("p.title"), SQL("p.description"), SQL("p.sku"))


@lru_cache(maxsize=512)
def products(conditions: tuple[str, ...], words: int, ordering: tuple[str, ...]) -> bytes:
    """Return the statement for a page of products; its words are the parameters ``word0``, ``word1`` ..."""
    wanted = [SQL("p.is_published"), *(_CONDITIONS[each] for each in conditions), *map(_contains, range(words))]
    return (
        SQL(
            """
    SELECT total.count, {changed}, p.*
    FROM (SELECT count(*) AS count FROM product AS p WHERE {where}) AS total
    LEFT JOIN LATERAL (
        SELECT {columns} FROM product AS p JOIN category AS c ON c.id = p.category_id
        WHERE {where} ORDER BY {ordering}
        LIMIT %(size)s OFFSET coalesce(%(offset)s::bigint, greatest(0, (total.count - 1) / %(size)s * %(size)s))
    ) AS p ON true
    ORDER BY {ordering}
    """
        )
        .format(
            changed=_CHANGED,
            columns=_PRODUCT_COLUMNS,
            where=SQL(" AND ").join(wanted),
            ordering=SQL(", ").join([*(_ORDERINGS[each] for each in ordering), SQL("p.id")]),
        )
        .as_bytes(None)
    )


@lru_cache(maxsize=8)
def counting(columns: tuple[str, ...]) -> bytes:
    """Return the statement that writes some of ``COUNTED``; what is so already stays, with its moment."""
    pairs = [(Identifier(each), Placeholder(each)) for each in COUNTED if each in columns]
    return (
        SQL(
            "UPDATE product SET {sets}, updated_at = CASE WHEN {differs} THEN clock_timestamp() ELSE updated_at END"
            " WHERE id = %(id)s"
        )
        .format(
            sets=SQL(", ").join(SQL("{} = {}").format(*pair) for pair in pairs),
            differs=SQL(" OR ").join(SQL("{} IS DISTINCT FROM {}").format(*pair) for pair in pairs),
        )
        .as_bytes(None)
    )


def _contains(number: int) -> Composable:
    word = Placeholder(f"word{number}")
    like = [SQL("upper({}) LIKE upper({})").format(column, word) for column in _SEARCHED]
    return SQL("({})").format(SQL(" OR ").join(like))
