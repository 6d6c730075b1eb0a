"""What visitors keep, in the service's own database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from strangler.service.database import Database
from strangler.service.page import PageAsked
from wishlist_service.catalog import MOST as MOST_ID
from wishlist_service.catalog import Product

MOST: Final = 200
"""How many products a visitor may keep: a list, not an archive."""

_COLUMNS: Final = b"product, slug, name, image, kept_at"

# One page of a visitor's wishes and how many there are, of one moment; at least one row, NULL when the page is empty.
_PAGE: Final = b"""
SELECT total.count, w.product, w.slug, w.name, w.image, w.kept_at
FROM (SELECT count(*) AS count FROM wish WHERE visitor = %(visitor)s) AS total
LEFT JOIN LATERAL (
    SELECT * FROM wish WHERE visitor = %(visitor)s ORDER BY kept_at DESC, product DESC
    LIMIT %(size)s OFFSET coalesce(%(offset)s::bigint, greatest(0, (total.count - 1) / %(size)s * %(size)s))
) AS w ON true
ORDER BY w.kept_at DESC, w.product DESC
"""
_ONE: Final = b"SELECT " + _COLUMNS + b" FROM wish WHERE visitor = %(visitor)s AND product = %(product)s"
# Two that add at once would each count one too few.
_ALONE: Final = b"SELECT pg_advisory_xact_lock(hashtextextended(%(visitor)s, 0))"
_KEEP: Final = (
    b"""
INSERT INTO wish (visitor, product, slug, name, image)
SELECT %(visitor)s, %(product)s, %(slug)s, %(name)s, %(image)s
WHERE (SELECT count(*) FROM wish WHERE visitor = %(visitor)s AND product <> %(product)s) < %(most)s
ON CONFLICT (visitor, product) DO UPDATE SET slug = excluded.slug, name = excluded.name, image = excluded.image
RETURNING xmax = 0, """
    + _COLUMNS
)
_DROP: Final = b"DELETE FROM wish WHERE visitor = %(visitor)s AND product = %(product)s"


class Full(Exception):
    """The visitor keeps as many products as there may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A product that a visitor keeps, as it was called then."""

    product: int
    slug: str
    name: str
    image: str
    kept_at: datetime

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Wish:
        product, slug, name, image, kept_at = row
        return cls(product=product, slug=slug, name=name, image=image, kept_at=kept_at)


class Wishes:
    """Every visitor's wishes. Raises ``Unavailable`` when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, visitor: str, asked: PageAsked) -> tuple[int, list[Wish]]:
        """Return how many a visitor keeps, and those of one page, the latest first."""
        offset = None if asked.number is None else (min(max(asked.number, 1), MOST_ID // 100) - 1) * asked.size
        async with self._database.connection() as connection:
            cursor = await connection.execute(_PAGE, {"visitor": visitor, "size": asked.size, "offset": offset})
            rows: list[tuple[Any, ...]] = await cursor.fetchall()
        return rows[0][0], [Wish.of(row[1:]) for row in rows if row[1] is not None]

    async def one(self, visitor: str, product: int) -> Wish | None:
        """Return a visitor's wish for a product, if there is one."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_ONE, {"visitor": visitor, "product": product})
            row = await cursor.fetchone()
        return Wish.of(row) if row else None

    async def keep(self, visitor: str, product: Product) -> tuple[Wish, bool]:
        """Keep a product, and return it and whether it is there only now. Raises ``Full``.

        What is kept already stays where it is in the list, and is called as the catalog calls it now.
        """
        parameters = {
            "visitor": visitor,
            "product": product.id,
            "slug": product.slug,
            "name": product.name,
            "image": product.image,
            "most": MOST,
        }
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(_ALONE, {"visitor": visitor})
            cursor = await connection.execute(_KEEP, parameters)
            row: tuple[Any, ...] | None = await cursor.fetchone()
        if row is None:
            raise Full
        return Wish.of(row[1:]), row[0]

    async def drop(self, visitor: str, product: int) -> None:
        """Keep a product no longer; one that is not kept is no mistake."""
        async with self._database.connection() as connection:
            await connection.execute(_DROP, {"visitor": visitor, "product": product})
