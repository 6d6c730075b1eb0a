"""The same on the oldest release."""

from tests.integration.strangler.sync.test_fence_quiet import *  # noqa: F403
