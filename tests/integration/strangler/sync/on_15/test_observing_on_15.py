"""Who writes, on the oldest release: where messages of no transaction come again from is the server's matter."""

from tests.integration.strangler.sync.test_observing import (  # noqa: F401
    test_a_stream_that_dies_between_rows_and_counts_loses_none_and_counts_none_twice,
)
