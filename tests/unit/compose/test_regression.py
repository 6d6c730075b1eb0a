"""What of the regression suite is run on the stacks in containers, and what is not: the page says it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
SUITE: Final = ROOT / "tests" / "regression"
TAKEN: Final = ROOT / "tests" / "compose" / "regression"
PAGE: Final = (ROOT / "docs" / "how-to" / "containers.md").read_text(encoding="utf-8")


def written(folder: Path) -> set[str]:
    """Return a folder's tests, and those that its modules take from others, as ``reviews/test_reviews.py::test_x``."""
    return {
        f"{file.relative_to(folder)}::{name}"
        for file in folder.rglob("test_*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        for name in (
            [node.name]
            if isinstance(node, ast.FunctionDef)
            else [each.name for each in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name.startswith("test_")
    }


def test_each_test_of_the_suite_is_run_on_the_containers_or_the_page_says_why_not() -> None:
    missing = {test.partition("::")[0] for test in written(SUITE) - written(TAKEN)}
    excused = set(re.findall(r"^\| `tests/regression/([a-z_/.]+)` \|", PAGE, re.MULTILINE))
    assert missing == excused
    # A module is run whole or not at all.
    assert not {test for test in written(TAKEN) if test.partition("::")[0] in missing}


def test_what_runs_on_the_containers_alone_is_what_only_they_can_tell() -> None:
    assert {test.partition("::")[2] for test in written(TAKEN) - written(SUITE)} == {
        "test_the_sync_has_carried_all_of_it_over"
    }
