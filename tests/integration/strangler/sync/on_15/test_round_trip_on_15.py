"""Rows sent there and back on the oldest release."""

from tests.integration.strangler.sync.test_round_trip import (  # noqa: F401
    test_a_row_that_the_service_refuses_is_found_among_the_others,
    test_no_number_is_spent_and_nothing_is_left,
    test_values_of_many_types_come_back_as_they_were,
)
