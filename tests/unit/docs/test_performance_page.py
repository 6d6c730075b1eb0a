"""The page about speed says what was measured, and nothing else."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from tests.bench import page

RAWS = (page.RAW, page.SYNC_RAW, page.CUTOVER_RAW)


def test_the_table_and_the_picture_are_those_of_the_raw_rounds() -> None:
    rows = page.read(page.RAW)
    text = page.PAGE.read_text()
    assert page.page(text, rows) == text
    assert page.PLOT.read_text() == page.plot(page.rates(rows))


@pytest.mark.parametrize(
    ("text", "raw"), [(page.SYNC_PAGE, page.SYNC_RAW), (page.CUTOVER_PAGE, page.CUTOVER_RAW)], ids=["sync", "cutover"]
)
def test_a_table_is_that_of_its_raw_rounds(text: Path, raw: Path) -> None:
    written = text.read_text()
    assert page.page(written, page.read(raw)) == written


@pytest.mark.parametrize("raw", RAWS, ids=lambda raw: raw.stem)
def test_every_row_has_the_rounds_that_it_is_made_of(raw: Path) -> None:
    for row in page.read(raw):
        ratio = median(ours / peer for ours, peer in row.rounds)
        assert abs(ratio - row.ratio) < 0.01 + row.ratio / 100, row.name
        if row.target is None:
            assert row.met, row.name
        else:
            assert row.met == (row.ratio <= row.target if row.at_most else row.ratio >= row.target), row.name
