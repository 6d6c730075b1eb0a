"""Every request for reviews has one answer, whichever stack gives it, and every write leaves the same rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from strangler.regression import BothStacks, Case, Stack
from strangler.regression.plugin import Judge
from strangler.regression.surface import Surface
from tests.fixtures.reviewed import ANNS, BARE, CUP, PLATE
from tests.regression.conftest import Rows
from tests.regression.named import shown
from tests.regression.reviews.cases import ANSWERED, CASES, OF_CUP, REVIEWS
from tests.regression.reviews.writes import WRITES
from tests.regression.through import HALF, MOVED, Remembered, Through

pytestmark = pytest.mark.capability("reviews")

_TOO_OFTEN: Final = "the suite writes more often than anybody may, so its stacks are told not to count"
UNSEEN: Final = {
    f"{operation} 429{field}": _TOO_OFTEN
    for operation in (
        "POST /api/reviews/",
        "PATCH /api/reviews/{id}/",
        "DELETE /api/reviews/{id}/",
        "POST /api/reviews/{id}/photos/",
        "POST /api/reviews/{id}/vote/",
        "DELETE /api/reviews/{id}/vote/",
        "POST /api/catalog/products/{product_id}/reviews/",
    )
    for field in ("", " $.detail")
}
LEFT: Final = tuple(f"/api/catalog/products/{number}/reviews/?page_size=100" for number in (CUP, PLATE, BARE))
_DELETED: Final = Case(target=f"{REVIEWS}{ANNS}/", method="DELETE", as_user="ann")
_WRITTEN: Final = next(case for case in WRITES if case.target == REVIEWS and case.as_user == "ann")
AGAIN: Final = ((204, _DELETED), (404, _DELETED), (201, _WRITTEN), (400, replace(_WRITTEN, exempt={})))
OF_A_LIST: Final = {
    "$.results[*].created_at": "the moment of a write",
    "$.results[*].photos[*].image": "a name that nobody can guess",
    "etag": "of a body that holds what may differ",
    "last-modified": "the moment of a write",
}


@pytest.mark.parametrize("case", CASES, ids=shown)
def test_both_stacks_answer_alike(both_stacks: BothStacks, case: Case) -> None:
    both_stacks.agree(case)


@pytest.mark.parametrize("case", CASES, ids=shown)
def test_the_proxy_passes_on_what_the_stack_says(through: Through, case: Case) -> None:
    through.agree(case)


@pytest.mark.parametrize("target", ANSWERED)
def test_what_is_unchanged_is_not_sent_again(both_stacks: BothStacks, target: str) -> None:
    plain = dict(both_stacks.agree(Case(target=target)).headers)
    for condition, validator in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
        for method in ("GET", "HEAD") if validator in plain else ():
            both_stacks.agree(Case(target=target, method=method, headers={condition: plain[validator]}))
    if "last-modified" in plain:
        again = both_stacks.service.ask(Case(target=target, headers={"If-None-Match": plain["etag"]}))
        assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("case", WRITES, ids=shown)
def test_a_write_is_answered_alike_and_leaves_the_same(both_stacks: BothStacks, rows: Rows, case: Case) -> None:
    rows.again()
    answer = both_stacks.agree(case)
    assert answer.status < 500
    monolith, service = rows.left()
    assert monolith == service
    for target in LEFT if answer.status < 400 else ():
        both_stacks.agree(Case(target=target, exempt=OF_A_LIST))


@pytest.mark.parametrize("through", [HALF, MOVED], indirect=True, ids=str)
@pytest.mark.parametrize("case", WRITES, ids=shown)
def test_a_write_goes_to_the_owner(through: Through, rows: Rows, case: Case) -> None:
    through.agree(case, rows.again)


@pytest.mark.parametrize("listed", [REVIEWS, OF_CUP])
def test_the_pages_of_a_list_hold_every_review_once(both_stacks: BothStacks, listed: str) -> None:
    seen: list[int] = []
    target: str | None = f"{listed}?ordering=rating&page_size=97&author="
    while target:
        page = both_stacks.agree(Case(target=target)).json()
        seen += [review["id"] for review in page["results"]]
        target = page["next"] and page["next"].removeprefix("http://localhost:8000")
    assert len(seen) == len(set(seen)) == page["count"]


def test_a_review_that_was_deleted_may_be_written_again(both_stacks: BothStacks, rows: Rows) -> None:
    rows.again()
    for expected, case in AGAIN:
        assert both_stacks.agree(case).status == expected


def test_everything_that_the_reviews_promise_has_a_case(
    monolith: Stack, promised: dict[str, Surface], coverage: Judge, remembered: Remembered, rows: Rows
) -> None:
    asked = [(case, remembered.ask(monolith, case, rows.again)) for case in (*CASES, *WRITES)]
    coverage(promised["reviews"], asked, UNSEEN).require()
