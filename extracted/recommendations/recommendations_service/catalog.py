"""The catalog, as whoever has only its API knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import httpx

from recommendations_service.recommend import Product
from strangler.service.client import Client
from strangler.service.errors import Unavailable

_CANDIDATES: Final = 100
_VERSION: Final = {"Api-Version": "1"}
# An id is a bigint; whatever is longer is nobody's.
_MOST: Final = 2**63 - 1

T = TypeVar("T")


class Unintelligible(Unavailable):
    """The catalog answered, but nothing that its documented API says. Compare its version with what this one asks."""


class Catalog:
    """Questions to the catalog. Raises ``Unavailable`` when it does not answer them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def product(self, digits: str) -> Product | None:
        """Return the product with the id ``digits``, None when there is none for sale."""
        id_ = int(digits) if len(digits.lstrip("0")) < 20 else 0
        if not 0 < id_ <= _MOST:
            return None
        answer = await self._client.get(f"/api/catalog/products/{id_}/", headers=_VERSION)
        return None if answer.status_code == 404 else _read(answer, Product.of)

    async def beside(self, product: Product) -> list[Product]:
        """Return the newest hundred that can be had in the product's branch of the catalog."""
        wanted = {
            "category": product.category,
            "in_stock": "true",
            "ordering": "-created_at",
            "page_size": str(_CANDIDATES),
        }
        answer = await self._client.get("/api/catalog/products/", params=wanted, headers=_VERSION)
        return _read(answer, lambda told: [Product.of(each) for each in told["results"]])


def _read(answer: httpx.Response, meaning: Callable[[Any], T]) -> T:
    if answer.status_code != 200:
        raise Unintelligible(f"the catalog answered {answer.status_code} to {answer.request.url.path}")
    try:
        return meaning(answer.json())
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise Unintelligible(f"the catalog answered {answer.request.url.path} with something else") from error
