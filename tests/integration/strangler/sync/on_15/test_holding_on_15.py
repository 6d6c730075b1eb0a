"""What keeps a slot back on the oldest release, and who is at work there."""

from tests.integration.strangler.sync.test_backfill import (  # noqa: F401
    test_anybody_sees_who_is_at_work_and_the_sync_does_not_count,
)
from tests.integration.strangler.sync.test_holding import (  # noqa: F401
    at_once,
    shop,
    test_one_that_the_role_may_not_see_into_is_named_once_a_heartbeat_is_younger,
    test_one_that_writes_keeps_the_slot_back_and_one_that_reads_does_not,
    test_who_writes_is_named_with_what_it_does,
)
