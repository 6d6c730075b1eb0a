"""Pictures in the documentation show what the code draws."""

from __future__ import annotations

import re

from tests.fixtures.frames import PICTURE, drawn


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_the_picture_of_top_is_what_it_shows() -> None:
    assert texts(PICTURE.read_text()) == texts(drawn()), "draw it anew: python -m tests.fixtures.frames"


def test_it_loads_nothing_from_elsewhere() -> None:
    addresses = re.findall(r'(?:url\(|href=)"?(https?:[^")]*)', PICTURE.read_text())
    assert addresses == []
