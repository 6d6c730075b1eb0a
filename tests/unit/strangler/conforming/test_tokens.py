"""The tokens that a service is tried with are what their names say, to whoever verifies the proxy's."""

from __future__ import annotations

import json
import sys
import time
from typing import Final

import pytest

from strangler.conforming.tokens import VALID, VISITOR, made
from strangler.routing.keys import Keys
from strangler.service.errors import Untrusted
from strangler.service.identity import Verifier
from strangler.service.jwks import Keyring
from strangler_proxy.vouch import jwks

KEYS: Final = Keys.derive("a secret of an installation, long enough")
VERIFIER: Final = Verifier(Keyring(lambda: json.dumps(jwks(KEYS)).encode()))


@pytest.fixture
def tokens() -> dict[str, str]:
    return made(KEYS.identity, time.time())


def test_the_true_one_names_a_visitor_who_may_nothing(tokens: dict[str, str]) -> None:
    found = VERIFIER.identify(tokens[VALID])
    assert (found.subject, found.name, found.staff) == (VISITOR["sub"], "strangler-check", False)
    assert not found.groups | found.permissions


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("garbage", "it is no token"),
        ("unsigned", "it is no token"),
        ("of a foreign key", "it is signed with an unknown key"),
        ("forged", "it does not verify: bad_signature"),
        ("expired", "it has expired"),
    ],
)
def test_a_false_one_is_false_for_what_it_is_called(tokens: dict[str, str], kind: str, why: str) -> None:
    with pytest.raises(Untrusted) as refused:
        VERIFIER.identify(tokens[kind])
    assert str(refused.value) == why


def test_no_other_is_made(tokens: dict[str, str]) -> None:
    assert set(tokens) == {VALID, "garbage", "unsigned", "of a foreign key", "forged", "expired"}


def test_without_the_secret_there_is_none_of_the_proxy_s() -> None:
    assert set(made(None, time.time())) == {"garbage", "unsigned", "of a foreign key"}


def test_without_the_package_there_is_none_that_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joserfc", None)
    assert set(made(KEYS.identity, time.time())) == {"garbage", "unsigned"}
