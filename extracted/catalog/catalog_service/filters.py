"""What a reader of the product list asks for, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Final

from catalog_service.money import at_least, at_most
from catalog_service.words import words
from strangler.service.answer import Refused

_NO_NUMBER: Final = "Enter a number."
_MOST_DECIMALS: Final = 50
_TOO_FINE: Final = f"Ensure that there are no more than {_MOST_DECIMALS} decimal places."
_TOO_MUCH: Final = "Ensure this value is less than or equal to 1e+50."
_NO_CHOICE: Final = "Select a valid choice. That choice is not one of the available choices."
_NO_NUL: Final = "Null characters are not allowed."
_TRUE_OR_FALSE: Final = {"1": True, "true": True, "0": False, "false": False}
_ORDERINGS: Final = {"name", "price", "created_at"}


class Unreadable(Refused):
    """Filters that cannot be understood; ``errors`` is the body to answer with."""

    def __init__(self, errors: object) -> None:
        super().__init__(400, errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The product list's filters, understood. ``branch`` holds the category asked for and all below it."""

    branch: tuple[int, ...] | None = None
    min_cents: int | None = None
    max_cents: int | None = None
    in_stock: bool | None = None
    slug: str | None = None
    words: tuple[str, ...] = ()
    ordering: tuple[str, ...] = ()


def read(parameters: Mapping[str, str], branch: tuple[int, ...] | None) -> Filters:
    """Return the filters in ``parameters``; raises ``Unreadable`` with every error of the first step that fails.

    ``branch`` is what the category in ``parameters`` was found to be, None when it was not found.
    """
    errors: dict[str, list[str]] = {}
    if category := parameters.get("category", ""):
        _check_category(category, branch, errors)
    least = _bound(parameters, "min_price", errors)
    most = _bound(parameters, "max_price", errors)
    if "\0" in (slug := parameters.get("slug", "").strip()):
        errors["slug"] = [_NO_NUL]
    if errors:
        raise Unreadable(errors)
    search = parameters.get("search", "")
    if "\0" in search:
        raise Unreadable([_NO_NUL])
    return Filters(
        branch=branch if category else None,
        min_cents=None if least is None else at_least(least),
        max_cents=None if most is None else at_most(most),
        in_stock=_TRUE_OR_FALSE.get(parameters.get("in_stock", "").lower()),
        slug=slug or None,
        words=words(search),
        ordering=_ordering(parameters.get("ordering", "")),
    )


def _check_category(slug: str, branch: tuple[int, ...] | None, errors: dict[str, list[str]]) -> None:
    if "\0" in slug:
        errors["category"] = [_NO_NUL]
    elif branch is None:
        errors["category"] = [_NO_CHOICE]


def _bound(parameters: Mapping[str, str], name: str, errors: dict[str, list[str]]) -> Decimal | None:
    text = parameters.get(name, "")
    if not text:
        return None
    try:
        bound = Decimal(text)
    except DecimalException:
        bound = Decimal("NaN")
    if not bound.is_finite():
        errors[name] = [_NO_NUMBER]
        return None
    if wrong := list(_wrong(bound)):
        errors[name] = wrong
    return bound


def _wrong(bound: Decimal) -> Iterator[str]:
    exponent = bound.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > _MOST_DECIMALS:
        yield _TOO_FINE
    if bound > Decimal("1e50"):
        yield _TOO_MUCH


def _ordering(text: str) -> tuple[str, ...]:
    asked = (term.strip() for term in text.split(","))
    return tuple(term for term in asked if term.removeprefix("-") in _ORDERINGS)
