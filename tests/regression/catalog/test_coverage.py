"""Every address, filter, field and status of the catalog has a case."""

from __future__ import annotations

from typing import Final

import psycopg
import pytest

from strangler.regression import Case, Stack
from strangler.regression.plugin import Judge
from strangler.regression.surface import Surface
from tests.fixtures.shop import Shop
from tests.regression.catalog.cases import CASES
from tests.regression.catalog.pages import PAGES, of_products
from tests.regression.catalog.test_catalog import SHOWN, unreviewed

UNSEEN: Final = {
    "GET /api/catalog/categories/ 400": "a page that is none is not found; nothing else of the list can be wrong",
}


@pytest.mark.capability("catalog")
def test_everything_that_the_catalog_promises_has_a_case(
    monolith: Stack, promised: dict[str, Surface], coverage: Judge, shop: Shop
) -> None:
    asked = [(case, monolith.ask(case)) for case in (*CASES, *PAGES, *_product(shop), unreviewed(shop))]
    for target in SHOWN:
        unchanged = Case(target=target, headers={"If-None-Match": monolith.ask(Case(target=target)).header("etag")})
        asked.append((unchanged, monolith.ask(unchanged)))
    coverage(promised["catalog"], asked, UNSEEN).require()


def _product(shop: Shop) -> list[Case]:
    with psycopg.connect(shop.monolith) as connection:
        row = connection.execute("SELECT slug FROM catalog_product WHERE id = 1").fetchone()
    assert row is not None
    return of_products({1: row[0]})
