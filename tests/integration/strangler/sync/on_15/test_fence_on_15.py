"""A fence on the oldest release: its catalogue, its locks and its triggers."""

from tests.integration.strangler.sync.test_fence import *  # noqa: F403
