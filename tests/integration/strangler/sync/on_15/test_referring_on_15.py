"""The oldest release: its catalogue knows of no foreign key that is not enforced, and its servers filter no origin."""

from tests.integration.strangler.sync.test_referring import (  # noqa: F401
    ends,
    test_a_key_of_several_columns_is_told_by_all_of_them,
    test_a_right_is_given_by_the_statement_that_is_printed,
    test_a_table_that_has_another_stream_is_not_written_beside_it,
    test_what_comes_back_within_a_transaction_was_never_gone,
    test_what_is_declared_is_done_while_tables_are_copied,
    test_what_is_written_there_bears_the_stream_s_origin,
)
