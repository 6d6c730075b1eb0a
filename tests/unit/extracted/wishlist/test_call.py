"""What is read of a request's body."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message
from wishlist_service.call import Call, body_of

from strangler.service import csrf
from strangler.service.answer import Refused
from strangler.service.asked import Asked
from strangler.service.identity import Identity

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
JSON = {"content-type": "Application/JSON"}
SECRET = "s" * 32


def call(body: bytes, headers: Mapping[str, str], *, method: str = "POST", via: str = "session") -> Call:
    asked = Asked(method=method, scheme="http", path="/", query="", headers={"host": "shop", **headers})
    nothing: frozenset[str] = frozenset()
    visitor = Identity(subject="7", name="maria", staff=False, groups=nothing, permissions=nothing, via=via)
    return Call(asked=asked, visitor=visitor, body=body)


def test_a_form_is_read_by_its_fields() -> None:
    assert call(b"a=1&b=%C3%BC+x&a=2&c=", FORM).form == {"a": "2", "b": "ü x", "c": ""}


@pytest.mark.parametrize("headers", [JSON, {}, {"content-type": "multipart/form-data; boundary=x"}])
def test_what_is_no_form_has_no_fields(headers: dict[str, str]) -> None:
    assert call(b"a=1", headers).form == {}


def test_data_comes_as_json_or_as_a_form() -> None:
    assert call(b'{"product": 7}', JSON).data() == {"product": 7}
    assert call(b"product=7", FORM).data() == {"product": "7"}
    assert call(b"", {}).data() == call(b"", JSON).data() == {}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"\xff", JSON, 400),
        (b"9" * 5_000, JSON, 400),
        (b"a=1", {}, 415),
        (b"<a/>", {"content-type": "text/xml"}, 415),
        (b"a&" * 101, FORM, 400),
    ],
)
def test_what_makes_no_sense_is_refused(body: bytes, headers: dict[str, str], status: int) -> None:
    with pytest.raises(Refused) as raised:
        call(body, headers).data()
    assert raised.value.status == status


@given(st.binary(max_size=200), st.sampled_from([FORM, JSON, {}]))
def test_whatever_comes_is_understood_or_refused(body: bytes, headers: dict[str, str]) -> None:
    with suppress(Refused):
        call(body, headers).data()


def test_a_session_s_change_needs_the_secret_of_its_cookie() -> None:
    cookie = {"cookie": f"csrftoken={SECRET}"}
    with pytest.raises(csrf.Forged):
        call(b"", cookie).guard(csrf.Site())
    call(b"", cookie, method="GET").guard(csrf.Site())
    call(b"", {**cookie, "x-csrftoken": SECRET}).guard(csrf.Site())
    call(f"{csrf.FIELD}={csrf.masked(SECRET)}".encode(), {**cookie, **FORM}).guard(csrf.Site())


def test_a_program_with_a_token_is_nobody_s_dupe() -> None:
    call(b"", {}, via="token").guard(csrf.Site())


def read(*chunks: bytes) -> bytes:
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages[-1]["more_body"] = False
    left = iter(messages)

    async def receive() -> Message:
        return next(left)

    return asyncio.run(body_of(receive))


def test_a_body_is_read_whole_and_up_to_a_limit() -> None:
    assert read(b"a", b"", b"bc") == b"abc"
    with pytest.raises(Refused) as raised:
        read(*[b"x" * 1024] * 17)
    assert raised.value.status == 413
