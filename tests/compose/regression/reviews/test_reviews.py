"""The reviews, asked of the containers.

Only one stack takes a write here, whoever owns the reviews. So each is asked of the monolith first, then the owner
moves, and each is asked of the service: the answers and the rows that are left are compared across that.
"""

from __future__ import annotations

import pytest

from strangler.capability import Stack as Owner
from strangler.regression import Case, Stack
from strangler.regression.pair import Disagreement
from strangler.regression.pair import compared as comparison_of
from strangler.regression.record import Record
from tests.compose.regression.standing import Rows, Standing, Told
from tests.compose.running import Running
from tests.regression.named import shown
from tests.regression.reviews.test_reviews import (
    AGAIN,
    pytestmark,
    test_a_write_goes_to_the_owner,
    test_both_stacks_answer_alike,
    test_everything_that_the_reviews_promise_has_a_case,
    test_the_pages_of_a_list_hold_every_review_once,
    test_the_proxy_passes_on_what_the_stack_says,
    test_what_is_unchanged_is_not_sent_again,
)
from tests.regression.reviews.writes import WRITES


@pytest.fixture(scope="module")
def remembered(standing: Standing, rows: Rows) -> Told:
    return Told(standing, rows)


@pytest.mark.parametrize("case", WRITES, ids=shown)
def test_a_write_is_answered_alike_and_leaves_the_same(
    monolith: Stack, service: Stack, remembered: Told, rows: Rows, compared: Record, case: Case
) -> None:
    one, other = (remembered.ask(each, case, rows.again) for each in (monolith, service))
    assert one.status < 500
    comparison = comparison_of(case, (monolith, service), (one, other))
    compared.note(comparison)
    if comparison.found:
        raise Disagreement(comparison)
    assert remembered.left(monolith, case) == remembered.left(service, case)


def test_a_review_that_was_deleted_may_be_written_again(
    monolith: Stack, service: Stack, standing: Standing, rows: Rows
) -> None:
    told = []
    for owner, stack in ((Owner.SERVICE, service), (Owner.MONOLITH, monolith)):
        standing.owned("reviews", owner)
        rows.again()
        told.append([stack.ask(case) for _, case in AGAIN])
    assert [[answer.status for answer in each] for each in told] == [[status for status, _ in AGAIN]] * 2


def test_the_sync_has_carried_all_of_it_over(running: Running, rows: Rows) -> None:
    rows.settled()
    running.until_followed()
    assert "reviews: equal," in running.strangler("sync", "verify", "reviews")
