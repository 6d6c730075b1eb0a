"""The page about speed says what was measured, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import page

RAWS = (page.RAW, page.SYNC_RAW)


def test_the_table_and_the_picture_are_those_of_the_raw_rounds() -> None:
    rows = page.read(page.RAW)
    text = page.PAGE.read_text()
    assert page.page(text, rows) == text
    assert page.PLOT.read_text() == page.plot(page.rates(rows))


def test_the_table_of_the_sync_is_that_of_its_raw_rounds() -> None:
    text = page.SYNC_PAGE.read_text()
    assert page.page(text, page.read(page.SYNC_RAW)) == text


@pytest.mark.parametrize("raw", RAWS, ids=lambda raw: raw.stem)
def test_every_row_has_the_rounds_that_it_is_made_of(raw: Path) -> None:
    for row in page.read(raw):
        ratios = sorted(ours / peer for ours, peer in row.rounds)
        assert abs(ratios[len(ratios) // 2] - row.ratio) < 0.01 + row.ratio / 100, row.name
        if row.target is None:
            assert row.met, row.name
        else:
            assert row.met == (row.ratio <= row.target if row.at_most else row.ratio >= row.target), row.name
