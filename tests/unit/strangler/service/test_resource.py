"""Resources that answer as a Django project's do: methods, versions, conditions, and what is elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from strangler.service import answer
from strangler.service.answer import Answer, Refused
from strangler.service.asked import Asked, Site
from strangler.service.resource import Elsewhere, Exact, Resource

SHAPED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}


async def item(asked: Asked) -> Answer:
    number = asked.captured["id"]
    if number == "0":
        raise Refused(404, {"detail": "Not found."})
    return answer.found({"id": int(number), "x": asked.parameters.get("x")})


SITE = Site(hosts=("shop",))
ROUTES = [Exact("/items/{id:digits}/", Resource(item, SITE, ("1", "2")))]
APP = Starlette(routes=ROUTES)
APP.router.redirect_slashes = False
APP.router.default = Elsewhere(ROUTES, SITE)


def ask(path: str, method: str = "GET", host: str = "shop", **headers: str) -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(APP)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(request())


def test_what_is_found_may_be_kept_and_asked_for_again() -> None:
    found = ask("/items/7/?x=%E2%80%A8ü")
    assert found.text == '{"id":7,"x":"\\u2028ü"}'
    assert dict(found.headers) == {
        "content-type": "application/json",
        "allow": "GET, HEAD",
        "vary": "Api-Version",
        "cache-control": "no-cache",
        "etag": found.headers["etag"],
        "content-length": str(len(found.content)),
        **SHAPED,
    }
    again = ask("/items/7/?x=%E2%80%A8ü", **{"if-none-match": found.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", found.headers["etag"])


def test_head_is_get_without_its_body() -> None:
    head = ask("/items/7/", "HEAD")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "17")


@pytest.mark.parametrize(
    ("path", "method", "headers", "status", "detail"),
    [
        ("/items/0/", "GET", {}, 404, "Not found."),
        ("/items/7/", "PUT", {}, 405, 'Method "PUT" not allowed.'),
        ("/items/7/", "PUT", {"api-version": "3"}, 406, 'Invalid version in "Api-Version" header.'),
        ("/nothing/", "GET", {}, 404, "Not found."),
        ("/items/7/%0A", "GET", {}, 404, "Not found."),
        ("/items/x/", "GET", {}, 404, "Not found."),
    ],
)
def test_what_will_not_do_is_said(path: str, method: str, headers: dict[str, Any], status: int, detail: str) -> None:
    refused = ask(path, method, **headers)
    assert (refused.status_code, refused.json()) == (status, {"detail": detail})
    assert SHAPED.items() <= dict(refused.headers).items()


def test_a_forgotten_slash_is_put_right() -> None:
    moved = ask("/items/7?x=a b")
    assert (moved.status_code, moved.headers["location"], moved.content) == (301, "/items/7/?x=a%20b", b"")


@pytest.mark.parametrize("path", ["/items/7/", "/nothing/"])
def test_a_name_that_is_not_ours_is_answered_by_nobody(path: str) -> None:
    assert ask(path, host="elsewhere").status_code == 400


def test_what_is_personal_may_be_kept_by_nobody() -> None:
    told = answer.personal(200, [], allow="GET, PUT", headers={"X": "1"})
    assert (told.headers["Cache-Control"], told.headers["Vary"]) == ("no-store, private", "Api-Version, Cookie")
    assert (told.headers["Allow"], told.headers["X"], told.body) == ("GET, PUT", "1", b"[]")
    nothing = answer.personal(204, None, allow="DELETE")
    assert (nothing.body, "Content-Type" in nothing.headers) == (b"", False)
