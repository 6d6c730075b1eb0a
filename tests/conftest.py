"""Fixtures come by family, from ``tests/fixtures``; a family stands after those that it builds on."""

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.valkey",
    "tests.fixtures.ledger",
    "tests.fixtures.copying",
]
