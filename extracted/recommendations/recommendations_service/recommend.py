"""Which products are like another one: the rule alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

MOST: Final = 8
_TOLD: Final = ("id", "slug", "name", "price", "currency", "image", "rating")


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product as the catalog's API tells it, in its first version; ``told`` is what readers are told of it."""

    id: int
    category: str
    price: Decimal
    tags: frozenset[str]
    told: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Product:
        """Raises ``KeyError``, ``TypeError``, ``ValueError`` or ``ArithmeticError`` for what is no product."""
        return cls(
            id=int(raw["id"]),
            category=raw["category"]["slug"],
            price=_price(raw["price"]),
            tags=frozenset(raw["tags"]),
            told={name: raw[name] for name in _TOLD},
        )


def _price(text: str) -> Decimal:
    price = Decimal(text)
    if not price.is_finite():
        raise ValueError(f"{text} is no price")
    return price


def rank(product: Product, candidates: Iterable[Product]) -> list[Product]:
    """Return the ``MOST`` of ``candidates`` that are most like ``product``, best first.

    More tags in common come first, then a nearer price, then the lower id. The product is never among its like.
    """

    def unlikeness(candidate: Product) -> tuple[int, Decimal, int]:
        return -len(product.tags & candidate.tags), abs(candidate.price - product.price), candidate.id

    return sorted((each for each in candidates if each.id != product.id), key=unlikeness)[:MOST]


def shown(product: Product, version: str) -> dict[str, Any]:
    """Return what a reader of the API's ``version`` is told of a product that is recommended."""
    told = dict(product.told)
    if version != "1":
        told["price"] = {"amount": told["price"], "currency": told.pop("currency")}
    return told
