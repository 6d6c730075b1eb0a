"""Requests for recommendations that monolith and service must answer alike."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from strangler.regression import Case

LIKE = "/api/recommendations/"
FRAMED = {"content-length": "an answer without a body is framed by its length or by an empty chunk; nobody sees which"}


def _products() -> Iterator[Case]:
    # The first thirteen are made difficult: prices at both ends, sold out, off the shelf, texts of every kind.
    for number in (*range(1, 21), 55, 60, 77, 123, 250, 400, 499):
        yield Case(target=f"{LIKE}{number}/")
    for number in (1, 3, 6, 12, 13, 60):
        yield Case(target=f"{LIKE}{number}/", headers={"Api-Version": "2"})
        yield Case(target=f"{LIKE}{number}/", method="HEAD")


def _ids() -> Iterator[Case]:
    for written in (
        "0", "-1", "00001", "+1", "1_0", "%201", "1%20", "１", "١٢", "abc", "1.5", "1e2", "é", "%FF", "%00", "%0A",
        "%F0%9F%98%80", "999999", str(2**31), str(2**63 - 1), str(2**63), "9" * 40, "9" * 3000,
    ):  # fmt: skip
        yield Case(target=f"{LIKE}{quote(written, safe='%')}/")


def _addresses() -> Iterator[Case]:
    for target in (LIKE, f"{LIKE}1/nothing/", f"{LIKE}1//", f"{LIKE}1/%0A", "/api//recommendations/1/", f"{LIKE}%31/"):
        yield Case(target=target)
        yield Case(target=target, method="HEAD")
    for target in (f"{LIKE}1", f"{LIKE}1?page=2&x=%C3%BC&y=a|b", f"{LIKE}999999"):
        yield Case(target=target, exempt=FRAMED)
    yield Case(target=f"{LIKE}1", method="POST", body=b"", exempt=FRAMED)
    yield Case(target="/api/recommendations")
    yield Case(target=f"{LIKE}abc")
    yield Case(target=f"{LIKE}1/?page=2&page_size=3&category=kitchen&format=json&anything=%FF")


def _methods() -> Iterator[Case]:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        for target in (f"{LIKE}1/", f"{LIKE}999999/", LIKE):
            yield Case(target=target, method=method)
    yield Case(target=f"{LIKE}1/", method="POST", body=b'{"a": 1}', headers={"Content-Type": "application/json"})


def _headers() -> Iterator[Case]:
    for version in ("1", "2", "3", "", "1.0", " 2 ", "02", "two"):
        yield Case(target=f"{LIKE}1/", headers={"Api-Version": version})
    yield Case(target=f"{LIKE}999999/", headers={"Api-Version": "3"})
    yield Case(target=f"{LIKE}1/", method="POST", headers={"Api-Version": "3"})
    for accept in ("text/html", "application/xml", "*/*", "nonsense"):
        yield Case(target=f"{LIKE}1/", headers={"Accept": accept})
    for name, value in (
        ("Accept-Language", "de"),
        ("Authorization", "Token nobody"),
        ("Cookie", "sessionid=abcdefghijklmnopqrstuvwxyz012345; csrftoken=" + "x" * 32),
        ("Origin", "https://elsewhere.example"),
        ("If-None-Match", "*"),
        ("If-None-Match", '"other"'),
        ("If-Match", '"other"'),
        ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("If-Unmodified-Since", "Mon, 01 Jan 1990 00:00:00 GMT"),
    ):
        yield Case(target=f"{LIKE}1/", headers={name: value})
    outside = {
        "content-length": "the monolith refuses a strange host before it measures the body, and sends it chunked"
    }
    yield Case(target=f"{LIKE}1/", headers={"Host": "elsewhere.example"}, exempt=outside)


CASES = tuple(case for family in (_products, _ids, _addresses, _methods, _headers) for case in family())
