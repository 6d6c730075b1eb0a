"""Words are what the other stack takes for words: its framework's own functions are asked."""

from collections.abc import Iterator

import pytest
from catalog_service.words import pattern, words
from django.utils.text import smart_split, unescape_string_literal
from hypothesis import given
from hypothesis import strategies as st


def expected(search: str) -> Iterator[str]:
    for run in smart_split(search):
        term = run.strip(",")
        if term.startswith(('"', "'")) and term[0] == term[-1]:
            yield unescape_string_literal(term)
        else:
            yield from (part.strip() for part in term.split(",") if part)


@given(st.text(alphabet="ab ,\"'\\\t\u00a0ü"))
def test_any_text_parts_into_the_same_words(search: str) -> None:
    assert words(search) == tuple(expected(search))


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("wool towel", ("wool", "towel")),
        ("wool,towel", ("wool", "towel")),
        ('"wool towel" red', ("wool towel", "red")),
        ("it's", ("it's",)),
        (" , ", ()),
    ],
)
def test_words_and_phrases(search: str, found: tuple[str, ...]) -> None:
    assert words(search) == found


def test_a_pattern_means_its_signs_literally() -> None:
    assert pattern(r"50%_\x") == r"%50\%\_\\x%"
