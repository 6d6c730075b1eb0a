"""Pictures in the documentation show what the code draws, say in words what they show, and load nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.pictures import DOCS, FROM_A_DEMO, FROM_CODE, FROM_CONTAINERS

PICTURES: Final = sorted(each for each in DOCS.rglob("*") if each.suffix in (".svg", ".png"))
# What somebody on the road loads with a page.
_MOST_BYTES: Final = 128 * 1024


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def shown() -> dict[Path, str]:
    """Return the pictures that pages show, with what stands for each where it is not seen."""
    pages = {page: page.read_text() for page in DOCS.rglob("*.md")}
    return {
        (page.parent / file).resolve(): words
        for page, text in pages.items()
        for words, file in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", text)
    }


@pytest.mark.parametrize(("path", "draw"), FROM_CODE.items(), ids=lambda each: getattr(each, "stem", ""))
def test_a_picture_of_code_is_what_the_code_draws(path: Path, draw: Callable[[], str]) -> None:
    assert texts(path.read_text()) == texts(draw()), "draw it anew: make pictures"


def test_one_command_draws_all_that_there_are_and_pages_show_each() -> None:
    assert sorted({*FROM_CODE, *FROM_A_DEMO, FROM_CONTAINERS}) == PICTURES
    assert sorted(shown()) == PICTURES


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: str(path.relative_to(DOCS)))
def test_a_picture_is_small_loads_nothing_from_elsewhere_and_is_told_in_words(path: Path) -> None:
    assert path.stat().st_size <= _MOST_BYTES
    assert len(shown()[path].split()) >= 5
    if path.suffix == ".svg":
        assert re.findall(r'(?:url\(|href=)"?(https?:[^")]*)', path.read_text()) == []
