"""What the invented orders and stocks must know of the invented products, kept small: they are many."""

from array import array
from collections.abc import Iterable
from random import Random

from shop.seeding.rows import PRODUCT_COLUMNS

ID, NAME, PRICE, STOCK = (PRODUCT_COLUMNS.index(column) for column in ("id", "name", "price", "stock"))


class Shelf:
    """Products by their number, which counts from 1."""

    def __init__(self, products: Iterable[tuple]) -> None:
        self._cents, self._stock, self._names = array("q"), array("q"), []
        for product in products:
            self._cents.append(int(product[PRICE] * 100))
            self._stock.append(product[STOCK])
            self._names.append(product[NAME])

    def __len__(self) -> int:
        return len(self._names)

    def price(self, product: int) -> int:
        """Return what one costs, in cents."""
        return self._cents[product - 1]

    def stock(self, product: int) -> int:
        return self._stock[product - 1]

    def name(self, product: int) -> str:
        return self._names[product - 1]

    def liked(self, random: Random) -> int:
        """Draw a product: few are bought much, many hardly at all."""
        return 1 + int(len(self) * random.random() ** 1.7)
