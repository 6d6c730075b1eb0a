"""Requests for wish lists: only a service answers them, and the proxy has to pass on what it says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

from strangler.regression import Case, Form, Json, Via

# The rows that each case begins with: ann keeps some products, bob none, and admin as many as there may be.
SOME: Final = 25
MOST: Final = 200
ROWS: Final = f"""
DELETE FROM wish;
INSERT INTO wish SELECT '2', number, 'slug-' || number, 'Täßchen <' || number || '>', '/images/X.svg',
    '2025-01-01 12:00:00.5+00'::timestamptz + make_interval(hours => number / 3)
    FROM generate_series(1, {SOME}) AS number;
INSERT INTO wish SELECT '1', 1000 + number, 'slug', 'name', '/images/X.svg', '2025-01-01 12:00:00+00'
    FROM generate_series(1, {MOST}) AS number;
"""
WISHES: Final = "/api/wishlist/"
WHO: Final = (None, "ann", "bob", "admin")
MOMENT: Final = {"$.kept_at": "the moment of keeping", "etag": "of a body that holds that moment"}
MASKED: Final = {"html input[name=csrfmiddlewaretoken]@value": "masked anew in each answer"}


def _reads() -> Iterator[Case]:
    for target, who, via in product((WISHES, f"{WISHES}3/", f"{WISHES}999999/"), WHO, Via):
        yield Case(target=target, as_user=who, via=via)
        yield Case(target=target, as_user=who, via=via, method="HEAD")
    for query in (
        "page=2",
        "page=3",
        "page=last",
        "page=x",
        "page_size=7&page=2",
        "page_size=1000",
        "b=2&a=%C3%BC&page=2",
    ):
        yield Case(target=f"{WISHES}?{query}", as_user="ann", via=Via.TOKEN)
    for written in ("0", "00003", "9" * 30, "x", "%00", "1/2"):
        yield Case(target=f"{WISHES}{written}/", as_user="ann")
    for target in ("/api/wishlist", f"{WISHES}3", "/api/wishlist/nothing/", "/en/wishlist", "/de/wishlist/add/x"):
        yield Case(target=target, as_user="ann")
    for version in ("1", "2", "3"):
        yield Case(target=WISHES, as_user="ann", headers={"Api-Version": version})
    yield Case(target=WISHES, as_user="ann", headers={"If-None-Match": "*"})
    for method in ("OPTIONS", "PATCH", "TRACE", "PROPFIND"):
        yield Case(target=WISHES, as_user="ann", method=method)
        yield Case(target=WISHES, method=method)


def _writes() -> Iterator[Case]:
    for number, who, via in product((3, 100), WHO, Via):
        for method in ("PUT", "DELETE"):
            yield Case(target=f"{WISHES}{number}/", method=method, as_user=who, via=via, exempt=MOMENT)
        body = Json({"product": number})
        yield Case(target=WISHES, method="POST", body=body, as_user=who, via=via, exempt=MOMENT)
    for number in (12, 999_999, 0, 10**30):
        yield Case(target=f"{WISHES}{number}/", method="PUT", as_user="ann", exempt=MOMENT)
    values: tuple[object, ...] = (None, "", "x", "100", 1.5, True, [], {}, 12, 999_999, -1, 10**30)
    for value in values:
        yield Case(target=WISHES, method="POST", body=Json({"product": value}), as_user="ann", exempt=MOMENT)
    for sent in (b"", b"{", b"[]", b"5", b'{"other": 1}', b"\xff"):
        headers = {"Content-Type": "application/json"}
        yield Case(target=WISHES, method="POST", body=sent, headers=headers, as_user="ann")
    yield Case(target=WISHES, method="POST", body=Form({"product": "100"}), as_user="ann", exempt=MOMENT)
    for forged in ({"X-CSRFToken": ""}, {"X-CSRFToken": "x" * 32}, {"Origin": "https://elsewhere.example"}):
        for method, path in (("PUT", "100/"), ("DELETE", "3/"), ("POST", "")):
            given = Json({"product": 100}) if method == "POST" else None
            yield Case(target=WISHES + path, method=method, body=given, headers=forged, as_user="ann", exempt=MOMENT)


def _pages(slug: str) -> Iterator[Case]:
    for language, who, via in product(("en", "de"), WHO, Via):
        for method in ("GET", "HEAD"):
            for path in ("", f"add/{slug}/", "add/nothing/"):
                target = f"/{language}/wishlist/{path}"
                yield Case(target=target, method=method, as_user=who, via=via, exempt=MASKED)
        for path in (f"add/{slug}/", "add/nothing/", "remove/3/", f"remove/{'9' * 30}/"):
            target = f"/{language}/wishlist/{path}"
            yield Case(target=target, method="POST", body=Form({}), as_user=who, via=via)
    for method, path in product(("GET", "POST", "DELETE"), ("", "remove/3/", "nothing/")):
        yield Case(target=f"/en/wishlist/{path}", method=method, as_user="bob", exempt=MASKED)
    forged = {"X-CSRFToken": "wrong"}
    yield Case(target="/de/wishlist/remove/3/", method="POST", body=Form({}), headers=forged, as_user="ann")


def cases(slug: str) -> list[Case]:
    """Return every case; ``slug`` is that of a product on the shelf."""
    return [*_reads(), *_writes(), *_pages(slug)]
