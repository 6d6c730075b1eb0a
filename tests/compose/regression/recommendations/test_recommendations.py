"""Requests for recommendations, asked of the containers."""

from tests.regression.recommendations.test_recommendations import (
    pytestmark,
    test_both_stacks_answer_alike,
    test_conditional_requests_are_answered_alike,
    test_most_products_have_something_like_them,
    test_the_proxy_passes_on_what_the_stack_says,
)
