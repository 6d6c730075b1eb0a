"""The page about cutovers shows the protocol as it runs, and tells what the exploration finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from strangler.cutover.diagram import PICTURE, svg, table
from strangler.cutover.protocol import Step
from tests.unit.strangler.cutover.exploring import PROMISE, explore
from tests.unit.strangler.cutover.found import FOUND, STATES
from tests.unit.strangler.cutover.world import Fault

DOCS: Final = Path(__file__).parents[3] / "docs"
PAGE: Final = (DOCS / "explanation" / "cutover.md").read_text()
DECISION: Final = (DOCS / "decisions" / "0022-cutover-protocol.md").read_text()


def test_the_picture_and_the_table_are_those_of_the_protocol() -> None:
    assert (DOCS.parent / PICTURE).read_text() == svg(), "draw it anew: python -m strangler.cutover.diagram"
    assert f"]({Path(PICTURE).name})" in PAGE
    assert table() in PAGE


def test_every_step_is_told_and_nothing_else() -> None:
    told = re.findall(r"^- ((?:\*\*[a-z ]+\*\*(?:, )?)+):", PAGE, flags=re.MULTILINE)
    assert re.findall(r"\*\*([a-z ]+)\*\*", " ".join(told)) == list(Step)


def test_the_number_of_worlds_is_what_the_exploration_finds() -> None:
    assert f"**{STATES:,} worlds**" in PAGE
    assert f"{STATES:,} worlds" in DECISION


def test_every_fault_stands_with_what_becomes_of_it() -> None:
    rows = re.search(r"\| taken out \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE)
    assert rows is not None
    assert rows[1].splitlines() == [f"| {fault} | {worst} |" for fault, (_, worst) in FOUND.items()]


def test_the_counterexample_is_the_one_that_is_found() -> None:
    bounds, _ = FOUND[Fault.LOWER_BEFORE_LEDGER]
    story = explore(bounds, Fault.LOWER_BEFORE_LEDGER, looking_for=PROMISE).story
    assert re.findall(r"```text\n(.*?)\n```", PAGE, flags=re.DOTALL) == ["\n".join(story)]
