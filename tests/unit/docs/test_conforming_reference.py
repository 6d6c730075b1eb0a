"""The page of rules has every rule that the code knows, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
RULE: Final = re.compile(r'"((?:probes|contract|identity|headers|metrics|limits|stop)\.[a-z]+)"')


def test_every_rule_is_in_the_reference_and_nothing_else() -> None:
    known = {
        rule for path in (ROOT / "strangler" / "conforming").glob("*.py") for rule in RULE.findall(path.read_text())
    }
    page = (ROOT / "docs" / "reference" / "conforming.md").read_text()
    told = set(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", page, re.MULTILINE))
    assert told == known
