"""Which requests carry a credential, and which addresses are nobody's."""

from __future__ import annotations

import pytest

from strangler_proxy.http1.head import RequestHead
from strangler_proxy.identity import credential_of, is_reserved
from strangler_proxy.question import Credential


def shown(*cookies: bytes, authorization: bytes | None = None) -> Credential | None:
    head = RequestHead("GET", b"/", 1)
    head.cookies = cookies
    head.authorization = authorization
    return credential_of(head, b"sessionid")


def test_a_request_without_a_credential_shows_none() -> None:
    assert shown() is None
    assert shown(b"theme=dark; xsessionid=1; sessionid2=2; sessionid=; SESSIONID=3; sessionid") is None


def test_a_session_is_the_cookie_that_django_would_take() -> None:
    assert shown(b"theme=dark; sessionid=abc") == Credential.of(b"abc", b"")
    assert shown(b"sessionid=first; a=b;sessionid = last ") == Credential.of(b"last", b"")
    assert shown(b"sessionid=first", b"sessionid=last") == Credential.of(b"last", b"")


@pytest.mark.parametrize("value", [b"Token abc", b"token abc", b"Bearer abc", b"TOKEN"])
def test_a_token_is_shown_with_the_session_beside_it(value: bytes) -> None:
    assert shown(b"sessionid=s", authorization=value) == Credential.of(b"s", value)
    assert shown(authorization=value) == Credential.of(b"", value)


@pytest.mark.parametrize("value", [b"Basic YTpi", b"Digest x", b"Tokens abc", b"", b"Token\tabc"])
def test_other_authorizations_are_nobody_s_business_here(value: bytes) -> None:
    assert shown(authorization=value) is None
    assert shown(b"sessionid=s", authorization=value) == Credential.of(b"s", b"")


@pytest.mark.parametrize(
    "path",
    [
        b"/.strangler",
        b"/.strangler/",
        b"/.strangler/identity/",
        b"//.strangler/identity/",
        b"/./.strangler/identity/",
        b"/x/../.strangler/identity/",
        b"/x/%2e%2e/.strangler/identity/",
        b"/%2estrangler/identity/",
        b"/%252Estrangler/identity/",
        b"/%2e%73%74%72%61%6e%67%6c%65%72/identity/",
        b"/.strangler%2Fidentity%2F",
        b"\\.strangler\\identity",
        b"/;x=1/.strangler/identity/",
        b"/.strangler;x=1/identity/",
        b".strangler/identity/",
    ],
)
def test_an_address_that_may_be_read_as_ours_is_reserved(path: bytes) -> None:
    assert is_reserved(path)


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"*",
        b"/strangler/",
        b"/.stranglers/",
        b"/x/.strangler/",
        b"/.well-known/security.txt",
        b"/caf%C3%A9/",
        b"/x.strangler",
        b"/search/%2Estrangler/",
    ],
)
def test_other_addresses_are_not(path: bytes) -> None:
    assert not is_reserved(path)
