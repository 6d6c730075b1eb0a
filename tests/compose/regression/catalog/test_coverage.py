"""What the monolith's container promises of the catalog."""

from tests.regression.catalog.test_coverage import test_everything_that_the_catalog_promises_has_a_case
