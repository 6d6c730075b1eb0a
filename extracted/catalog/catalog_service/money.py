"""Amounts: kept as whole cents, spoken as decimals."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

# Prices have two places, so a bound given with more is rounded inwards. The context is wide enough for any number
# that fits into a URL: a bound must not move because somebody wrote many digits.
_WIDE: Final = Context(prec=100_000, Emax=999_999_999, Emin=-999_999_999)
_MOST: Final = 2**63 - 1


def decimal(hundredths: int) -> str:
    """Return 1999 as ``19.99``."""
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02}"


def at_least(bound: Decimal) -> int:
    """Return the smallest amount in cents that is not below ``bound``."""
    return _cents(bound, ROUND_CEILING)


def at_most(bound: Decimal) -> int:
    """Return the largest amount in cents that is not above ``bound``."""
    return _cents(bound, ROUND_FLOOR)


def _cents(bound: Decimal, rounding: str) -> int:
    if bound and bound.adjusted() > 20:  # more than a bigint holds: no need to spell it out
        return _MOST if bound > 0 else -_MOST
    cents = int(_WIDE.multiply(bound, Decimal(100)).to_integral_value(rounding, _WIDE))
    return max(-_MOST, min(_MOST, cents))
