"""The reviews are the monolith's own code: what differs is declared in their README, and nothing else does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[4]
MONOLITH: Final = ROOT / "legacy_monolith"
SERVICE: Final = ROOT / "extracted" / "reviews"
README: Final = (SERVICE / "README.md").read_text("utf-8")
DECLARED: Final = dict(re.findall(r"```diff\n--- (\S+)\n(.*?)```", README, flags=re.DOTALL))


def files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(folder.parent))


COPIED: Final = [name for app in ("reviews", "shop") for name in files(SERVICE / app)]


@pytest.mark.parametrize("name", COPIED)
def test_a_copied_file_differs_from_the_monolith_s_as_the_readme_says(name: str) -> None:
    theirs, ours = (MONOLITH / name).read_bytes(), (SERVICE / name).read_bytes()
    if name not in DECLARED:
        assert ours == theirs, f"copy it again: cp legacy_monolith/{name} extracted/reviews/{name}"
        return
    lines = unified_diff(theirs.decode().splitlines(True), ours.decode().splitlines(True), n=0)
    changed = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    assert "".join(changed) == DECLARED[name]


def test_what_was_left_behind_is_said_in_the_readme() -> None:
    left = set(files(MONOLITH / "reviews")) - set(files(SERVICE / "reviews"))
    assert left == set(re.findall(r"^- `(reviews/\S+)`: ", README, flags=re.MULTILINE))


def test_every_declared_file_is_there() -> None:
    assert set(DECLARED) <= set(COPIED)
