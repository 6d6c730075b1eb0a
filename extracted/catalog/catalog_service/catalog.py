"""The catalog's rows, out of its own database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from catalog_service import queries
from catalog_service.filters import Filters
from catalog_service.numbering import PER_PAGE, Numbered
from catalog_service.search import Search, Shelf
from catalog_service.shapes import Row
from catalog_service.words import pattern
from strangler.service.database import Database
from strangler.service.page import PageAsked

_MOST: Final = 2**63 - 1


FENCED: Final = "SF001"
"""The SQLSTATE of a write that a fence refuses."""


class Fenced(Exception):
    """The catalog is somebody else's at this moment: nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The rows of one page, how many there are on all pages, and when anything last changed."""

    count: int
    changed_at: datetime | None
    rows: list[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class One:
    """One row, and when anything last changed."""

    changed_at: datetime
    row: Row


class Catalog:
    """Reads of the catalog; each is one statement. Raises ``Unavailable`` when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def product(self, digits: str) -> One | None:
        # An id is a bigint; whatever is longer is nobody's.
        id_ = int(digits) if len(digits.lstrip("0")) < 20 else 0
        return await self._one(queries.PRODUCT, {"id": id_}) if 0 < id_ <= _MOST else None

    async def product_page(self, slug: str) -> Row | None:
        """Return a product by its slug, and in two more columns slug and title of the category above its own."""
        found = await self._one(queries.PRODUCT_PAGE, {"slug": slug})
        return found.row if found else None

    async def shelves(self) -> tuple[Shelf, ...]:
        """Return every category in reading order, each below the one that it belongs to."""
        children: dict[int | None, list[Row]] = {}
        for row in await self._rows(queries.TREE, {}):
            children.setdefault(row[1], []).append(row)
        return tuple(_walk(children, None, 0))

    async def searched(self, search: Search, asked: str | None) -> tuple[Numbered, list[Row]]:
        """Return the page of a search that ``asked`` means, the last one for too high a number."""
        wanted = Filters(branch=search.branch, words=search.words, ordering=search.ordering)
        first = Numbered.of(asked, count=2**31)
        listed = await self.products(wanted, PageAsked(number=first.number, size=PER_PAGE))
        page = Numbered.of(asked, listed.count)
        if page.number != first.number:
            listed = await self.products(wanted, PageAsked(number=page.number, size=PER_PAGE))
        return page, listed.rows

    async def category(self, slug: str) -> One | None:
        return await self._one(queries.CATEGORY, {"slug": slug})

    async def categories(self, page: PageAsked) -> Listed:
        return await self._listed(queries.CATEGORIES, _limits(page))

    async def products(self, filters: Filters, page: PageAsked) -> Listed:
        found = {f"word{number}": pattern(word) for number, word in enumerate(filters.words)}
        wanted = {
            "branch": _array(filters.branch),
            "min_cents": filters.min_cents,
            "max_cents": filters.max_cents,
            "slug": filters.slug,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        conditions = (*given, *_stock(filters.in_stock))
        statement = queries.products(conditions, len(found), filters.ordering)
        return await self._listed(statement, {**given, **found, **_limits(page)})

    async def branch(self, slug: str) -> tuple[int, ...] | None:
        """Return the ids of a category and all below it, None when there is no such category."""
        if "\0" in slug:  # PostgreSQL's text holds none
            return None
        rows = await self._rows(queries.BRANCH, {"slug": slug})
        return tuple(id_ for (id_,) in rows) or None

    async def count(self, digits: str, counted: Mapping[str, int | None]) -> bool:
        """Write what others count of a product, by column; return whether there is one.

        Raises ``Fenced`` while somebody else owns the catalog.
        """
        id_ = int(digits) if len(digits.lstrip("0")) < 20 else 0
        try:
            async with self._database.connection() as connection:
                written = await connection.execute(queries.counting(tuple(counted)), {**counted, "id": min(id_, _MOST)})
        except psycopg.Error as error:
            if error.sqlstate == FENCED:
                raise Fenced from error
            raise
        return written.rowcount == 1

    async def _one(self, statement: bytes, parameters: dict[str, Any]) -> One | None:
        rows = await self._rows(statement, parameters)
        return One(changed_at=rows[0][0], row=rows[0][1:]) if rows else None

    async def _listed(self, statement: bytes, parameters: dict[str, Any]) -> Listed:
        rows = await self._rows(statement, parameters)
        count, changed_at, id_ = rows[0][:3]
        return Listed(count=count, changed_at=changed_at, rows=[row[2:] for row in rows] if id_ is not None else [])

    async def _rows(self, statement: bytes, parameters: dict[str, Any]) -> list[Row]:
        async with self._database.connection() as connection:
            cursor = await connection.execute(statement, parameters, binary=True)
            return await cursor.fetchall()


def _walk(children: Mapping[int | None, list[Row]], parent: int | None, depth: int) -> Iterator[Shelf]:
    for id_, _, slug, title in children.get(parent, []):
        yield Shelf(id=id_, slug=slug, title=title, depth=depth)
        yield from _walk(children, id_, depth + 1)


def _limits(page: PageAsked) -> dict[str, int | None]:
    if page.number is None:
        return {"size": page.size, "offset": None}
    # No table has a billion pages; the product stays within a bigint whatever was asked.
    return {"size": page.size, "offset": (min(max(page.number, 1), 1_000_000_000) - 1) * page.size}


def _stock(wanted: bool | None) -> tuple[str, ...]:
    return () if wanted is None else (("stocked",) if wanted else ("sold_out",))


def _array(ids: tuple[int, ...] | None) -> list[int] | None:
    return None if ids is None else list(ids)
