"""Fixtures come by family, from ``tests/fixtures``; a family stands after those that it builds on."""

from hypothesis import settings

pytest_plugins = [
    "pytester",
    "tests.fixtures.postgres",
    "tests.fixtures.streams",
    "tests.fixtures.valkey",
    "tests.fixtures.ledger",
    "tests.fixtures.copying",
    "tests.fixtures.command",
    "tests.fixtures.browser",
]

# Two cores are shared by everything that runs: how long one example takes says nothing.
settings.register_profile("strangler", deadline=None)
settings.load_profile("strangler")
