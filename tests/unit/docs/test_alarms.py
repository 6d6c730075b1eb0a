"""Each alarm has its section on the page that says what to do in the night, and the pages have no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml

from strangler.cli import app
from tests.unit.docs.test_references import sections, verbs

DOCS: Final = Path(__file__).parents[3] / "docs"
PAGES: Final = {"strangler-proxy": "alarms-proxy.md", "strangler-sync": "alarms-sync.md"}
RULES: Final[dict[str, list[dict[str, Any]]]] = {
    group["name"]: group["rules"] for group in yaml.safe_load((DOCS / "reference" / "alerts.yml").read_text())["groups"]
}
WRITTEN: Final = [
    pytest.param(text, id=alarm) for page in PAGES.values() for alarm, text in sections(DOCS / "how-to" / page).items()
]


def test_every_alarm_says_what_to_do_and_nothing_else_is_there() -> None:
    found = {group: list(sections(DOCS / "how-to" / page)) for group, page in PAGES.items()}
    assert found == {group: [rule["alert"] for rule in rules] for group, rules in RULES.items()}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_section_tells_who_notices_then_what_to_look_at_then_each_step_and_when_it_is_over(text: str) -> None:
    """In this order, and short: nobody reads more at that hour."""
    parts = text.strip().split("\n\n")
    assert parts[1].startswith("    "), "a command that changes nothing comes before the steps"
    assert parts[-1].startswith("Back to bed "), "it ends with when that may be"
    numbers = re.findall(r"^(\d)\. ", text, flags=re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)] != []
    assert 5 <= len([line for line in text.splitlines() if line]) <= 12


def test_the_commands_that_the_pages_name_are_there() -> None:
    code = dict(verbs(typer.main.get_command(app), "strangler"))
    for page in (*PAGES.values(), "managed-postgres.md"):
        text = (DOCS / "how-to" / page).read_text()
        for line in re.findall(r"(?:`|^ +)(strangler [a-z][^`\n]*)", text, flags=re.MULTILINE):
            verb = max((name for name in code if line.startswith(name)), key=len, default=None)
            assert verb is not None, f"{page}: {line}"
            assert set(re.findall(r"--[a-z][a-z-]+", line)) <= code[verb], f"{page}: {line}"
