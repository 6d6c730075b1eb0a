"""The reference of what is told to others has every message, column and channel, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from strangler.sync import fencing, filling, intake

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "reference" / "events.md").read_text()
SYNC: Final = ROOT / "strangler" / "sync"


def first_column(heading: str) -> list[str]:
    [table] = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    return re.findall(r"^\| `([^`]+)` \|", table, flags=re.MULTILINE)


def test_every_prefix_of_a_message_is_told_and_no_other() -> None:
    assert first_column("prefix") == [intake.PREFIX, intake.MARKER, filling.COPIED, fencing.OBSERVED]
    assert f"first {fencing.STATEMENT_MOST:,} characters" in PAGE


def test_nobody_else_writes_messages() -> None:
    files = (each for each in ROOT.glob("strangler*/**/*") if each.suffix in (".py", ".sql"))
    writers = {each.name for each in files if "pg_logical_emit_message(" in each.read_text()}
    assert writers == {"intake.py", "fence.py", "filling.py", "observe.sql"}


def test_an_observed_statement_has_the_keys_that_are_told() -> None:
    body = (SYNC / "observe.sql").read_text().partition("jsonb_build_object(")[2]
    assert first_column("key of an observed statement") == re.findall(r"^\s+'(\w+)', ", body, flags=re.MULTILINE)


def test_the_queue_has_the_columns_that_are_told() -> None:
    table = re.search(r"strangler_sync\.reaction \((.*?)\n\);", (SYNC / "additions.sql").read_text(), flags=re.DOTALL)
    assert table is not None
    assert first_column("column of a change") == re.findall(r'^  "?(\w+)"? ', table[1], flags=re.MULTILINE)


def test_every_name_in_valkey_is_told_and_no_other() -> None:
    files = (each for each in ROOT.glob("strangler*/**/*.py"))
    used = {name for each in files for name in re.findall(r'"(strangler:[a-z:]+)"', each.read_text())}
    assert set(first_column("name")) == used
