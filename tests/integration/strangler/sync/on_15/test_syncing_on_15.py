"""A capability's whole life on the oldest release."""

from tests.integration.strangler.sync.test_syncing import (  # noqa: F401
    test_a_transaction_that_writes_is_named_when_a_slot_waits_for_it,
    test_a_whole_life_leaves_nothing_behind,
    test_nothing_is_begun_without_the_right,
)
