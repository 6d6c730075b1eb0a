"""Streams on the oldest release: no filter of origins in the server, and other words when something is wrong."""

from tests.integration.strangler.sync.test_stream import *  # noqa: F403
