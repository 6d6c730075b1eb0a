"""The catalog's pages, as browsers, search engines and curious people ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from urllib.parse import urlencode

from strangler.regression import Case
from tests.regression.catalog.cases import FRAMED

RENEWED = dict.fromkeys(("set-cookie", "vary"), "only the stack that gives cookies takes back one that is none")
OUTSIDE = {"content-length": "the monolith refuses a strange host before it measures the body, and sends it chunked"}

LANGUAGES = ("en", "de")


def _list(language: str, **parameters: str) -> str:
    return f"/{language}/products/?{urlencode(parameters)}"


def _addresses() -> Iterator[Case]:
    for language in LANGUAGES:
        for path in ("products/", "products/nothing/", "products/a/b/", "products//", "products/%C3%BC/"):
            yield Case(target=f"/{language}/{path}")
            yield Case(target=f"/{language}/{path}", method="HEAD")
        for path in ("products", "products/some-thing?q=%C3%BC"):
            yield Case(target=f"/{language}/{path}", exempt=FRAMED)
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            yield Case(target=f"/{language}/products/", method=method, body=b"")
            yield Case(target=f"/{language}/products/nothing/", method=method, body=b"")
        for path in ("products/%FF/", "products/%ED%A0%80/?q=%FF", "pro%64ucts/?q=a", "products/nothing/?q=%22%3Cb%3E"):
            yield Case(target=f"/{language}/{path}")
    for path in ("/fr/products/", "/fr/products", "/de-at/products/", "/xx/products/a/"):
        yield Case(target=path)
        yield Case(target=path, headers={"Accept-Language": "de-CH, en;q=0.5"})
        yield Case(target=path, headers={"Cookie": "django_language=de", "Accept-Language": "en"})
    for accepted in ("fr, *;q=0.5, de;q=0.1", "de;q=0", "de,,en", "fr," * 166 + "de,en", "fr," * 166 + "deutsch"):
        yield Case(target="/fr/products/", headers={"Accept-Language": accepted})
    for cookie in ("x; django_language=de", 'a="; django_language=de', "django_language=en; django_language=de-AT"):
        yield Case(target="/fr/products/", headers={"Cookie": cookie})
    yield Case(target="/fr/products/", headers={"Accept-Language": "de;q=0, nonsense;;"})
    yield Case(target="/en/products/", headers={"Accept-Language": "de", "Cookie": "django_language=de"})


def _searches() -> Iterator[Case]:
    for language, q in product(
        LANGUAGES,
        (
            "wool",
            "WOOL name",
            "ÄÖÜ",
            "100%_",
            "\\",
            "'\"<b>&",
            "  wool   name ",
            "zzz",
            " ",
            "a" * 100,
            "a" * 101,
            "x\0y",
        ),
    ):
        yield Case(target=_list(language, q=q))
    for language, slug in product(LANGUAGES, ("textiles", "textiles-bath", "unused", "below", "nothing", "<i>", "")):
        yield Case(target=_list(language, category=slug))
        yield Case(target=_list(language, category=slug, q="wool", sort="price"))
    for language, sort in product(LANGUAGES, ("price", "-price", "name", "", "-name", "stock")):
        yield Case(target=_list(language, sort=sort))
        yield Case(target=_list(language, q="same wool", sort=sort, page="2"))
    for page in ("1", "2", "3", "4", "5", "20", "21", "9999", "0", "-1", "last", "x", "", "２", "1e3"):
        yield Case(target=_list("en", page=page))
    yield Case(target=_list("de", page="3", q="e", sort="name", category="", other="a&b"))
    yield Case(target="/en/products/?q=a&q=wool&page=1&page=2")
    yield Case(target="/en/products/?q=%ff%C3&x=%zz&y=a|b")
    yield Case(target="/de/products/?" + "&".join(["p"] * 1001))


def of_products(slugs: dict[int, str]) -> list[Case]:
    """Return a case in each language for each product of ``slugs`` (by id)."""
    return [
        Case(target=f"/{language}/products/{slug}/", method=method)
        for language, slug, method in product(LANGUAGES, slugs.values(), ("GET", "HEAD"))
    ]


def _conditional() -> Iterator[Case]:
    for path in ("/en/products/?q=wool", "/de/products/nothing/"):
        for header in ("If-None-Match", "If-Match"):
            yield Case(target=path, headers={header: "*"})
            yield Case(target=path, headers={header: '"other"'})
        yield Case(target=path, headers={"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"})
        yield Case(target=path, headers={"If-Unmodified-Since": "Mon, 01 Jan 1990 00:00:00 GMT"})
        yield Case(target=path, headers={"If-None-Match": "*"}, method="HEAD")
    for accept in ("application/json", "text/html", "*/*", "image/png"):
        yield Case(target="/en/products/?q=wool", headers={"Accept": accept})


def _visitors() -> Iterator[Case]:
    known = "sessionid=abcdefghijklmnopqrstuvwxyz012345; csrftoken=" + "x" * 32 + "; messages=x; django_language=en"
    for language, (name, value) in product(
        LANGUAGES,
        (
            ("Cookie", known),
            ("Authorization", "Token 0123456789abcdef"),
            ("Accept-Encoding", "gzip, br"),
            ("Accept-Language", "fr"),
            ("Api-Version", "3"),
            ("Origin", "https://elsewhere.example"),
            ("Range", "bytes=0-9"),
            ("X-Requested-With", "XMLHttpRequest"),
        ),
    ):
        yield Case(target=_list(language, q="wool"), headers={name: value})
    for cookie in ("csrftoken=x", "sessionid=x"):
        yield Case(target="/en/products/nothing/", headers={"Cookie": cookie}, exempt=RENEWED)
    for path in ("products/", "products/a/b/", "products"):
        yield Case(target=f"/de/{path}", headers={"Host": "evil.example"}, exempt=OUTSIDE)


PAGES = [*_addresses(), *_searches(), *_conditional(), *_visitors()]
