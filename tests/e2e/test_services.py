"""The services that nothing is copied to, in a running demo: who asks them and whom they ask."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.family import Demo, copied, free_base
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(copied(tmp_path_factory.mktemp("services"), scale=0.1), free_base()) as running:
        yield running


@pytest.fixture
def browser(demo: Demo) -> Iterator[httpx.Client]:
    """Somebody who has just registered at the shop."""
    with httpx.Client(base_url=demo.url(""), timeout=20, follow_redirects=True) as client:
        page = client.get("/en/account/register/")
        fields = dict.fromkeys(re.findall(r'name="(password\d)"', page.text), "a long enough secret 7")
        sent = {"csrfmiddlewaretoken": token_in(page), "username": "wishful", "email": "wishful@example.com", **fields}
        done = client.post("/en/account/register/", data=sent)
        assert done.url.path != "/en/account/register/", done.text
        yield client


def token_in(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def line_of(demo: Demo, service: str, path: str) -> dict[str, str]:
    """Return the latest request line of a service for a path."""
    log = demo.folder / ".local" / "log" / f"{service}.access.log"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    found: list[dict[str, str]] = [line for line in lines if line["path"] == path]
    assert found, f"{service} was not asked for {path}"
    return found[-1]


def test_a_visitor_of_the_shop_keeps_a_product_in_the_service(demo: Demo, browser: httpx.Client) -> None:
    product = browser.get("/api/catalog/products/7/").json()
    confirm = browser.get(f"/en/wishlist/add/{product['slug']}/")
    shown = browser.post(str(confirm.url), data={"csrfmiddlewaretoken": token_in(confirm)})
    assert (shown.url.path, product["name"] in shown.text) == ("/en/wishlist/", True)
    listed = browser.get("/api/wishlist/").json()
    assert [each["product"] for each in listed["results"]] == [7]
    assert listed["results"][0]["image"] == product["image"]


def test_a_stranger_is_sent_to_log_in(demo: Demo) -> None:
    answer = demo.get("/de/wishlist/")
    assert (answer.status_code, answer.headers["location"]) == (302, "/de/account/login/?next=/de/wishlist/")
    assert demo.get("/api/wishlist/").status_code == 401


def test_recommendations_are_the_same_from_the_service_and_follow_the_catalog(demo: Demo) -> None:
    path = "/api/recommendations/7/"
    before = demo.get(path)
    moved = demo.run("set", "recommendations", "--reads", "100%", "--reason", "tests")
    assert moved.returncode == 0, moved.stderr
    trace = "a" * 32
    headers = {"traceparent": f"00-{trace}-{'b' * 16}-01"}
    until(lambda: "recommendations" in answered_by(demo, path, headers), "the service answers")
    after = demo.get(path, **headers)
    assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])
    assert len(after.json()["results"]) == 8
    assert line_of(demo, "recommendations", path)["trace_id"] == trace
    monolith = (demo.folder / ".local" / "log" / "monolith.access.log").read_text()
    assert f"GET /api/catalog/products/7/ 200 00-{trace}-" in monolith


def answered_by(demo: Demo, path: str, headers: dict[str, str]) -> str:
    assert demo.get(path, **headers).status_code == 200
    log = demo.folder / ".local" / "log" / "recommendations.access.log"
    return log.read_text() if log.exists() else ""
