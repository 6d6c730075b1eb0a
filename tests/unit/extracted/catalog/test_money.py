from decimal import Decimal

import pytest
from catalog_service.money import at_least, at_most, decimal
from hypothesis import given
from hypothesis import strategies as st

bounds = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12)


@pytest.mark.parametrize(("cents", "text"), [(0, "0.00"), (5, "0.05"), (1990, "19.90"), (9_999_999_999, "99999999.99")])
def test_an_amount_has_two_places(cents: int, text: str) -> None:
    assert decimal(cents) == text


@given(bounds)
def test_a_bound_is_rounded_inwards_to_the_next_cent(bound: Decimal) -> None:
    least, most = at_least(bound), at_most(bound)
    assert Decimal(least - 1).scaleb(-2) < bound <= Decimal(least).scaleb(-2)
    assert Decimal(most).scaleb(-2) <= bound < Decimal(most + 1).scaleb(-2)


@pytest.mark.parametrize("text", ["1e50", "1e999999", "9" * 60])
def test_more_than_any_price_stays_within_a_bigint(text: str) -> None:
    assert at_most(Decimal(text)) == 2**63 - 1
    assert at_least(-Decimal(text)) == -(2**63 - 1)


def test_next_to_nothing_is_above_nothing() -> None:
    assert (at_least(Decimal("1e-999999")), at_most(Decimal("1e-999999"))) == (1, 0)


@pytest.mark.parametrize("text", ["0", "-0", "0e40000", "0e-40000"])
def test_nothing_is_nothing_however_it_is_written(text: str) -> None:
    assert (at_least(Decimal(text)), at_most(Decimal(text))) == (0, 0)


def test_a_bound_of_many_digits_does_not_move() -> None:
    assert at_least(Decimal("14.90" + "0" * 500)) == 1490
    assert at_least(Decimal("14.90" + "0" * 500 + "1")) == 1491
