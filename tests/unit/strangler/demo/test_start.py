"""How far a command is, by what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from strangler.demo.start import count


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ("", None),
        ("starting\n", None),
        ("\rproducts   [####......] 1,500/5,000", (1500, 5000, "products")),
        ("\rusers [##] 400/400\n\rproducts [....] 500/5,000\rproducts [#...] 1,000/5,000", (1000, 5000, "products")),
        ("reviews [##] 20,000/20,000\nSeeded 5,000 products in 1.0 s.\n", (20000, 20000, "reviews")),
        ("12 / 40", (12, 40, "")),
    ],
)
def test_the_last_count_in_a_log(said: str, counted: tuple[int, int, str] | None, tmp_path: Path) -> None:
    log = tmp_path / "seed.log"
    log.write_text(said)
    assert count(log) == counted


def test_no_log_no_count(tmp_path: Path) -> None:
    assert count(tmp_path / "none.log") is None
