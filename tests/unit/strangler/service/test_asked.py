from urllib.parse import unquote_to_bytes

import pytest
from django.utils.encoding import repercent_broken_unicode
from starlette.types import Scope

from strangler.service.asked import Asked, Malformed, Site, Stranger


def scope(query: bytes = b"", *headers: tuple[bytes, bytes], client: str = "10.0.0.9") -> Scope:
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/a b",
        "query_string": query,
        "headers": [(b"host", b"shop.example"), *headers],
        "client": (client, 1),
    }


SITE = Site(hosts=("shop.example",), trusted=("10.0.0.9",))
TLS = (b"x-forwarded-proto", b"https")


@pytest.mark.parametrize("host", ["shop.example", "SHOP.example", "shop.example:8000", "shop.example."])
def test_our_name_in_any_writing(host: str) -> None:
    assert SITE.knows(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "shop.example.evil", "shop_example", "shop.example:", "a@shop.example"]
)
def test_other_names_are_not_ours(host: str) -> None:
    assert not SITE.knows(host)


def test_patterns_stand_for_subdomains_or_anything() -> None:
    site = Site(hosts=(".example",))
    assert site.knows("a.b.example")
    assert site.knows("example")
    assert not site.knows("badexample")
    assert Site(hosts=("*",)).knows("anything")


def test_a_stranger_is_refused() -> None:
    with pytest.raises(Stranger):
        Asked.of(scope(), Site(hosts=("other.example",)))


def test_the_last_of_equal_parameters_counts_and_odd_bytes_are_no_error() -> None:
    assert Asked.of(scope(b"a=1&a=2&b=%FF&c"), SITE).parameters == {"a": "2", "b": "\ufffd", "c": ""}
    assert Asked.of(scope(b"a=\xff"), SITE).parameters == {"a": "ÿ"}


def test_far_too_many_parameters_make_no_sense() -> None:
    with pytest.raises(Malformed):
        _ = Asked.of(scope(b"a&" * 1001), SITE).parameters


def test_the_url_is_the_one_that_the_client_used() -> None:
    assert Asked.of(scope(b"q=%C3%BC"), SITE).url == "http://shop.example/a%20b?q=%C3%BC"


@pytest.mark.parametrize(
    ("raw", "path"),
    [(b"/%C3%BC", "/ü"), (b"/%FFx", "/%FFx"), (b"/%ed%a0%80/", "/%ED%A0%80/"), (b"/%25FF", "/%FF"), (b"/%zz", "/%zz")],
)
def test_bytes_of_a_path_that_are_no_text_stay_as_they_were_written(raw: bytes, path: str) -> None:
    asked = Asked.of({**scope(), "raw_path": raw}, SITE)
    assert (asked.path, repercent_broken_unicode(unquote_to_bytes(raw)).decode()) == (path, path)


def test_who_is_trusted_may_say_that_it_was_tls() -> None:
    assert Asked.of(scope(b"", TLS), SITE).scheme == "https"
    assert Asked.of(scope(b"", TLS, client="10.0.0.8"), SITE).scheme == "http"


def test_a_named_header_counts_from_anyone_and_alone() -> None:
    site = Site(hosts=("*",), tls_header=("x-outer", "tls"))
    assert Asked.of(scope(b"", (b"x-outer", b"tls, plain")), site).scheme == "https"
    assert Asked.of(scope(b"", TLS), site).scheme == "http"
