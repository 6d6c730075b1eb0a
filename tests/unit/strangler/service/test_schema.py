from pathlib import Path

import pytest

from strangler.service.errors import SchemaRefused
from strangler.service.schema import Change, changes_in, pending

FIRST = Change(number=1, name="0001_first.sql", sql=b"SELECT 1")
SECOND = Change(number=2, name="0002_second.sql", sql=b"SELECT 2")
THIRD = Change(number=3, name="0003_third.sql", sql=b"SELECT 3")


def test_changes_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for change in (SECOND, FIRST):
        (tmp_path / change.name).write_bytes(change.sql)
    (tmp_path / "README").write_text("not a change")
    assert changes_in(tmp_path) == (FIRST, SECOND)


def test_a_name_that_is_no_number_and_words_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_first.sql").write_text("")
    with pytest.raises(SchemaRefused, match=r"1_first\.sql is no name for a change; write NNNN_words\.sql"):
        changes_in(tmp_path)


def test_a_number_used_twice_is_refused_with_both_names(tmp_path: Path) -> None:
    for name in ("0001_a.sql", "0001_b.sql"):
        (tmp_path / name).write_text("")
    with pytest.raises(SchemaRefused, match=r"0001_a\.sql and 0001_b\.sql have the same number"):
        changes_in(tmp_path)


def test_what_was_applied_is_not_pending() -> None:
    assert pending([FIRST, SECOND], {1: FIRST.checksum}) == (SECOND,)


def test_an_edited_file_is_refused() -> None:
    with pytest.raises(SchemaRefused, match=r"0001_first\.sql was edited after it was applied"):
        pending([FIRST], {1: "another checksum"})


def test_a_file_that_slipped_in_below_the_newest_is_refused() -> None:
    with pytest.raises(SchemaRefused, match=r"0002_second\.sql came after 0003 was applied"):
        pending([FIRST, SECOND, THIRD], {1: FIRST.checksum, 3: THIRD.checksum})


def test_a_database_ahead_of_the_files_is_left_alone() -> None:
    assert pending([FIRST], {1: FIRST.checksum, 2: SECOND.checksum}) == ()
