"""Rows as readers see them. The names are the API's; the tables' differ."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urljoin

from catalog_service.money import decimal

Row = tuple[Any, ...]
"""A row as the driver gives it; the order of its columns is that of the query named in each function."""

_MEDIA: Final = "/media/"


def product(row: Row) -> dict[str, Any]:
    """Return the product in ``row`` (``queries.PRODUCT_COLUMNS``)."""
    (
        id_,
        public_id,
        sku,
        slug,
        title,
        description,
        category_id,
        category_slug,
        category_title,
        price_cents,
        currency,
        attributes,
        tags,
        stock,
        image,
        rating_hundredths,
        review_count,
        created_at,
        updated_at,
    ) = row
    return {
        "id": id_,
        "public_id": str(public_id),
        "sku": sku,
        "slug": slug,
        "name": title,
        "description": description,
        "category": {"id": category_id, "slug": category_slug, "name": category_title},
        "price": decimal(price_cents),
        "currency": currency,
        "attributes": attributes,
        "tags": tags,
        "stock": stock,
        "image": _media(image) if image else f"/images/{sku}.svg",
        "rating": None if rating_hundredths is None else decimal(rating_hundredths),
        "review_count": review_count,
        "created_at": _instant(created_at),
        "updated_at": _instant(updated_at),
    }


def with_currency(product: dict[str, Any]) -> dict[str, Any]:
    """Return a product as version 2 of the API tells it: the price together with its currency."""
    priced = {**product, "price": {"amount": product["price"], "currency": product["currency"]}}
    del priced["currency"]
    return priced


def category(row: Row) -> dict[str, object]:
    """Return the category in ``row`` (``queries.CATEGORY_COLUMNS``)."""
    id_, slug, title, parent_slug, position, product_count = row
    return {
        "id": id_,
        "slug": slug,
        "name": title,
        "parent": parent_slug,
        "position": position,
        "product_count": product_count,
    }


def _media(path: str) -> str:
    return urljoin(_MEDIA, quote(path.replace("\\", "/"), safe="/~!*()'").lstrip("/"))


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
