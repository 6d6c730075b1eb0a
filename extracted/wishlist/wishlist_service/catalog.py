"""The catalog, as whoever has only its API knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from strangler.service.client import Client
from strangler.service.errors import Unavailable

_VERSION: Final = {"Api-Version": "1"}
MOST: Final = 2**63 - 1
"""The highest id that there can be."""


class Unintelligible(Unavailable):
    """The catalog answered, but nothing that its documented API says. Compare its version with what this one asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product that is for sale, as far as a wish list shows it."""

    id: int
    slug: str
    name: str
    image: str

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Product:
        """Raises ``KeyError`` or ``TypeError`` for what is no product."""
        return cls(id=int(told["id"]), slug=str(told["slug"]), name=str(told["name"]), image=str(told["image"]))


class Catalog:
    """Questions to the catalog. Raises ``Unavailable`` when it does not answer them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def product(self, id_: int) -> Product | None:
        """Return a product by its id, None when there is none for sale."""
        if not 0 < id_ <= MOST:
            return None
        answer = await self._client.get(f"/api/catalog/products/{id_}/", headers=_VERSION)
        return None if answer.status_code == 404 else _products(answer, alone=True)[0]

    async def called(self, slug: str) -> Product | None:
        """Return a product by the name in its page's address, None when there is none for sale."""
        answer = await self._client.get("/api/catalog/products/", params={"slug": slug}, headers=_VERSION)
        found = _products(answer, alone=False)
        # A catalog that does not know the filter would answer with all its products.
        return next((each for each in found if each.slug == slug), None)


def _products(answer: httpx.Response, *, alone: bool) -> list[Product]:
    if answer.status_code != 200:
        raise Unintelligible(f"the catalog answered {answer.status_code} to {answer.request.url.path}")
    try:
        told = answer.json()
        return [Product.of(each) for each in ([told] if alone else told["results"])]
    except (ValueError, LookupError, TypeError) as error:
        raise Unintelligible(f"the catalog answered {answer.request.url.path} with something else") from error
