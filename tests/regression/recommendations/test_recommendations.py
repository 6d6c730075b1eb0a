"""Every request for recommendations has one answer, whichever stack gives it."""

from __future__ import annotations

import pytest

from strangler.regression import BothStacks, Case
from tests.regression.named import shown
from tests.regression.recommendations.cases import CASES, LIKE
from tests.regression.through import Through

pytestmark = pytest.mark.capability("recommendations")


@pytest.mark.parametrize("case", CASES, ids=shown)
def test_both_stacks_answer_alike(both_stacks: BothStacks, case: Case) -> None:
    both_stacks.agree(case)


@pytest.mark.parametrize("case", CASES, ids=shown)
def test_the_proxy_passes_on_what_the_stack_says(through: Through, case: Case) -> None:
    through.agree(case)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("number", [1, 6, 60, 999_999])
def test_conditional_requests_are_answered_alike(both_stacks: BothStacks, number: int, method: str) -> None:
    target = f"{LIKE}{number}/"
    tag = dict(both_stacks.agree(Case(target=target)).headers).get("etag", '"none"')
    for name in ("If-None-Match", "If-Match"):
        for value in (tag, f"W/{tag}", f'"other", {tag}', "*", "nonsense"):
            both_stacks.agree(Case(target=target, method=method, headers={name: value}))


def test_most_products_have_something_like_them(both_stacks: BothStacks) -> None:
    told = [both_stacks.agree(Case(target=f"{LIKE}{number}/")).json() for number in range(100, 120)]
    assert sum(len(each["results"]) == 8 for each in told) > 10
