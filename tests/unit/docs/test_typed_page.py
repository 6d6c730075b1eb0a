"""What is held against a page that somebody follows: nothing that it shows may be missing."""

from __future__ import annotations

from pathlib import Path

from tests.fixtures.typed_page import Block, blocks, missing

PAGE = """
```toml title="a/b.toml"
one = 1
```
```shell
strangler status
```
```text title="refused"
no
```
"""


def test_blocks_are_in_their_order_and_text_belongs_to_the_command_before_it() -> None:
    assert blocks(PAGE) == [
        Block("toml", "a/b.toml", "one = 1\n"),
        Block("shell", "", "strangler status\n", seen="no\n", is_refused=True),
    ]


def test_a_line_that_was_not_said_is_missing_and_so_is_one_that_came_too_early() -> None:
    said = "Tea --   3\nvotes\nequal, 3 rows in 0.4 s\n"
    assert missing("Tea -- 3 votes\nequal, 3 rows in 0.1 s\n", said) == []
    assert len(missing("Tea -- 4 votes\n", said)) == 1
    assert len(missing("equal, 3 rows in 0.1 s\nTea -- 3 votes\n", said)) == 1


def test_a_file_is_written_where_it_says_and_goes_on_at_its_end(tmp_path: Path) -> None:
    for title in ("a/b.toml", "a/b.toml, at its end"):
        Block("toml", title, f"{title}\n").write(tmp_path)
    assert (tmp_path / "a/b.toml").read_text() == "a/b.toml\na/b.toml, at its end\n"
