"""Each alarm of the sync has its place on the page that says what to do, and the page has no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import typer
import yaml

from strangler.cli import app
from tests.unit.docs.test_references import verbs

DOCS: Final = Path(__file__).parents[3] / "docs"
PAGE: Final = (DOCS / "how-to" / "alarms.md").read_text()
GROUPS: Final[list[dict[str, Any]]] = yaml.safe_load((DOCS / "reference" / "alerts.yml").read_text())["groups"]


def test_every_alarm_of_the_sync_says_what_to_do_and_nothing_else_is_there() -> None:
    [rules] = [group["rules"] for group in GROUPS if group["name"] == "strangler-sync"]
    assert re.findall(r"^## (\w+)$", PAGE, flags=re.MULTILINE) == [rule["alert"] for rule in rules]


def test_the_commands_that_the_pages_name_are_there() -> None:
    code = dict(verbs(typer.main.get_command(app), "strangler"))
    for page in ("alarms.md", "managed-postgres.md"):
        text = (DOCS / "how-to" / page).read_text()
        for line in re.findall(r"(?:`|^    )(strangler [a-z][^`\n]*)", text, flags=re.MULTILINE):
            verb = max((name for name in code if line.startswith(name)), key=len, default=None)
            assert verb is not None, f"{page}: {line}"
            assert set(re.findall(r"--[a-z][a-z-]+", line)) <= code[verb], f"{page}: {line}"
