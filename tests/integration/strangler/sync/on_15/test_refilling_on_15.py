"""Tables filled anew on the oldest release."""

from tests.integration.strangler.sync.test_refilling import (  # noqa: F401
    test_a_monolith_that_was_lost_is_filled_from_nothing,
    test_whoever_writes_for_long_is_waited_for_and_named,
)
