"""What the monolith's container promises of the recommendations."""

from tests.regression.recommendations.test_coverage import (
    test_everything_that_the_recommendations_promise_has_a_case,
)
