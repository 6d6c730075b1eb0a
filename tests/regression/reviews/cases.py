"""Reads of the reviews that monolith and service must answer alike: the API, and the pages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final
from urllib.parse import quote, urlencode

from strangler.regression.case import Case, Via
from tests.fixtures.reviewed import ANNS, BARE, BOBS, CUP, FULL, GONE, HIDDEN, ODD, OFF_THE_SHELF, PLATE, WITHDRAWN
from tests.regression.reviews.writes import WRITES

__all__ = ["ANSWERED", "CASES", "WRITES"]

REVIEWS: Final = "/api/reviews/"
OF_CUP: Final = f"/api/catalog/products/{CUP}/reviews/"
PEOPLE: Final = (None, "ann", "bob", "admin")
LANGUAGES: Final = ("en", "de")
FRAMED: Final = {
    "content-length": "an answer without a body is framed by its length or by an empty chunk; nobody sees which"
}
OF_THE_MOMENT: Final = {
    "html input[name=csrfmiddlewaretoken]@value": "masked anew in each answer",
    "set-cookie:csrftoken": "its end is counted from the moment of the answer",
    "set-cookie:messages": "signed with the moment of the answer",
}
OF_SESSIONS: Final = {
    "set-cookie:sessionid": "only the stack that keeps sessions takes back the cookie of one that is none"
}
# Which shapes conditional requests are made of, too.
ANSWERED: Final = (REVIEWS, f"{REVIEWS}{ANNS}/", OF_CUP, f"{REVIEWS}?page=last", f"{REVIEWS}{HIDDEN}/")


def _listed(of: str = REVIEWS, **parameters: str) -> str:
    return f"{of}?{urlencode(parameters)}"


def _addresses() -> Iterator[Case]:
    for target in (
        REVIEWS, OF_CUP, f"/api/catalog/products/{PLATE}/reviews/", f"/api/catalog/products/{BARE}/reviews/",
        f"/api/catalog/products/{GONE}/reviews/", "/api//reviews/", "/api/reviews//", "/api/reviews/./",
        "/api/revi%65ws/", "/api/reviews/1/nothing/", f"{REVIEWS}{ANNS}/photos/", f"{REVIEWS}{ANNS}/vote/",
        f"{OF_CUP}{ANNS}/", f"{REVIEWS}?anything=1",
    ):  # fmt: skip
        yield Case(target=target)
        yield Case(target=target, method="HEAD")


def _forgotten_slashes() -> Iterator[Case]:
    for target in (
        "/api/reviews", "/api/reviews?page=2&q=%C3%BC", f"/api/reviews/{ANNS}", "/api/reviews/no-such",
        f"/api/reviews/{ANNS}/vote", f"/api/catalog/products/{CUP}/reviews", "/en/reviews/of/reviewed-cup",
        "/de/reviews/of/reviewed-cup?page=2", "/en/reviews/write/reviewed-cup", "/en/reviews/nothing",
    ):  # fmt: skip
        yield Case(target=target, exempt=FRAMED)
    yield Case(target="/api/reviews", method="HEAD", exempt=FRAMED)
    yield Case(target="/api/reviews", method="POST", body=b"", exempt=FRAMED)


def _ids() -> Iterator[Case]:
    for number in (ANNS, BOBS, FULL, ODD, HIDDEN, WITHDRAWN, OFF_THE_SHELF):
        yield Case(target=f"{REVIEWS}{number}/")
        yield Case(target=f"{REVIEWS}{number}/", method="HEAD")
    for written in (
        "0", "-1", f"0{ANNS}", "+1", "1_0", "%201", "1%20", "１", "abc", "1.5", "é", "%FF", "%00", "999999999",
        str(2**31), str(2**63 - 1), str(2**63), "9" * 40, "9" * 3000,
    ):  # fmt: skip
        yield Case(target=f"{REVIEWS}{quote(written, safe='%')}/")
        # The proxy refuses a zero byte where a route has a wildcard: it could be read in two ways.
        if written != "%00":
            yield Case(target=f"/api/catalog/products/{quote(written, safe='%')}/reviews/")


def _pages() -> Iterator[Case]:
    for page in (
        "1", "2", "3", "last", "LAST", "0", "-1", "", "abc", "1.0", " 2 ", "２", "1_0", "+2", "99999", "9" * 30,
        "9" * 3000, "\x00",
    ):  # fmt: skip
        yield Case(target=_listed(page=page))
        yield Case(target=_listed(OF_CUP, page=page))
    for size in ("1", "5", "20", "99", "100", "101", "100000", "0", "-5", "", "abc", "1.5", " 7 ", "٣", "9" * 40):
        yield Case(target=_listed(OF_CUP, page_size=size))
        yield Case(target=_listed(OF_CUP, page_size=size, page="last"))
    for page in ("1", "2", "last"):
        yield Case(target=_listed(page=page, page_size="7"))
    yield Case(target=_listed(OF_CUP, page="2", page_size="7"), method="HEAD")
    yield Case(target=_listed(author="nobody", page="1"))
    yield Case(target=_listed(author="nobody", page="2"))
    yield Case(target=_listed(author="nobody", page="last"))


def _links() -> Iterator[Case]:
    for query in (
        "page=2&page=3", "b=2&a=1&page=2", "page=2&empty=", "page=2&bare", "page=2&&&", "page=2&q=%C3%BC%20%2B+",
        "page=2&q=%FF", "page=2&q=%zz", "page=2&q=%00", "Page=2", "page=2&format=json", "format=xml", "format=api",
        "page=2&q=[x]|{y}",
    ):  # fmt: skip
        yield Case(target=f"{REVIEWS}?{query}")
        yield Case(target=f"{OF_CUP}?{query}")
    for host in ("LOCALHOST:8000", "127.0.0.1", "[::1]:80"):
        yield Case(target=f"{REVIEWS}?page=2", headers={"Host": host})
    yield Case(target=f"{REVIEWS}?page=2", headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"})


def _filters() -> Iterator[Case]:
    for value in (str(CUP), str(GONE), "0", "-1", "", "x", "1.5", f"{CUP}.0", "1e1", " 7 ", "NaN", "9" * 30, "\x00"):
        yield Case(target=_listed(product=value))
    for value in ("ann", "bob", "ANN", "nobody", "", " ann ", "ä", "ann,bob", "\x00", "a" * 300):
        yield Case(target=_listed(author=value))
        yield Case(target=_listed(OF_CUP, author=value))
    for value in ("1", "5", "0", "6", "-1", "", "x", "1.5", "4.0", "٤", "9" * 30):
        yield Case(target=_listed(rating=value))
        yield Case(target=_listed(OF_CUP, rating=value))
    yield Case(target=f"{REVIEWS}?rating=1&rating=5")
    yield Case(target=f"{REVIEWS}?product={CUP}&product={PLATE}")
    for author, rating, ordering in product(("ann", ""), ("4", "5"), ("rating", "-created_at")):
        yield Case(target=_listed(product=str(CUP), author=author, rating=rating, ordering=ordering))
    yield Case(target=_listed(product="x", rating="y", page="0"))
    yield Case(target=_listed(OF_CUP, product=str(PLATE)))


def _orderings() -> Iterator[Case]:
    for ordering in (
        "created_at", "-created_at", "rating", "-rating", "rating,-created_at", "-rating,created_at", "id", "-id",
        "title", "helpful", "rating,nonsense", ",", " rating ", "--rating", "-", "rating,rating", "",
    ):  # fmt: skip
        for page in ("1", "2", "last"):
            yield Case(target=_listed(OF_CUP, ordering=ordering, page=page, page_size="7"))
        yield Case(target=_listed(ordering=ordering))
    yield Case(target=f"{REVIEWS}?ordering=rating&ordering=created_at")


def _methods() -> Iterator[Case]:
    targets = (REVIEWS, f"{REVIEWS}{ANNS}/", OF_CUP, f"{REVIEWS}{ANNS}/photos/", f"{REVIEWS}{ANNS}/vote/")
    for target, who in product(targets, PEOPLE):
        for via in Via if who else (Via.SESSION,):
            yield Case(target=target, method="OPTIONS", as_user=who, via=via)
    for target, method in product((*targets, f"{REVIEWS}{HIDDEN}/"), ("PUT", "TRACE", "PROPFIND", "REPORT")):
        for who in (None, "ann"):
            yield Case(target=target, method=method, as_user=who, body=b"")
    for who in (None, "ann"):
        yield Case(target=OF_CUP, method="PATCH", as_user=who, body=b"{}")
        yield Case(target=OF_CUP, method="DELETE", as_user=who)
        yield Case(target=REVIEWS, method="DELETE", as_user=who)


def _asked_by() -> Iterator[Case]:
    for target, who, via in product((REVIEWS, f"{REVIEWS}{ANNS}/", f"{REVIEWS}{HIDDEN}/", OF_CUP), PEOPLE[1:], Via):
        yield Case(target=target, as_user=who, via=via)
    for target, said in product(
        (REVIEWS, f"{REVIEWS}{ANNS}/", OF_CUP),
        (
            "Token 0123456789abcdef", "token x", "Token", "Token a b", "Token \xff", "Basic eDp5", "Bearer x", "",
            "nonsense",
        ),
    ):  # fmt: skip
        yield Case(target=target, headers={"Authorization": said})


def _negotiated() -> Iterator[Case]:
    for target, accept in product(
        (f"{REVIEWS}{ANNS}/", OF_CUP),
        (
            "*/*", "application/json", "application/json; indent=4", "text/html,*/*;q=0.8", "application/xml", "",
            "nonsense", "application/json;version=2",
        ),
    ):  # fmt: skip
        yield Case(target=target, headers={"Accept": accept})
    for target, version in product(
        (REVIEWS, f"{REVIEWS}{ANNS}/", f"{REVIEWS}{HIDDEN}/", OF_CUP, f"{REVIEWS}?page=0"),
        ("1", "2", "3", "0", "", "v2", "1, 2", " 2", "２"),
    ):
        yield Case(target=target, headers={"Api-Version": version})
    for name, value in (
        ("Accept-Language", "de"), ("Accept-Encoding", "gzip, br"), ("X-Requested-With", "XMLHttpRequest"),
        ("Origin", "https://elsewhere.example"), ("Range", "bytes=0-9"), ("Content-Type", "nonsense"),
        ("Cookie", "sessionid=abcdefghijklmnopqrstuvwxyz012345; django_language=de; csrftoken=" + "x" * 32),
    ):  # fmt: skip
        yield Case(target=f"{REVIEWS}{ANNS}/", headers={name: value}, exempt=OF_SESSIONS)
        yield Case(target=_listed(rating="x", page="0"), headers={name: value}, exempt=OF_SESSIONS)


def _conditional() -> Iterator[Case]:
    for target, method in product(ANSWERED, ("GET", "HEAD")):
        for headers in (
            {"If-None-Match": "*"}, {"If-None-Match": '"other"'}, {"If-None-Match": "nonsense"}, {"If-Match": "*"},
            {"If-Match": '"other"'}, {"If-Modified-Since": "Mon, 01 Jan 1990 00:00:00 GMT"},
            {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, {"If-Modified-Since": "nonsense"},
            {"If-Unmodified-Since": "Mon, 01 Jan 1990 00:00:00 GMT"},
            {"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        ):  # fmt: skip
            yield Case(target=target, method=method, headers=headers)


def _strangers() -> Iterator[Case]:
    outside = {
        "content-length": "the monolith refuses a strange host before it measures the body, and sends it chunked"
    }
    for host in ("evil.example", "localhost.evil.example", "local_host", "localhost:port", "", "[::1", "a b"):
        yield Case(target=REVIEWS, headers={"Host": host}, exempt=outside)
        yield Case(target="/en/reviews/of/reviewed-cup/", headers={"Host": host}, exempt=outside)
    yield Case(target=f"{REVIEWS}?" + "a&" * 1001)


def _html() -> Iterator[Case]:
    for language, slug, query in product(
        LANGUAGES,
        ("reviewed-cup", "reviewed-plate", "reviewed-bare"),
        ("", "?part=1", "?page=2", "?part=1&page=2", "?page=last", "?page=99", "?page=x", "?page=0", "?part=", "?q=ü"),
    ):
        yield Case(target=f"/{language}/reviews/of/{slug}/{quote(query, safe='?&=')}", exempt=OF_THE_MOMENT)
    for language, slug, who, query in product(LANGUAGES, ("cup", "plate"), PEOPLE[1:], ("", "?part=1", "?page=2")):
        target = f"/{language}/reviews/of/reviewed-{slug}/{query}"
        yield Case(target=target, as_user=who, exempt=OF_THE_MOMENT)
    for language, slug, asks in product(LANGUAGES, ("cup", "plate", "bare", "gone", "nothing"), PEOPLE):
        target = f"/{language}/reviews/write/{'' if slug == 'nothing' else 'reviewed-'}{slug}/"
        yield Case(target=target, as_user=asks, exempt=OF_THE_MOMENT)
    yield Case(target="/en/reviews/of/reviewed-cup/", as_user="ann", via=Via.TOKEN, exempt=OF_THE_MOMENT)


def _html_elsewhere() -> Iterator[Case]:
    for path in (
        "reviews/", "reviews/of/", "reviews/of/nothing/", "reviews/of/reviewed-gone/", "reviews/of/%C3%BC/",
        "reviews/of/a/b/", "reviews/of/reviewed-cup//", "reviews/nothing/", f"reviews/delete/{ANNS}/",
        f"reviews/vote/{ANNS}/", "reviews/vote/x/", "reviews/write/",
    ):  # fmt: skip
        for language, method in product(LANGUAGES, ("GET", "HEAD")):
            yield Case(target=f"/{language}/{path}", method=method, exempt=OF_THE_MOMENT)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        yield Case(target="/en/reviews/of/reviewed-cup/", method=method, body=b"", as_user="ann")
        yield Case(target="/en/reviews/of/reviewed-cup/", method=method, body=b"")
    for path in ("/fr/reviews/of/reviewed-cup/", "/de-at/reviews/of/reviewed-cup/"):
        yield Case(target=path)
        yield Case(target=path, headers={"Accept-Language": "de-CH, en;q=0.5"})
    said = {"Accept-Language": "de", "Cookie": "django_language=de"}
    yield Case(target="/en/reviews/of/reviewed-cup/", headers=said, exempt=OF_THE_MOMENT)


CASES = [
    *_addresses(),
    *_forgotten_slashes(),
    *_ids(),
    *_pages(),
    *_links(),
    *_filters(),
    *_orderings(),
    *_methods(),
    *_asked_by(),
    *_negotiated(),
    *_conditional(),
    *_strangers(),
    *_html(),
    *_html_elsewhere(),
]
