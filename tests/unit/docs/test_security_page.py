"""The page about security names tests that exist, settings that are read, and leaves no statement without either."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = ROOT / "docs" / "explanation" / "security.md"
CONFIGURATION: Final = ROOT / "docs" / "reference" / "configuration.md"
NAMED: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())))
SETTINGS: Final = sorted(set(re.findall(r"`\[(\w+)\] (\w+)`", PAGE.read_text())))


def section(title: str) -> str:
    return PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of each row of a table, but for its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_there_are_tests_to_name() -> None:
    assert len(NAMED) > 30
    assert len(SETTINGS) > 5


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    functions = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")}
    assert name in functions


@pytest.mark.parametrize("title", ["From outside", "Visitors at services", "Secrets", "Rights in the databases"])
def test_every_statement_is_held_by_a_test(title: str) -> None:
    found = rows(section(title))
    assert found
    for row in found:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", row[-1]), row[0]


@pytest.mark.parametrize(("table", "key"), SETTINGS)
def test_a_setting_that_is_named_exists(table: str, key: str) -> None:
    example = CONFIGURATION.read_text()
    part = example.partition(f"\n[{table}]")[2].partition("\n[")[0]
    assert re.search(rf"^{key} = ", part, re.MULTILINE), f"[{table}] {key}"
