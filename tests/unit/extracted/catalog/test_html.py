"""Texts stand on a page as the other stack's templates put them there: its framework's filters are asked."""

from __future__ import annotations

import pytest
from catalog_service.html import facts, lines, rendered, stars, worded
from django.template.defaultfilters import linebreaksbr
from hypothesis import example, given
from hypothesis import strategies as st

from strangler.service.asked import Asked

ELSEWHERE = {"en": "/en/products/x/", "de": "/de/products/x/"}


@given(st.text(alphabet="ab<>&'\"\r\n\v\u2028\u0085"))
@example("one\r\ntwo\rthree\n")
def test_line_ends_are_kept(text: str) -> None:
    assert lines(text) == linebreaksbr(text)


@pytest.mark.parametrize(
    ("rating", "shown"),
    [(None, "☆☆☆☆☆"), ("0.49", "☆☆☆☆☆"), ("0.50", "☆☆☆☆☆"), ("1.50", "★★☆☆☆"), ("4.51", "★★★★★")],
)
def test_a_rating_is_the_nearest_number_of_stars(rating: str | None, shown: str) -> None:
    assert stars(rating) == shown


def test_an_attribute_is_called_in_words() -> None:
    assert (worded("weight_kg"), worded("IS_SAFE")) == ("Weight kg", "Is safe")


@pytest.mark.parametrize("attributes", [None, [], "text", 1])
def test_what_is_no_object_has_no_facts(attributes: object) -> None:
    assert facts(attributes) == []


def missing(language: str) -> str:
    asked = Asked(method="GET", scheme="http", path="/", query="q=%22%3E%3Cscript%3E'", headers={})
    return rendered("not_found.html", asked, language, other=ELSEWHERE).decode()


def test_what_the_reader_asked_is_escaped() -> None:
    assert 'name="q" value="&quot;&gt;&lt;script&gt;&#x27;"' in missing("en")


def test_a_page_speaks_its_language_and_leads_to_the_other() -> None:
    page = missing("de")
    assert '<html lang="de">' in page
    assert "Unter dieser Adresse gibt es nichts." in page
    assert '<a href="/en/products/x/" hreflang="en" lang="en">English</a>' in page
