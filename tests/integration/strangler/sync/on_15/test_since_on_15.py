"""Changed rows recorded and compared on the oldest release."""

from tests.integration.strangler.sync.test_since import (  # noqa: F401
    bed,
    make_bed,
    test_rows_that_changed_in_whatever_way_are_compared_and_no_others,
    test_the_record_of_a_table_is_bounded,
)
