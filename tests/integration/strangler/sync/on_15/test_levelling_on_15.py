"""Tables made what a snapshot has on the oldest release."""

from tests.integration.strangler.sync.test_levelling import (  # noqa: F401
    shop,
    test_all_of_it_at_once,
    test_rows_of_yesterday_become_those_of_today_and_no_other_is_touched,
    test_unique_values_go_round_within_ranges_and_between_them,
)
