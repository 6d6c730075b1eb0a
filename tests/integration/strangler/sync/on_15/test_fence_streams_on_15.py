"""Fences and streams on the oldest release."""

from tests.integration.strangler.sync.test_fence_streams import *  # noqa: F403
