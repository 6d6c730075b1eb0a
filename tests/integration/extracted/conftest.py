"""The databases of both stacks."""

from tests.fixtures.shop import catalog_files, shop, shop_project

__all__ = ["catalog_files", "shop", "shop_project"]
