"""What the oldest release lacks, and what its catalogue says of tables."""

from tests.integration.strangler.sync.test_check import (  # noqa: F401
    bare,
    test_each_statement_mends_what_it_was_printed_for,
    test_the_command_prints_the_statements_alone_and_ends_as_its_findings_are,
    test_what_the_service_s_tables_do_by_themselves_is_told,
)
