"""Requests to the catalog's API, asked of the containers."""

from tests.regression.catalog.test_catalog import (
    pytestmark,
    test_a_product_that_nobody_has_reviewed_has_no_rating,
    test_both_stacks_answer_alike,
    test_conditional_requests_are_answered_alike,
    test_the_pages_of_a_list_hold_every_product_once,
    test_the_proxy_passes_on_what_the_stack_says,
    test_what_is_unchanged_is_not_sent_again,
)
