"""Every page of the catalog is one page, whichever stack answers it: the same bytes, in either language."""

from __future__ import annotations

import psycopg
import pytest

from strangler.regression import BothStacks, Case
from tests.fixtures.shop import Shop
from tests.regression.catalog.pages import PAGES, of_products
from tests.regression.named import shown
from tests.regression.through import Through

pytestmark = pytest.mark.capability("catalog")
# Those that the shop's difficult rows were made of, one that is off the shelf, and some that nobody has touched.
NUMBERS = [1, *range(2, 15), 20, 21, 100, 499]


@pytest.mark.parametrize("case", PAGES, ids=shown)
def test_both_stacks_show_the_same(both_stacks: BothStacks, case: Case) -> None:
    both_stacks.agree(case)


@pytest.mark.parametrize("case", PAGES[::7], ids=shown)
def test_the_proxy_passes_pages_on(through: Through, case: Case) -> None:
    through.agree(case)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_product_s_page_is_the_same(both_stacks: BothStacks, shop: Shop, number: int) -> None:
    with psycopg.connect(shop.monolith) as connection:
        row = connection.execute("SELECT slug FROM catalog_product WHERE id = %s", [number]).fetchone()
    assert row is not None
    for case in of_products({number: row[0]}):
        answer = both_stacks.agree(case)
    tag = dict(answer.headers).get("etag")
    if tag:
        both_stacks.agree(Case(target=case.target, headers={"If-None-Match": tag}))
