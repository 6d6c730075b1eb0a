"""The databases of both stacks."""

from tests.fixtures.shop import catalog_files, shop

__all__ = ["catalog_files", "shop"]
