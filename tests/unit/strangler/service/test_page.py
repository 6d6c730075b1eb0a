import pytest

from strangler.service.asked import Asked
from strangler.service.page import NoSuchPage, PageAsked


def asked(query: str) -> Asked:
    return Asked(method="GET", scheme="http", path="/p/", query=query, headers={"host": "shop"})


def read(query: str) -> PageAsked:
    return PageAsked.of(asked(query))


@pytest.mark.parametrize(
    ("query", "number", "size"),
    [
        ("", 1, 20),
        ("page=", 1, 20),
        ("page=3&page_size=7", 3, 7),
        ("page=last", None, 20),
        ("page=abc", 0, 20),
        ("page_size=101", 1, 100),
        ("page_size=0", 1, 20),
        ("page_size=-1", 1, 20),
        ("page_size=x", 1, 20),
    ],
)
def test_what_is_asked(query: str, number: int | None, size: int) -> None:
    assert read(query) == PageAsked(number=number, size=size)


@pytest.mark.parametrize(("count", "last"), [(0, 1), (1, 1), (20, 1), (21, 2), (40, 2), (41, 3)])
def test_the_last_page_may_be_short_and_nothing_has_one_page(count: int, last: int) -> None:
    assert read("page=last").of_total(count).number == last
    with pytest.raises(NoSuchPage):
        read(f"page={last + 1}").of_total(count)


def links(query: str, count: int) -> tuple[object, object]:
    envelope = read(query).of_total(count).around([], asked(query))
    return envelope["previous"], envelope["next"]


def test_links_keep_the_rest_of_the_query_in_order() -> None:
    assert links("b=2&page=2&a=%C3%BC&a=", 60) == (
        "http://shop/p/?a=%C3%BC&a=&b=2",
        "http://shop/p/?a=%C3%BC&a=&b=2&page=3",
    )


def test_the_ends_have_no_link_beyond() -> None:
    assert links("", 21) == (None, "http://shop/p/?page=2")
    assert links("page=2", 21) == ("http://shop/p/", None)
