"""Pages of the catalog, asked of the containers."""

from tests.regression.catalog.test_pages import (
    pytestmark,
    test_a_product_s_page_is_the_same,
    test_both_stacks_show_the_same,
    test_the_proxy_passes_pages_on,
)
