from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware, _mask_cipher_secret, _unmask_cipher_token
from django.test import RequestFactory
from django.test.utils import override_settings
from hypothesis import HealthCheck, example, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from strangler.service.csrf import Forged, Site, check, fresh, masked

SECRET = "abcdefghijklmnopqrstuvwxyzABCDEF"
OTHER = "ABCDEFabcdefghijklmnopqrstuvwxyz"
ORIGINS = ("https://shop.test", "https://*.trusted.test", "http://exact.test:8000")


def passes(method: str = "POST", *, secure: bool = False, form_token: str = "", **headers: str) -> bool:
    lower = {"host": "shop.test", **{name.replace("_", "-"): value for name, value in headers.items()}}
    cookie = lower.pop("cookie", None)
    cookies = {} if cookie is None else {"csrftoken": cookie}
    try:
        check(method=method, headers=lower, cookies=cookies, secure=secure, form_token=form_token)
    except Forged:
        return False
    return True


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_what_changes_nothing_needs_no_token(method: str) -> None:
    assert passes(method)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "BREW"])
def test_what_changes_something_needs_the_cookie_s_secret_in_a_header(method: str) -> None:
    assert passes(method, cookie=SECRET, x_csrftoken=SECRET)
    assert passes(method, cookie=SECRET, x_csrftoken=masked(SECRET))
    assert passes(method, cookie=masked(SECRET), x_csrftoken=masked(SECRET))
    assert not passes(method, cookie=SECRET)
    assert not passes(method, x_csrftoken=SECRET)
    assert not passes(method, cookie=SECRET, x_csrftoken=OTHER)
    assert not passes(method, cookie="", x_csrftoken="")


def test_the_field_of_a_form_counts_for_post_alone_and_before_the_header() -> None:
    assert passes("POST", cookie=SECRET, form_token=masked(SECRET))
    assert not passes("PUT", cookie=SECRET, form_token=masked(SECRET))
    assert not passes("POST", cookie=SECRET, form_token=OTHER, x_csrftoken=SECRET)


def test_the_origin_must_be_ours() -> None:
    assert passes(cookie=SECRET, x_csrftoken=SECRET, origin="http://shop.test")
    assert not passes(cookie=SECRET, x_csrftoken=SECRET, origin="http://evil.test")
    assert not passes(cookie=SECRET, x_csrftoken=SECRET, origin="null")


def test_without_an_origin_https_wants_a_referer_of_ours() -> None:
    given = {"cookie": SECRET, "x_csrftoken": SECRET}
    assert passes(secure=True, referer="https://shop.test/page", **given)
    assert not passes(secure=True, **given)
    assert not passes(secure=True, referer="http://shop.test/page", **given)
    assert not passes(secure=True, referer="https://evil.test/https://shop.test/", **given)


def test_what_is_amiss_is_said() -> None:
    with pytest.raises(Forged, match="there is no cookie csrftoken"):
        check(method="POST", headers={"host": "shop.test"}, cookies={}, secure=False)


def test_masks_differ_and_hide_the_same_secret() -> None:
    assert masked(SECRET) != masked(SECRET)
    assert _unmask_cipher_token(masked(SECRET)) == SECRET
    assert len(fresh()) == 32
    assert fresh() != fresh()
    assert masked("no token") == ""


# --- Django is the judge ---


@pytest.fixture(scope="module", autouse=True)
def django() -> Iterator[None]:
    if not settings.configured:
        settings.configure()
    with override_settings(
        ALLOWED_HOSTS=["shop.test", ".trusted.test", "[::1]"],
        CSRF_TRUSTED_ORIGINS=list(ORIGINS),
        DEFAULT_CHARSET="utf-8",
        USE_X_FORWARDED_PORT=False,
    ):
        yield


class Judge(CsrfViewMiddleware):  # type: ignore[misc]
    """Django's rules without its page, which needs an installed application."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        return HttpResponse(reason, status=403)


def judged(method: str, secure: bool, headers: dict[str, str], cookie: str | None, form_token: str | None) -> bool:
    request = RequestFactory(headers=headers).generic(method, "/", secure=secure)
    request.COOKIES = {} if cookie is None else {"csrftoken": cookie}
    if form_token is not None:
        request.POST = request.POST.copy()
        request.POST["csrfmiddlewaretoken"] = form_token

    def view(_: HttpRequest) -> HttpResponse:
        return HttpResponse()

    return Judge(view).process_view(request, view, (), {}) is None


def answered(method: str, secure: bool, headers: dict[str, str], cookie: str | None, form_token: str | None) -> bool:
    site = Site(trusted_origins=ORIGINS)
    cookies = {} if cookie is None else {"csrftoken": cookie}
    try:
        check(
            method=method,
            headers=headers,
            cookies=cookies,
            secure=secure,
            form_token=form_token or "",
            site=site,
        )
    except Forged:
        return False
    return True


PLACES = st.sampled_from(
    [
        "https://shop.test",
        "http://shop.test",
        "https://shop.test:443",
        "https://SHOP.test",
        "https://a.trusted.test",
        "http://a.trusted.test",
        "https://trusted.test",
        "https://eviltrusted.test",
        "https://a.trusted.test.evil.test",
        "https://a.trusted.test:8443",
        "http://exact.test:8000",
        "https://exact.test:8000",
        "https://exact.test",
        "https://evil.test",
        "https://shop.test@evil.test",
        "https://[::1]",
        "https://[",
        "https://",
        "//shop.test",
        "null",
        "",
    ]
)
TOKENS = st.sampled_from(
    [
        SECRET,
        OTHER,
        SECRET[:-1],
        SECRET + "a",
        SECRET[:-1] + "-",
        SECRET[:-1] + "\u0131",
        _mask_cipher_secret(SECRET),
        _mask_cipher_secret(OTHER),
        _mask_cipher_secret(SECRET) + "\n",
        "",
    ]
)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    secure=st.booleans(),
    host=st.sampled_from(["shop.test", "a.trusted.test", "[::1]", "shop.test:443", "shop.test:8443"]),
    origin=st.none() | PLACES,
    referer=st.none() | PLACES.flatmap(lambda place: st.sampled_from([place, f"{place}/page?x=https://shop.test"])),
    header=st.none() | TOKENS,
    cookie=st.none() | TOKENS,
    form_token=st.none() | TOKENS,
)
@example(
    method="POST",
    secure=True,
    host="shop.test",
    origin=None,
    referer="https://trusted.test",
    header=SECRET,
    cookie=SECRET,
    form_token=None,
)
@profile(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_request_is_judged_as_by_django(
    method: str,
    secure: bool,
    host: str,
    origin: str | None,
    referer: str | None,
    header: str | None,
    cookie: str | None,
    form_token: str | None,
) -> None:
    given = {"host": host, "origin": origin, "referer": referer, "x-csrftoken": header}
    headers = {name: value for name, value in given.items() if value is not None}
    asked: tuple[Any, ...] = (method, secure, headers, cookie, form_token)
    assert answered(*asked) is judged(*asked)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=32, max_size=32))
def test_tokens_go_from_here_to_django_and_back(secret: str) -> None:
    assert _unmask_cipher_token(masked(secret)) == secret
    assert answered("POST", False, {"host": "shop.test"}, secret, _mask_cipher_secret(secret))
