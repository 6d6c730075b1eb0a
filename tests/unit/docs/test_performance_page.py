"""The page about speed says what was measured, and nothing else."""

from __future__ import annotations

from tests.bench import page


def test_the_table_and_the_picture_are_those_of_the_raw_rounds() -> None:
    rows = page.read(page.RAW)
    text = page.PAGE.read_text()
    assert page.page(text, rows) == text
    assert page.PLOT.read_text() == page.plot(page.rates(rows))


def test_every_row_has_the_rounds_that_it_is_made_of() -> None:
    for row in page.read(page.RAW):
        ratios = sorted(ours / peer for ours, peer in row.rounds)
        assert abs(ratios[len(ratios) // 2] - row.ratio) < 0.01 + row.ratio / 100, row.name
        assert row.met == (row.ratio <= row.target if row.at_most else row.ratio >= row.target)
