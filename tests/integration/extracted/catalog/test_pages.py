"""The catalog's pages, which are the same for every visitor, as the service shows them alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.integration.extracted.catalog.conftest import Served

LIST, CUP = "/en/products/", "/en/products/cup/"


def page(served: Served, path: str, status: int = 200) -> str:
    answer = served.client.get(path)
    assert answer.status_code == status
    return answer.text


def test_a_product_is_shown_in_the_language_of_its_address(served: Served) -> None:
    assert "3 in stock" in page(served, CUP)
    assert "19.90&nbsp;EUR" in page(served, CUP)
    german = page(served, "/de/products/cup/")
    assert '<html lang="de">' in german
    assert "3 auf Lager" in german
    assert "19,90&nbsp;EUR" in german


def test_what_rows_hold_is_escaped_and_their_numbers_are_written(served: Served) -> None:
    shown = page(served, "/de/products/bowl-100/")
    for text in (
        "<h1>Bowl &lt;100&gt;</h1>",
        "Ümlaut &amp; more",
        "<p>Thin.<br>Deep.</p>",
        "<dt>Weight kg</dt><dd>1,5</dd>",
        "<dt>Lid</dt><dd>ja</dd>",
        "★★★★☆ 4,50 <small>(2)</small>",
        "Ausverkauft",
    ):
        assert text in shown
    assert "In den Warenkorb" not in shown


def names(shown: str) -> list[str]:
    return re.findall(r'<span class="name">(.*?)</span>', shown)


def test_products_are_searched_sorted_and_paged(served: Served) -> None:
    assert names(page(served, f"{LIST}?q=cup")) == ["Cup"]
    assert len(names(page(served, f"{LIST}?category=cups"))) == 24
    dearest = page(served, f"{LIST}?category=more&sort=-price&page=2")
    assert names(dearest) == [f"Bowl &lt;{number}&gt;" for number in range(105, 99, -1)]
    assert 'href="?category=more&amp;sort=-price&amp;page=1"' in dearest
    assert "Nothing fits" in page(served, f"{LIST}?q=nowhere")


def test_what_is_asked_wrongly_is_said_and_left_out(served: Served) -> None:
    shown = page(served, f"{LIST}?q={'a' * 101}&category=none&sort=x&page=x")
    assert shown.count('role="alert"') == 3
    assert len(names(shown)) == 24


@pytest.mark.parametrize("path", ["/en/products/nothing/", "/en/products/gone/", "/en/products/a/b/"])
def test_where_nothing_is_a_page_says_so(served: Served, path: str) -> None:
    assert "There is nothing at this address." in page(served, path, 404)


@pytest.mark.parametrize("path", [LIST, CUP])
def test_a_page_knows_no_visitor(served: Served, path: str) -> None:
    plain = served.client.get(path)
    known = served.client.get(path, headers={"Cookie": "sessionid=x; csrftoken=y; django_language=de"})
    assert known.content == plain.content
    assert not {"set-cookie", "vary"} & set(known.headers)
    assert known.headers["cache-control"] == "public, max-age=0, must-revalidate"
    again = served.client.get(path, headers={"If-None-Match": known.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_a_page_is_only_read(served: Served, method: str) -> None:
    answer = served.client.request(method, CUP)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_forgotten_slash_is_put_right(served: Served) -> None:
    answer = served.client.get("/de/products?q=cup")
    assert (answer.status_code, answer.headers["location"]) == (301, "/de/products/?q=cup")


def inline(shown: str) -> Iterator[str]:
    yield from re.findall(r"<style|\sstyle=|\son\w+=|javascript:", shown)
    yield from (tag for tag in re.findall(r"<script[^>]*>", shown) if " src=" not in tag)


@pytest.mark.parametrize("path", [LIST, CUP])
def test_nothing_on_a_page_needs_a_loose_content_policy(served: Served, path: str) -> None:
    assert list(inline(page(served, path))) == []
