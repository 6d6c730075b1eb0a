"""Who answers through the proxy's container at each share."""

from tests.regression.test_shares import (
    test_a_share_of_the_visitors_is_answered_by_the_service,
    test_a_visitor_is_told_a_cookie_once_and_stays,
)
