"""The wish list, asked of the containers."""

from tests.regression.wishlist.test_wishlist import (
    again,
    pytestmark,
    test_everything_that_the_wish_list_promises_has_a_case,
    test_the_proxy_passes_on_what_the_service_says,
)
