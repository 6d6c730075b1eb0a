"""A copy under a stream on the oldest release."""

from tests.integration.strangler.sync.test_filling import (  # noqa: F401
    shop,
    test_a_value_that_is_unique_goes_from_row_to_row_meanwhile,
    test_both_sides_are_equal_whatever_happens_meanwhile,
)
