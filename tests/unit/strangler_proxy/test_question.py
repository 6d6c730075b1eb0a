"""The proxy's half of the channel against the monolith's, which is written separately."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test.utils import override_settings
from hypothesis import given
from hypothesis import strategies as st

from strangler_django import channel
from strangler_proxy.question import Credential, Unanswered, read_answer, write_question

SECRET = b"only for tests, and at least thirty-two bytes"
NONCE = "0123456789abcdef0123456789abcdef"
NOW = 1_740_830_400.7
MARIA = {"subject": "7", "name": "maria", "staff": False, "groups": ["a"], "permissions": [], "via": "session"}


@pytest.fixture(scope="module", autouse=True)
def django() -> Iterator[None]:
    if not settings.configured:
        settings.configure()
    with override_settings(STRANGLER_IDENTITY_SECRET=SECRET.decode()):
        yield


def asked(credential: Credential) -> tuple[list[str], dict[str, str], bytes]:
    """Return a question's request line, headers and body."""
    head, _, body = write_question(
        credential,
        ("app.change_model",),
        secret=SECRET,
        nonce=NONCE,
        now=NOW,
        path="/.strangler/identity/",
        host=b"shop.test",
        lines=b"X-Forwarded-Proto: https\r\ntraceparent: 00-x\r\n",
    ).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return first.split(), dict(line.split(": ", 1) for line in lines), body


def answered(content: Any, status: int = 200, nonce: str = NONCE, secret: bytes = SECRET) -> Any:
    body = json.dumps(content).encode()
    signature = channel.sign_answer(secret, nonce, body).encode()
    return read_answer(status, signature, body, secret=SECRET, nonce=NONCE)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_the_monolith_reads_what_the_proxy_asks(session: bytes, authorization: bytes) -> None:
    words, headers, body = asked(Credential.of(session, authorization))
    assert words == ["POST", "/.strangler/identity/", "HTTP/1.1"]
    assert headers["Content-Length"] == str(len(body))
    assert (headers["Host"], headers["X-Forwarded-Proto"]) == ("shop.test", "https")
    assert channel.check_question(headers, body, SECRET, NOW) == NONCE
    assert json.loads(body) == {
        "session": session.decode("latin-1"),
        "authorization": authorization.decode("latin-1"),
        "permissions": ["app.change_model"],
    }


def test_the_monolith_refuses_what_was_tampered_with() -> None:
    _, headers, body = asked(Credential.of(b"x", b""))
    for changed in (body.replace(b"x", b"y"), body + b" ", b""):
        with pytest.raises(channel.Refused):
            channel.check_question(headers, changed, SECRET, NOW)
    with pytest.raises(channel.Refused):
        channel.check_question(headers, body, SECRET, NOW + 31)


def test_the_proxy_reads_what_the_monolith_answers() -> None:
    assert answered({"identity": None}) is None
    assert answered({"identity": MARIA}) == MARIA


def test_an_answer_of_somebody_else_or_to_another_question_is_none() -> None:
    with pytest.raises(Unanswered, match="signed with another secret"):
        answered({"identity": MARIA}, secret=b"another secret of at least 32 bytes")
    with pytest.raises(Unanswered, match="signed with another secret"):
        answered({"identity": MARIA}, nonce="f" * 32)
    with pytest.raises(Unanswered, match="signed with another secret"):
        read_answer(200, b"", b"{}", secret=SECRET, nonce=NONCE)


def test_why_it_did_not_answer_is_said() -> None:
    with pytest.raises(Unanswered, match="it answers 403: the question is not signed"):
        answered({"detail": "the question is not signed"}, 403)
    with pytest.raises(Unanswered, match="it answers 404: is strangler_django installed, and its secret set"):
        read_answer(404, b"", b"<h1>Not found</h1>", secret=SECRET, nonce=NONCE)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MARIA, "identity"]), inner),
    max_leaves=8,
)


@given(_JSON | st.dictionaries(st.sampled_from(list(MARIA)), _JSON).map(lambda some: {"identity": {**MARIA, **some}}))
def test_any_answer_is_an_identity_or_none(content: Any) -> None:
    try:
        found = answered(content)
    except Unanswered:
        return
    assert found is None or (isinstance(found["subject"], str) and found["via"] in ("session", "token"))


def test_a_credential_is_not_printed_and_told_apart() -> None:
    one, other = Credential.of(b"ab", b"c"), Credential.of(b"a", b"bc")
    assert one.key != other.key
    assert Credential.of(b"ab", b"c") == one
    assert "ab" not in repr(Credential.of(b"secret ab", b"")).replace(one.key.hex()[:8], "")
