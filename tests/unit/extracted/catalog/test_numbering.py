from __future__ import annotations

import pytest
from catalog_service.numbering import PER_PAGE, Numbered
from django.core.paginator import Paginator
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(1, 60), st.data())
def test_the_numbers_shown_are_those_of_the_other_stack(last: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, last))
    paginator = Paginator(range(PER_PAGE * last), PER_PAGE)
    theirs = paginator.get_elided_page_range(number, on_each_side=1, on_ends=1)
    ours = Numbered(number=number, last=last, count=PER_PAGE * last).elided()
    assert [each if isinstance(each, int) else None for each in theirs] == list(ours)


@given(st.none() | st.text(max_size=5) | st.integers(-5, 50).map(str), st.integers(0, 500))
def test_a_number_means_the_page_that_it_means_there(asked: str | None, count: int) -> None:
    page = Paginator(range(count), PER_PAGE).get_page(asked if asked is not None else 1)
    assert Numbered.of(asked, count) == Numbered(number=page.number, last=page.paginator.num_pages, count=count)


@pytest.mark.parametrize(("count", "last"), [(0, 1), (24, 1), (25, 2)])
def test_an_empty_list_has_one_page(count: int, last: int) -> None:
    assert Numbered.of(None, count).last == last
