"""The wish list was born in its service: what that says is what comes out of the proxy, and all that it promises has
a case."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

import psycopg
import pytest

from strangler.regression import Case, Stack
from strangler.regression.plugin import Judge
from strangler.regression.surface import Page, Surface
from tests.fixtures.shop import SERVICES, Shop
from tests.regression.named import shown
from tests.regression.through import MOVED, Remembered, Through
from tests.regression.wishlist.cases import ROWS, cases

pytestmark = pytest.mark.capability("wishlist")

CASES: Final = cases("reviewed-cup")
AWAY: Final = "the catalog answers here; tests/integration/extracted/wishlist asks without one"
UNSEEN: Final = {f"{each} 503": AWAY for each in ("POST /api/wishlist/", "PUT /api/wishlist/{product}/")}
# The monolith has no pattern for these.
PAGES: Final = tuple(
    Page(shown=f"/{{lang}}/wishlist/{path}", pattern=rf"^(en|de)/wishlist/{pattern}\Z")
    for path, pattern in (("", ""), ("add/{slug}/", "add/[-a-zA-Z0-9_]+/"), ("remove/{product}/", "remove/[0-9]+/"))
)


@pytest.fixture(scope="module")
def again(shop: Shop) -> Iterator[Callable[[], None]]:
    """Put back what is kept."""
    with psycopg.connect(shop.service("wishlist"), autocommit=True) as connection:

        def put_back() -> None:
            connection.execute(ROWS.encode())

        yield put_back


@pytest.mark.parametrize("through", [MOVED], indirect=True, ids=str)
@pytest.mark.parametrize("case", CASES, ids=shown)
def test_the_proxy_passes_on_what_the_service_says(through: Through, again: Callable[[], None], case: Case) -> None:
    through.agree(case, again)


def test_everything_that_the_wish_list_promises_has_a_case(
    service: Stack, coverage: Judge, remembered: Remembered, again: Callable[[], None]
) -> None:
    asked = [(case, remembered.ask(service, case, again)) for case in CASES]
    document = json.loads((SERVICES / "wishlist" / "wishlist_service" / "openapi.json").read_text())
    # The document's pages are those of PAGES, which cover them by their addresses.
    surface = Surface.of([document], PAGES, within=lambda path: not path.startswith("/{language}/"))
    coverage(surface, asked, UNSEEN).require()
