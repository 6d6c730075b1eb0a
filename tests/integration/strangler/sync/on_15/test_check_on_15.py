"""What a role lacks on the oldest release."""

from tests.integration.strangler.sync.test_check import *  # noqa: F403
