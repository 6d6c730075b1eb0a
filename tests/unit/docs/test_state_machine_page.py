"""The page about the state machine shows it as it runs: its picture, its table, its fields and its stages."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Final

from strangler.capability import TRANSITIONS, Stage, State
from strangler.ledger.diagram import PICTURE, edges, svg, table
from strangler.ledger.ledger import NAMES

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "explanation" / "one-state-machine.md").read_text()


def first_column(heading: str) -> list[str]:
    rows = re.search(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    assert rows is not None
    return re.findall(r"^\| `(\w+)` \|", rows[1], flags=re.MULTILINE)


def test_the_picture_and_the_table_are_those_of_the_state_machine() -> None:
    assert (ROOT / PICTURE).read_text() == svg(), "draw it anew: python -m strangler.ledger.diagram"
    assert table() in PAGE


def test_the_picture_has_an_arrow_for_each_way_from_a_stage_to_another() -> None:
    ways = {(stage, to) for (stage, _), after in TRANSITIONS.items() for to in after if to is not stage}
    assert set(edges()) == ways
    assert svg().count("marker-end") == len(ways)


def test_every_command_has_a_name_in_the_history() -> None:
    assert {command for _, command in TRANSITIONS} == set(NAMES)


def test_every_stage_and_every_field_is_told_and_nothing_else() -> None:
    assert first_column("stage") == list(Stage)
    assert first_column("field") == [each.name for each in fields(State)]
