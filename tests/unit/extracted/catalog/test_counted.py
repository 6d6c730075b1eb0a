"""What may be told of a product's numbers."""

from __future__ import annotations

import json

import pytest
from catalog_service.counted import read


@pytest.mark.parametrize(
    "told",
    [
        {"stock": 0},
        {"stock": 2**31 - 1},
        {"rating_hundredths": None, "review_count": 0},
        {"rating_hundredths": 500, "review_count": 3, "stock": 7},
    ],
)
def test_whole_numbers_within_their_bounds_are_taken(told: dict[str, int | None]) -> None:
    assert read(json.dumps(told).encode()) == told


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"7",
        b"\xff",
        b'{"stock": -1}',
        b'{"stock": 2147483648}',
        b'{"stock": null}',
        b'{"stock": true}',
        b'{"stock": 1.0}',
        b'{"stock": "1"}',
        b'{"stock": 1, "sku": 2}',
        b'{"rating_hundredths": 501}',
        b'{"price_cents": 1}',
    ],
)
def test_anything_else_is_refused(told: bytes) -> None:
    assert read(told) is None
