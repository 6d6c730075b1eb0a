"""The pages of the wish list, as a browser asks for them."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import psycopg
import pytest

from strangler.service import csrf
from tests.fixtures.answering import Answering
from tests.fixtures.ports import free_port
from tests.integration.extracted.wishlist.conftest import ISSUER, serving

LIST = "/en/wishlist/"
ADD = "/en/wishlist/add/cup-1/"
SECRET = "s" * 32


def maria() -> dict[str, str]:
    """Return what comes with a request of Maria's browser, which has been at the shop before."""
    return {**ISSUER.headers(sub="7", name="maria"), "Cookie": f"csrftoken={SECRET}"}


def token_in(page: httpx.Response) -> str:
    found = re.search(rf'name="{csrf.FIELD}" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def test_a_product_is_kept_by_a_form_and_removed_by_another(served: httpx.Client) -> None:
    confirm = served.get(ADD, headers=maria())
    assert confirm.status_code == 200
    assert '<a href="/en/products/cup-1/">Täßchen &lt;1&gt;</a>' in confirm.text
    added = served.post(ADD, data={csrf.FIELD: token_in(confirm)}, headers=maria())
    assert (added.status_code, added.headers["location"]) == (302, LIST)
    shown = served.get(LIST, headers=maria())
    assert '<a class="name" href="/en/products/cup-1/">Täßchen &lt;1&gt;</a>' in shown.text
    removed = served.post("/en/wishlist/remove/1/", data={csrf.FIELD: token_in(shown)}, headers=maria())
    assert (removed.status_code, removed.headers["location"]) == (302, LIST)
    assert "Your wish list is empty." in served.get(LIST, headers=maria()).text


def test_asking_changes_nothing(served: httpx.Client) -> None:
    served.get(ADD, headers=maria())
    assert served.get("/en/wishlist/remove/1/", headers=maria()).headers["allow"] == "POST"
    assert "is empty" in served.get(LIST, headers=maria()).text


def test_pages_are_kept_by_nobody_and_speak_their_language(served: httpx.Client) -> None:
    page = served.get("/de/wishlist/", headers=maria())
    assert {name: page.headers[name] for name in ("cache-control", "vary", "content-language", "x-frame-options")} == {
        "cache-control": "no-store, private",
        "vary": "Cookie",
        "content-language": "de",
        "x-frame-options": "DENY",
    }
    assert "<h1>Ihr Wunschzettel</h1>" in page.text
    assert '<a href="/en/wishlist/" hreflang="en" lang="en">English</a>' in page.text
    assert 'data-fragment="/de/bar/"' in page.text
    assert served.head("/de/wishlist/", headers=maria()).headers["content-length"] == page.headers["content-length"]


@pytest.mark.parametrize(
    ("method", "path", "following"),
    [
        ("GET", LIST, "/en/wishlist/"),
        ("GET", "/de/wishlist/add/cup-1/?x=%C3%BC", "/de/wishlist/add/cup-1/%3Fx%3D%25C3%25BC"),
        ("POST", ADD, ADD),
        ("POST", "/en/wishlist/remove/1/", "/en/wishlist/"),
    ],
)
def test_whoever_is_not_logged_in_is_sent_to_do_so(
    served: httpx.Client, method: str, path: str, following: str
) -> None:
    answer = served.request(method, path)
    assert (answer.status_code, answer.headers["cache-control"]) == (302, "no-store, private")
    assert answer.headers["location"] == f"{path[:3]}/account/login/?next={following}"


def test_a_program_with_a_token_is_no_visitor_of_a_page(served: httpx.Client) -> None:
    program = ISSUER.headers(sub="7", via="token")
    assert served.get(LIST, headers=program).headers["location"] == "/en/account/login/?next=/en/wishlist/"
    assert served.post(ADD, headers=program).headers["location"] == f"/en/account/login/?next={ADD}"
    assert "is empty" in served.get(LIST, headers=maria()).text


def test_a_visitor_without_a_secret_gets_one_that_will_pass(served: httpx.Client) -> None:
    session = ISSUER.headers(sub="7")
    first = served.get(ADD, headers=session)
    cookie = first.headers["set-cookie"]
    assert re.fullmatch(r"csrftoken=\w{32}; Max-Age=31449600; Path=/; SameSite=Lax", cookie)
    secret = cookie.partition(";")[0]
    # The client keeps cookies, as browsers do.
    assert served.post(ADD, data={csrf.FIELD: token_in(first)}, headers={**session, "Cookie": secret}).is_redirect
    assert "set-cookie" not in served.get(ADD, headers=maria()).headers


def test_the_cookie_stays_on_https_where_it_was_set(served: httpx.Client) -> None:
    page = served.get(LIST, headers={**ISSUER.headers(sub="7"), "X-Forwarded-Proto": "https"})
    assert page.headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize("sent", [{}, {csrf.FIELD: "x" * 32}, {csrf.FIELD: ""}])
def test_another_site_cannot_send_the_form(served: httpx.Client, sent: dict[str, str]) -> None:
    answer = served.post(ADD, data=sent, headers=maria())
    assert answer.status_code == 403
    assert "This did not come from the shop" in answer.text
    assert "is empty" in served.get(LIST, headers=maria()).text


def test_the_shop_s_script_sends_the_secret_itself(served: httpx.Client) -> None:
    assert served.post(ADD, data={csrf.FIELD: SECRET}, headers=maria()).is_redirect


@pytest.mark.parametrize("path", ["/en/wishlist/add/plate-1/", "/de/wishlist/nothing/", "/de/wishlist/remove/x/"])
def test_what_there_is_not_is_a_page_that_says_so(served: httpx.Client, path: str) -> None:
    answer = served.get(path, headers=maria())
    assert answer.status_code == 404
    assert {"en": "<h1>Not found</h1>", "de": "<h1>Nicht gefunden</h1>"}[path[1:3]] in answer.text


def test_a_forgotten_slash_is_put_right(served: httpx.Client) -> None:
    assert served.get("/de/wishlist", headers=maria()).headers["location"] == "/de/wishlist/"


def test_a_full_list_says_so(served: httpx.Client, wishes_url: str) -> None:
    with psycopg.connect(wishes_url) as connection:
        connection.execute(
            "INSERT INTO wish (visitor, product, slug, name, image)"
            " SELECT '7', number, 'x', 'X', '/x.svg' FROM generate_series(100, 299) AS number"
        )
    answer = served.post(ADD, data={csrf.FIELD: SECRET}, headers=maria())
    assert answer.status_code == 400
    assert "at most 200 products" in answer.text
    assert served.get(LIST, headers=maria()).text.count('class="name"') == 200


def test_a_catalog_that_is_away_leaves_the_list_readable(
    wishes_url: str, served: httpx.Client, beside: Answering, tmp_path: Path
) -> None:
    served.post(ADD, data={csrf.FIELD: SECRET}, headers=maria())
    with serving(wishes_url, f"http://127.0.0.1:{free_port()}", tmp_path) as client:
        assert "cup-1" in client.get(LIST, headers=maria()).text
        answer = client.get(ADD, headers=maria())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "Please come back in a moment." in answer.text
