"""A bank that lives in this process: some cards pay, some are declined, and one finds the line dead."""

from dataclasses import dataclass

DECLINED = "4000000000000002"
DEAD_LINE = "4000000000000119"


class GatewayError(Exception):
    """The bank did not answer; nothing was charged."""


class InvalidCard(Exception):
    """No bank has given out such a number."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    paid: bool
    code: str


def charge(number, amount, currency):
    """Ask the bank for the money. Raises ``InvalidCard`` or ``GatewayError``."""
    if not passes_luhn(number):
        raise InvalidCard
    if number == DEAD_LINE:
        raise GatewayError
    return Answer(paid=number != DECLINED, code="declined" if number == DECLINED else "approved")


def passes_luhn(number):
    """Return whether the last digit is what the others make it (ISO/IEC 7812-1, annex B)."""
    if not (number.isascii() and number.isdigit() and 12 <= len(number) <= 19):
        return False
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[0::2]) + sum(doubled)) % 10 == 0
