"""Which products are like another one, and what is told of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recommendations_service.recommend import MOST, Product, rank, shown


def raw(number: int, price: str = "10.00", *tags: str) -> dict[str, Any]:
    return {
        "id": number,
        "slug": "cup",
        "name": "Cup",
        "description": "",
        "category": {"id": 1, "slug": "cups", "name": "Cups"},
        "price": price,
        "currency": "EUR",
        "tags": list(tags),
        "image": "/images/CUP.svg",
        "rating": None,
    }


def thing(number: int, price: str = "10.00", *tags: str) -> Product:
    return Product.of(raw(number, price, *tags))


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([], []),
        ([thing(1)], []),
        ([thing(3), thing(2)], [2, 3]),
        ([thing(2, "10.01"), thing(3, "9.98"), thing(4, "10.00")], [4, 2, 3]),
        ([thing(2, "12.00"), thing(3, "8.00"), thing(4, "11.99")], [4, 2, 3]),
        ([thing(2), thing(3, "99.00", "gift"), thing(4, "500.00", "gift", "vegan")], [4, 3, 2]),
        ([thing(2, "10.00", "gift", "gift"), thing(3, "10.01", "vegan", "gift")], [3, 2]),
        ([thing(2, "10.00", "new"), thing(3)], [2, 3]),
        ([thing(number) for number in range(20, 1, -1)], [2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_the_like_are_ranked_by_tags_then_price_then_id(candidates: list[Product], expected: list[int]) -> None:
    assert [each.id for each in rank(thing(1, "10.00", "gift", "vegan"), candidates)] == expected


PRODUCTS = st.builds(
    lambda number, cents, tags: thing(number, f"{cents / 100:.2f}", *tags),
    st.integers(min_value=1, max_value=50),
    st.integers(min_value=0, max_value=5_000),
    st.sets(st.sampled_from(["gift", "vegan", "new", "blue"])),
)


@given(PRODUCTS, st.lists(PRODUCTS, unique_by=lambda product: product.id), st.randoms())
def test_the_order_of_the_candidates_does_not_matter(product: Product, candidates: list[Product], random: Any) -> None:
    ranked = rank(product, candidates)
    shuffled = random.sample(candidates, len(candidates))
    assert rank(product, shuffled) == ranked
    assert len(ranked) == min(MOST, len({each.id for each in candidates} - {product.id}))


def test_what_is_told_has_one_order() -> None:
    assert list(shown(thing(1), "1").items()) == [
        ("id", 1),
        ("slug", "cup"),
        ("name", "Cup"),
        ("price", "10.00"),
        ("currency", "EUR"),
        ("image", "/images/CUP.svg"),
        ("rating", None),
    ]


def test_the_second_version_tells_a_price_with_its_currency() -> None:
    told = shown(thing(1), "2")
    assert (told["price"], list(told)) == (
        {"amount": "10.00", "currency": "EUR"},
        ["id", "slug", "name", "price", "image", "rating"],
    )


@pytest.mark.parametrize("name", ["id", "slug", "name", "category", "price", "currency", "tags", "image", "rating"])
def test_what_lacks_something_is_no_product(name: str) -> None:
    told = raw(1)
    del told[name]
    with pytest.raises(KeyError):
        Product.of(told)


@pytest.mark.parametrize(
    ("name", "nonsense"), [("id", "cup"), ("price", "much"), ("price", "NaN"), ("price", "Infinity"), ("tags", None)]
)
def test_what_cannot_be_compared_is_no_product(name: str, nonsense: object) -> None:
    with pytest.raises((TypeError, ValueError, ArithmeticError)):
        Product.of({**raw(1), name: nonsense})
