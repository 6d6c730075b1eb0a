"""The reference of the streams' metrics and the code say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from strangler.sync.metrics import (
    CAPABILITY_LABELS,
    COPIES,
    FENCES,
    MOVES,
    PREFIX,
    REACTION_LABELS,
    REACTIONS,
    SIDES,
    STREAM_LABELS,
    STREAMS,
    VERIFIES,
)

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
GAUGES = [each.name for each in (*STREAMS, *REACTIONS, *COPIES, *VERIFIES, *MOVES)]
NAMES = [*GAUGES, *(each.name for each in FENCES), *(name for name, _, _ in SIDES)]
RULES = yaml.safe_load((REFERENCE / "alerts.yml").read_text())["groups"][1]["rules"]


def test_every_metric_is_in_the_reference_with_its_unit_and_nothing_else() -> None:
    page = (REFERENCE / "metrics.md").read_text().partition("## Streams")[2]
    written = dict(re.findall(r"^\| `(\w+)` \| (\S[^|]*) \|", page, flags=re.MULTILINE))
    assert list(written) == NAMES
    for name, unit in written.items():
        for suffix in ("seconds", "bytes", "transactions", "rows"):
            assert name.endswith(suffix) <= (suffix in unit), f"{name} is in {unit}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_rules_ask_for_metrics_and_labels_that_exist(rule: dict[str, object]) -> None:
    names = re.findall(rf"\b{PREFIX}(\w+)", str(rule["expr"]))
    assert names
    assert set(names) <= set(NAMES)
    of_reactions = set(names) <= {each.name for each in REACTIONS}
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    of_all = set(names) <= {each.name for each in (*COPIES, *VERIFIES, *MOVES)}
    labels = CAPABILITY_LABELS if of_all else REACTION_LABELS if of_reactions else STREAM_LABELS
    assert used <= {*labels, "instance"}
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
