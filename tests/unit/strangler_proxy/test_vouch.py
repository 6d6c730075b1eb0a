"""What the proxy signs is what a service believes: the two are written separately."""

from __future__ import annotations

import json
import time

import pytest

from strangler.service.identity import HEADER, Identity, Untrusted, Verifier
from strangler.service.jwks import Keyring
from strangler_proxy.vouch import Signer, jwks
from tests.fixtures.proxy import KEYS

MARIA = {"subject": "7", "name": "Mär ia", "staff": True, "groups": ["a"], "permissions": ["b.c"], "via": "token"}


def token(line: bytes) -> str:
    name, _, value = line.decode("ascii").partition(": ")
    assert name.lower() == HEADER
    assert value.endswith("\r\n")
    return value.removesuffix("\r\n")


def verifier(signer: Signer) -> Verifier:
    return Verifier(Keyring(json.dumps({"keys": [signer.public()]}).encode))


def test_a_service_believes_the_proxy() -> None:
    signer = Signer(KEYS.identity)
    assert verifier(signer).identify(token(signer.header(MARIA, time.time()))) == Identity(
        subject="7",
        name="Mär ia",
        staff=True,
        groups=frozenset({"a"}),
        permissions=frozenset({"b.c"}),
        via="token",
    )


def test_every_proxy_of_an_installation_signs_with_the_same_key() -> None:
    assert Signer(KEYS.identity).public() == Signer(KEYS.identity).public()
    other = Signer(bytes(32))
    with pytest.raises(Untrusted, match="unknown key"):
        verifier(Signer(KEYS.identity)).identify(token(other.header(MARIA, time.time())))


def test_it_is_good_for_half_a_minute() -> None:
    signer = Signer(KEYS.identity)
    verifier(signer).identify(token(signer.header(MARIA, time.time() - 29)))
    with pytest.raises(Untrusted, match="expired"):
        verifier(signer).identify(token(signer.header(MARIA, time.time() - 40)))


def test_the_private_key_stays() -> None:
    signer = Signer(KEYS.identity)
    [key] = jwks(KEYS)["keys"]
    assert key.keys() == {"kty", "crv", "x", "kid", "use", "alg"}
    assert KEYS.identity.hex() not in repr(signer)
