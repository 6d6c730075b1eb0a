"""Fixtures come by family, from ``tests/fixtures``."""

pytest_plugins = ["tests.fixtures.ledger", "tests.fixtures.postgres", "tests.fixtures.valkey"]
