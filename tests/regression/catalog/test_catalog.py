"""Every request to the catalog's API has one answer, whichever stack gives it."""

from __future__ import annotations

from itertools import product

import psycopg
import pytest

from strangler.regression import BothStacks, Case
from tests.fixtures.shop import Shop
from tests.regression.catalog.cases import CASES, CATEGORIES, PRODUCTS
from tests.regression.named import shown
from tests.regression.through import Through

SHOWN = (PRODUCTS, f"{PRODUCTS}8/", f"{PRODUCTS}?category=textiles&page=last", CATEGORIES, f"{CATEGORIES}below/")
REFUSED = (f"{PRODUCTS}?page=0", f"{PRODUCTS}?min_price=x", f"{PRODUCTS}999999/", "/api/catalog/nothing/")
LONG_AGO, TO_COME = "Mon, 01 Jan 1990 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
TAGS = (
    "{tag}", "W/{tag}", '"other"', '"other", {tag}', '{tag}, "other"', "*", " * ", "nonsense", "{tag", '""',
    "{tag}{tag}", "{tag};x", "w/{tag}",
)  # fmt: skip
DATES = (
    "{date}", LONG_AGO, TO_COME, "nonsense", "", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 2094",
    "Friday, 01-Jan-99 00:00:00 GMT", "Fri, 31 Feb 2100 00:00:00 GMT", "fri, 01 jan 2100 00:00:00 GMT",
    "Fri, 01 Jan 2100 00:00:00 UTC", "Fri, 01 Jan 0050 00:00:00 GMT",
)  # fmt: skip


pytestmark = pytest.mark.capability("catalog")


@pytest.mark.parametrize("case", CASES, ids=shown)
def test_both_stacks_answer_alike(both_stacks: BothStacks, case: Case) -> None:
    both_stacks.agree(case)


@pytest.mark.parametrize("case", CASES, ids=shown)
def test_the_proxy_passes_on_what_the_stack_says(through: Through, case: Case) -> None:
    through.agree(case)


@pytest.mark.parametrize(("target", "method"), [*product((*SHOWN, *REFUSED), ["GET"]), *product(SHOWN[:2], ["HEAD"])])
def test_conditional_requests_are_answered_alike(both_stacks: BothStacks, target: str, method: str) -> None:
    plain = dict(both_stacks.agree(Case(target=target)).headers)
    tag, date = plain.get("etag", '"none"'), plain.get("last-modified", LONG_AGO)
    for headers in _conditions(tag, date):
        both_stacks.agree(Case(target=target, method=method, headers=headers))


def _conditions(tag: str, date: str) -> list[dict[str, str]]:
    tags = [each.replace("{tag}", tag) for each in TAGS]
    dates = [each.replace("{date}", date) for each in DATES]
    return [
        *({name: value} for name in ("If-None-Match", "If-Match") for value in tags),
        *({name: value} for name in ("If-Modified-Since", "If-Unmodified-Since") for value in dates),
        {"If-None-Match": '"other"', "If-Modified-Since": TO_COME},
        {"If-None-Match": tag, "If-Modified-Since": LONG_AGO},
        {"If-Match": tag, "If-Unmodified-Since": LONG_AGO},
        {"If-Match": '"other"', "If-None-Match": tag},
        {"If-Match": tag, "If-None-Match": tag},
        {"If-Unmodified-Since": TO_COME, "If-None-Match": tag},
    ]


def test_what_is_unchanged_is_not_sent_again(both_stacks: BothStacks) -> None:
    target = f"{PRODUCTS}8/"
    tag = both_stacks.service.ask(Case(target=target)).header("etag")
    again = both_stacks.service.ask(Case(target=target, headers={"If-None-Match": tag}))
    assert (again.status, again.body) == (304, b"")


def test_the_pages_of_a_list_hold_every_product_once(both_stacks: BothStacks) -> None:
    seen: list[bytes] = []
    target: str | None = f"{PRODUCTS}?ordering=created_at&page_size=7"
    while target:
        answer = both_stacks.agree(Case(target=target))
        page = answer.json()
        seen += [product["id"] for product in page["results"]]
        target = page["next"] and page["next"].removeprefix("http://localhost:8000")
    assert len(seen) == len(set(seen)) == page["count"]


def test_a_product_that_nobody_has_reviewed_has_no_rating(both_stacks: BothStacks, shop: Shop) -> None:
    assert both_stacks.agree(unreviewed(shop)).json()["rating"] is None


def unreviewed(shop: Shop) -> Case:
    """Return a request for a product without a review; where people buy, any may have one by now."""
    with psycopg.connect(shop.monolith) as connection:
        query = "SELECT id FROM catalog_product WHERE rating IS NULL AND is_active ORDER BY id DESC LIMIT 1"
        row = connection.execute(query).fetchone()
    assert row is not None, "every product has been reviewed"
    return Case(target=f"{PRODUCTS}{row[0]}/")
