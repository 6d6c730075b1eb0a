"""The catalog's pages, which are the same for every visitor."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from catalog_service import search, shapes
from catalog_service.catalog import Catalog
from catalog_service.html import rendered
from catalog_service.language import LANGUAGES, of_path, of_visitor
from catalog_service.shapes import Row
from strangler.service import answer
from strangler.service.answer import Answer
from strangler.service.asked import Asked

_COLUMNS_ABOVE: Final = 2


class Pages:
    """What each page answers to a GET."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def products(self, asked: Asked) -> Answer:
        language = asked.captured["language"]
        wanted = search.read(asked.parameters, await self._catalog.shelves(), language)
        page, rows = await self._catalog.searched(wanted, asked.parameters.get("page"))
        context = {"form": wanted, "page": page, "category": wanted.chosen, "products": [_shown(row) for row in rows]}
        body = rendered("products.html", asked, language, other=_elsewhere(asked), **context)
        return answer.page(body, language)

    async def product(self, asked: Asked) -> Answer:
        language = asked.captured["language"]
        row = await self._catalog.product_page(asked.captured["slug"])
        if row is None:
            return missing(asked, resolved=True)
        product = _shown(row[:-_COLUMNS_ABOVE])
        slug, title = row[-_COLUMNS_ABOVE:]
        product["category"]["parent"] = {"slug": slug, "name": title} if slug else None
        return answer.page(
            rendered("product.html", asked, language, other=_elsewhere(asked), product=product), language
        )


def missing(asked: Asked, *, resolved: bool) -> Answer:
    """Return the page that says that there is nothing; ``resolved`` when the address is one that might have been."""
    by_address = of_path(asked.path)
    language = by_address or of_visitor(asked.headers)
    other = _elsewhere(asked) if resolved else dict.fromkeys(LANGUAGES, asked.target)
    body = rendered("not_found.html", asked, language, other=other)
    return answer.page_missing(body, language, by_address=by_address is not None)


def _elsewhere(asked: Asked) -> dict[str, str]:
    """Return the address of this page in each language."""
    rest = asked.path.split("/", 2)[2]
    return {code: asked.target_at(f"/{code}/{rest}") for code in LANGUAGES}


def _shown(row: Row) -> dict[str, Any]:
    """Return a product as the API tells it, its amounts as numbers."""
    told: dict[str, Any] = shapes.product(row)
    rating = told["rating"]
    return {**told, "price": Decimal(told["price"]), "rating": None if rating is None else Decimal(rating)}
