import asyncio
import json
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from strangler.service.errors import SettingRefused, Untrusted
from strangler.service.identity import Identity, Verifier, acting, current, current_token
from strangler.service.jwks import Keyring
from tests.fixtures.identity import Issuer

ISSUER = Issuer()
VERIFIER = ISSUER.verifier()
MARIA = Identity(
    subject="7",
    name="maria",
    staff=False,
    groups=frozenset(),
    permissions=frozenset(),
    via="session",
)


def refused(token: str, verifier: Verifier = VERIFIER) -> str:
    with pytest.raises(Untrusted) as caught:
        verifier.identify(token)
    return str(caught.value)


def segment(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_token_of_the_proxy_names_its_visitor() -> None:
    told = ISSUER.token(sub="9", name="Änne", staff=True, groups=["editors"], permissions=["p.add"], via="token")
    assert VERIFIER.identify(told) == Identity(
        subject="9",
        name="Änne",
        staff=True,
        groups=frozenset({"editors"}),
        permissions=frozenset({"p.add"}),
        via="token",
    )


def test_a_loop_is_given_the_same_answer() -> None:
    assert asyncio.run(ISSUER.verifier().aidentify(ISSUER.token())) == MARIA


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"exp": int(time.time()) - 86_400}, "it has expired"),
        ({"exp": None}, "it does not verify: missing_claim"),
        ({"exp": float("nan")}, "it does not verify: invalid_claim"),
        ({"iat": int(time.time()) + 86_400}, "it does not verify: invalid_claim"),
        ({"iat": None}, "it does not verify: missing_claim"),
        ({"aud": "somebody else"}, "it does not verify: invalid_claim"),
        ({"aud": None}, "it does not verify: missing_claim"),
        ({"iss": "somebody else"}, "it does not verify: invalid_claim"),
        ({"sub": 7}, "it does not verify: invalid_claim"),
        ({"sub": ""}, "it does not verify: invalid_claim"),
        ({"name": None}, "its claims are not those of an identity"),
        ({"staff": "false"}, "its claims are not those of an identity"),
        ({"via": "guess"}, "its claims are not those of an identity"),
        ({"groups": "staff"}, "its claims are not those of an identity"),
        ({"permissions": [1]}, "its claims are not those of an identity"),
    ],
)
def test_claims_that_are_not_those_of_an_identity_are_refused(changed: dict[str, Any], why: str) -> None:
    assert refused(ISSUER.token(**changed)) == why


def test_a_clock_that_is_a_little_off_is_forgiven() -> None:
    now = int(time.time())
    assert VERIFIER.identify(ISSUER.token(iat=now + 3, exp=now + 33)) == MARIA
    assert VERIFIER.identify(ISSUER.token(iat=now - 33, exp=now - 2)) == MARIA


def test_a_key_of_somebody_else_is_refused_under_any_name() -> None:
    stranger = Issuer()
    assert refused(stranger.token()) == "it is signed with an unknown key"
    assert refused(stranger.token({"kid": ISSUER.kid})) == "it does not verify: bad_signature"


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "at+jwt"},
        {"kid": ""},
        {"cty": "JWT"},
        {"jku": "http://127.0.0.1/"},
    ],
)
def test_a_header_that_the_proxy_does_not_write_is_refused(header: dict[str, str]) -> None:
    assert refused(ISSUER.token(header)) in (
        "its header is not that of an identity",
        "it is signed with an unknown key",
    )


@pytest.mark.parametrize("alg", ["none", "HS256", "EdDSA", "ES256", "", None, ["Ed25519"]])
def test_the_token_does_not_choose_the_algorithm(alg: object) -> None:
    _, claims, signature = ISSUER.token().split(".")
    header = segment({"alg": alg, "typ": "strangler-identity+jwt", "kid": ISSUER.kid})
    assert refused(f"{header}.{claims}.{signature}") == "its header is not that of an identity"
    assert refused(f"{header}.{claims}.") == "it is no token"


def test_the_public_key_is_no_secret_to_sign_with() -> None:
    public = OctKey.import_key(ISSUER.key.as_dict(private=False)["x"].__str__() * 2)
    header = {"alg": "HS256", "typ": "strangler-identity+jwt", "kid": ISSUER.kid}
    forged = jwt.encode(header, ISSUER.claims(), public, algorithms=["HS256"])
    assert refused(forged) == "it is no token"  # the signature has not even the length


@given(st.integers(min_value=0), st.sampled_from("ABCxyz019-_.~ \n"))
def test_a_token_with_any_letter_changed_is_refused_or_the_same(place: int, letter: str) -> None:
    token = ISSUER.token()
    place %= len(token)
    changed = token[:place] + letter + token[place + 1 :]
    try:
        # The last letter of a segment has bits that stand for nothing: some changes of it change nothing.
        assert VERIFIER.identify(changed) == MARIA
        assert changed == token or token[place + 1 : place + 2] in ("", ".")
    except Untrusted:
        assert changed != token


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}", fullmatch=True))
def test_anything_else_is_refused(token: str) -> None:
    refused(token)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["alg", "kid", "typ"]), inner),
    max_leaves=12,
)


@given(_JSON)
def test_any_header_is_refused_for_what_it_is(header: object) -> None:
    refused(f"{segment(header)}.{segment({})}.{'A' * 86}")


@given(
    st.dictionaries(
        st.sampled_from(["sub", "name", "staff", "groups", "permissions", "via", "exp", "iat", "nbf", "aud", "iss"]),
        _JSON,
    )
)
def test_no_claims_that_the_proxy_signs_do_harm(changed: dict[str, Any]) -> None:
    try:
        identity = VERIFIER.identify(ISSUER.signed(ISSUER.claims(**changed), {}))
    except Untrusted:
        return
    assert isinstance(identity.subject, str)
    assert isinstance(identity.name, str)
    assert identity.via in ("session", "token")


def test_the_current_identity_is_that_of_the_request_alone() -> None:
    assert (current(), current_token()) == (None, None)
    with acting(MARIA, "t"):
        assert (current(), current_token()) == (MARIA, "t")
        with acting(None):
            assert (current(), current_token()) == (None, None)
        with acting(MARIA):
            assert (current(), current_token()) == (MARIA, None)
    assert (current(), current_token()) == (None, None)


def test_the_environment_names_a_file(tmp_path: Path) -> None:
    assert Verifier.from_environment({}) is None
    assert Verifier.from_environment({"STRANGLER_JWKS": ""}) is None
    verifier = Verifier.from_environment({"STRANGLER_JWKS": str(ISSUER.written(tmp_path))})
    assert verifier is not None
    assert verifier.identify(ISSUER.token()) == MARIA
    assert ISSUER.kid in repr(verifier)
    with pytest.raises(SettingRefused, match="there is no such file"):
        Verifier.from_environment({"STRANGLER_JWKS": str(tmp_path / "elsewhere")})


def test_a_key_of_another_curve_is_none_of_ours() -> None:
    other = OKPKey.generate_key("Ed448")
    listed = [{**other.as_dict(private=False), "kid": "x"}, *ISSUER.jwks()["keys"]]
    verifier = Verifier(Keyring(lambda: json.dumps({"keys": listed}).encode()))
    assert verifier.identify(ISSUER.token()) == MARIA
    assert refused(ISSUER.token({"kid": "x"}), verifier) == "it is signed with an unknown key"
