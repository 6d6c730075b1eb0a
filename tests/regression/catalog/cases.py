"""Requests that monolith and service must answer alike."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from urllib.parse import quote, urlencode

from strangler.regression.case import Case

PRODUCTS = "/api/catalog/products/"
CATEGORIES = "/api/catalog/categories/"
FRAMED = {"content-length": "an answer without a body is framed by its length or by an empty chunk; nobody sees which"}


def _listed(**parameters: str) -> str:
    return f"{PRODUCTS}?{urlencode(parameters)}"


def _addresses() -> Iterator[Case]:
    for target in (
        PRODUCTS,
        CATEGORIES,
        f"{PRODUCTS}1/",
        f"{PRODUCTS}2/?anything=1",
        f"{PRODUCTS}7/",
        f"{CATEGORIES}textiles/",
        f"{CATEGORIES}textiles-bath/",
        "/api//catalog/products/",
        "/api/catalog/./products/",
        "/api/catalog/products//",
        "/api/catalog/",
        "/api/catalog/nothing/",
        "/api/catalog/products/1/nothing/",
        "/api/catalog/pro%64ucts/1/",
        "/api/catalog/products/1%2F2/",
        "/api/catalog/products/1/%0A",
    ):
        yield Case(target=target)
        yield Case(target=target, method="HEAD")


def _forgotten_slashes() -> Iterator[Case]:
    for target in (
        "/api/catalog/products",
        "/api/catalog/products?page=2&search=a%20b",
        "/api/catalog/products?search=%C3%BC&x=%zz&y=a|b",
        "/api/catalog/products/1",
        "/api/catalog/products/no such",
        "/api/catalog/products/%C3%BC",
        "/api/catalog/categories/textiles",
    ):
        yield Case(target=target.replace(" ", "%20"), exempt=FRAMED)
    yield Case(target="/api/catalog/products/1", method="HEAD", exempt=FRAMED)
    yield Case(target="/api/catalog/products", method="POST", body=b"", exempt=FRAMED)
    yield Case(target="/api/catalog/products/1.json")
    yield Case(target="/api/catalog")


def _ids() -> Iterator[Case]:
    for written in (
        "0", "-1", "00001", "+1", "1_0", "%201", "1%20", "１", "١٢", "abc", "1.5", "1e2", "é", "%FF", "%00",
        "%F0%9F%98%80", "999999", str(2**31), str(2**63 - 1), str(2**63), "9" * 40, "9" * 3000,
    ):  # fmt: skip
        yield Case(target=f"{PRODUCTS}{quote(written, safe='%')}/")
    for written in (
        "nothing",
        "Textiles",
        "textiles-",
        "é",
        "%FF",
        "%00",
        "a.b",
        "a%20b",
        "1",
        "9" * 200,
        "%F0%9F%98%80",
    ):
        yield Case(target=f"{CATEGORIES}{quote(written, safe='%')}/")


def _pages() -> Iterator[Case]:
    for page in (
        "1", "2", "3", "last", "LAST", "0", "-1", "", "abc", "1.0", "1e1", " 2 ", "２", "1_0", "+2", "49", "50",
        "99999", "9" * 30, "9" * 3000, "\x00",
    ):  # fmt: skip
        yield Case(target=_listed(page=page))
    for size in ("1", "5", "20", "99", "100", "101", "100000", "0", "-5", "", "abc", "1.5", " 7 ", "٣", "9" * 40):
        yield Case(target=_listed(page_size=size))
        yield Case(target=_listed(page_size=size, page="last"))
    for page, size in product(("1", "2", "last", "9"), ("3", "100")):
        yield Case(target=f"{CATEGORIES}?page={page}&page_size={size}")
    yield Case(target=f"{CATEGORIES}?page=nonsense")
    yield Case(target=_listed(page="2", page_size="7"), method="HEAD")
    yield Case(target=_listed(search="nowhere to be found", page="1"))
    yield Case(target=_listed(search="nowhere to be found", page="2"))
    yield Case(target=_listed(search="nowhere to be found", page="last"))


def _links() -> Iterator[Case]:
    for query in (
        "page=2&page=3", "page=3&page=2", "b=2&a=1&a=0&page=2", "page=2&empty=", "page=2&bare", "page=2&&&",
        "page=2;x=1", "page=2&q=%C3%BC%20%2B+", "page=2&q=%FF", "page=2&q=%zz", "page=2&q=a/b:c@d!e",
        "page=2&=nameless", "page=2&q=%00", "page=2&%70age_size=3", "Page=2", "page=2&format=json", "format=xml",
        "format=api", "page=2&q=[x]|{y}",
    ):  # fmt: skip
        yield Case(target=f"{PRODUCTS}?{query}")
    yield Case(target=f"{PRODUCTS}?")
    yield Case(target=f"{PRODUCTS}?page=2", headers={"Host": "LOCALHOST:8000"})
    yield Case(target=f"{PRODUCTS}?page=2", headers={"Host": "127.0.0.1"})
    yield Case(target=f"{PRODUCTS}?page=2", headers={"Host": "[::1]:80"})
    yield Case(target=f"{PRODUCTS}?page=2", headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"})
    yield Case(target="/api/catalog/pro%64ucts/?page=2")


def _filters() -> Iterator[Case]:
    for slug in (
        "textiles",
        "textiles-bath",
        "kitchen",
        "nothing",
        "TEXTILES",
        " textiles",
        "",
        "null",
        "\x00",
        "ü",
        "1",
    ):
        yield Case(target=_listed(category=slug))
    bounds = (
        "10", "14.90", "14.9", "14.899", "14.901", "0", "-1", "-0", "1e1", "1E+1", " 10 ", "1_0", "１０", "abc",
        "10,5", "", "NaN", "-NaN", "sNaN", "Infinity", "-Infinity", "1e50", "1e51", "-1e60", "1e-30",
        "0.0000000001", "99999999.99", "9" * 49, "14.9" + "0" * 40, "14.9" + "0" * 40 + "1", "0x10", "\x00", "½",
        "1e-50", "1e-51", "1e-40000", "-1e-40000", "0e-51", "0e40000", "-1e999999999", "1e-9999999999999999999",
        "1" * 60 + "." + "1" * 60,
    )  # fmt: skip
    for bound in bounds:
        yield Case(target=_listed(min_price=bound))
        yield Case(target=_listed(max_price=bound))
    for stock in ("true", "false", "True", "FALSE", "1", "0", "2", "yes", "", "null", " true"):
        yield Case(target=_listed(in_stock=stock))
    for slug in (
        "reviewed-cup",
        "reviewed-gone",
        "nothing",
        "REVIEWED-CUP",
        " reviewed-cup ",
        "",
        " ",
        "\x00",
        "ü",
        "a" * 300,
    ):
        yield Case(target=_listed(slug=slug))
    yield Case(target=_listed(slug="\x00", min_price="x", category="nothing"))
    yield Case(target=_listed(category="nothing", min_price="x", max_price="1e99", search="a\x00b", page="0"))
    yield Case(target=_listed(max_price="x", category="textiles", min_price="y"))
    yield Case(target=_listed(min_price="x"), method="HEAD")
    yield Case(target=_listed(min_price="50", max_price="10"))
    yield Case(target=f"{PRODUCTS}?category=textiles&category=nothing")
    yield Case(target=f"{PRODUCTS}?category=nothing&category=textiles")
    yield Case(target=_listed(is_active="false", name="x", id="1", tags="new"))
    yield Case(target=f"{CATEGORIES}?category=nothing&min_price=x&search=x&ordering=name")


def _combinations() -> Iterator[Case]:
    combined = product(
        ({}, {"category": "textiles"}, {"category": "kitchen"}),
        ({}, {"min_price": "14.90"}, {"max_price": "49.50"}, {"min_price": "12", "max_price": "80"}),
        ({}, {"in_stock": "true"}, {"in_stock": "false"}),
        ({}, {"search": "wool"}),
        ({}, {"ordering": "-price"}, {"ordering": "name,-created_at"}),
    )
    for place, parts in enumerate(combined):
        parameters = {key: value for part in parts for key, value in part.items()}
        # Every third: each value meets each other value somewhere, at a third of the time.
        if place % 3 == 0:
            yield Case(target=_listed(**parameters, page="last"))


def _orderings() -> Iterator[Case]:
    for ordering in (
        "name", "-name", "price", "-price", "created_at", "-created_at", "price,name", "-price,-name,created_at",
        "name,name", "name,-name", "price,", ",price", " price , -name ", "id", "-id", "pk", "bogus",
        "bogus,price", "--price", "+price", "Price", "rating", "", ",", "name__lower", "category__name",
        "price\x00",
    ):  # fmt: skip
        yield Case(target=_listed(ordering=ordering, page_size="100"))
    for page in ("1", "2", "3", "last"):
        yield Case(target=_listed(ordering="created_at", page=page, page_size="50"))
        yield Case(target=_listed(ordering="-price", page=page, page_size="50"))


def _searches() -> Iterator[Case]:
    for search in (
        "wool", "WOOL", "wOoL", "gäste", "GÄSTE", "GÄSTE", "ä", "Ä", "léger", "LÉGER", "leger", "ß", "SS", "ı",
        "İ", "日本", "wool towel", "towel wool", "wool,towel", '"wool waffle"', "'wool waffle'", '"wool waffle',
        'wo"ol x"', '"', '""', "''", "wool's", "a'b c'd", '"a\\"b"', "%", "_", "\\", "100%", "a_b", "%%", "\\%",
        "TEX-0000", "tex-000001", "×", "1617 g", "", " ", ",", ",,,", "  wool   ", "wool\ttowel", "wool\nwool",
        "wool\u00a0towel", "wool\u2028", "a\x00b", "\ud7ff", "a b c d e f g", "é", "e\u0301", "😀", "it measures",
        "a" * 2000, '"' + "x" * 500, "wool,", ",wool", "'\\''",
    ):  # fmt: skip
        yield Case(target=_listed(search=search))
    yield Case(target=f"{PRODUCTS}?search=%FF%FE")
    yield Case(target=f"{PRODUCTS}?search=%ED%A0%80")
    yield Case(target=f"{PRODUCTS}?search=a&search=wool")
    yield Case(target=_listed(search="wool", page="2", page_size="3", ordering="-name"))


def _methods() -> Iterator[Case]:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        for target in (PRODUCTS, f"{PRODUCTS}1/", f"{CATEGORIES}textiles/", "/api/catalog/nothing/"):
            yield Case(target=target, method=method)
    yield Case(target=PRODUCTS, method="POST", body=b'{"name": "x"}', headers={"Content-Type": "application/json"})
    yield Case(target=f"{PRODUCTS}1/", method="OPTIONS", headers={"Origin": "https://elsewhere.example"})


def _negotiated() -> Iterator[Case]:
    for accept in (
        "*/*", "application/json", "application/json; indent=4", "text/html,application/xhtml+xml,*/*;q=0.8",
        "application/xml", "image/png", "", "nonsense", "application/json;version=2", "text/*;q=0",
    ):  # fmt: skip
        yield Case(target=f"{PRODUCTS}1/", headers={"Accept": accept})
    for name, value in (
        ("Accept-Language", "de"),
        ("Accept-Language", "fr;q=0.9, de;q=0.5"),
        ("Accept-Encoding", "gzip, br"),
        ("Cookie", "sessionid=abcdefghijklmnopqrstuvwxyz012345; django_language=de; csrftoken=" + "x" * 32),
        ("Authorization", "Token 0123456789abcdef"),
        ("Authorization", "Basic eDp5"),
        ("X-Requested-With", "XMLHttpRequest"),
        ("Origin", "https://elsewhere.example"),
        ("Range", "bytes=0-9"),
        ("Content-Type", "nonsense"),
    ):
        yield Case(target=f"{PRODUCTS}1/", headers={name: value})
        yield Case(target=_listed(min_price="x", page="0"), headers={name: value})
    renewed = dict.fromkeys(("set-cookie", "vary"), "only the stack that mints CSRF tokens replaces one that is none")
    yield Case(target=f"{PRODUCTS}1/", headers={"Cookie": "csrftoken=x"}, exempt=renewed)


def _versions() -> Iterator[Case]:
    for version, target in product(
        ("1", "2", "3", "", "2.0", "1, 2", " 2 ", "\u0662"),
        (PRODUCTS, f"{PRODUCTS}1/", f"{PRODUCTS}999999/", f"{PRODUCTS}?min_price=x", CATEGORIES, f"{CATEGORIES}below/"),
    ):
        yield Case(target=target, headers={"Api-Version": quote(version, safe=" ,.")})
    for method in ("HEAD", "POST", "OPTIONS", "TRACE"):
        yield Case(target=PRODUCTS, method=method, headers={"Api-Version": "3"}, body=b"")
        yield Case(target=PRODUCTS, method=method, headers={"Api-Version": "2"}, body=b"")


def _strangers() -> Iterator[Case]:
    outside = {
        "content-length": "the monolith refuses a strange host before it measures the body, and sends it chunked"
    }
    for host in (
        "evil.example",
        "localhost.evil.example",
        "local_host",
        "localhost:port",
        "localhost:",
        "",
        "[::1",
        "a b",
    ):
        yield Case(target=PRODUCTS, headers={"Host": host}, exempt=outside)
    yield Case(target=f"{PRODUCTS}?" + "a&" * 1001)
    yield Case(target=f"{PRODUCTS}?" + "a&" * 1000)


CASES = [
    *_addresses(),
    *_forgotten_slashes(),
    *_ids(),
    *_pages(),
    *_links(),
    *_filters(),
    *_combinations(),
    *_orderings(),
    *_searches(),
    *_methods(),
    *_negotiated(),
    *_versions(),
    *_strangers(),
]
