from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strangler.capability import Stack
from strangler.routing.keys import Keys, read_override, read_visitor, sign_override, sign_visitor

SECRET = "MARKER of a secret that only the tests know"
KEYS = Keys.derive(SECRET)
OTHERS = Keys.derive("another secret that only the tests know")
VISITOR = "pK3vJ0n8Qm2xYw7_-aBcDe"
NOON = 1_740_830_400

VECTORS = Path(__file__).parents[3] / "vectors"
visitors = st.from_regex(r"[A-Za-z0-9_-]{16,64}", fullmatch=True)
names = st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True)
anything = st.text(max_size=200) | st.text(st.characters(codec=None), max_size=20) | st.text("~.a0-", max_size=60)


def vectors(name: str) -> list[dict[str, Any]]:
    return list(json.loads((VECTORS / name).read_text(encoding="utf-8")))


def believed(name: str) -> list[dict[str, Any]]:
    return [each for each in vectors(name) if each.get("visitor") or each.get("capability")]


@given(visitors)
def test_a_visitor_comes_back_as_signed(visitor: str) -> None:
    assert read_visitor(sign_visitor(visitor, KEYS), KEYS) == visitor


@given(names, st.sampled_from(Stack), st.integers(0, 10**12))
def test_an_override_comes_back_as_signed_until_it_expires(capability: str, stack: Stack, expires: int) -> None:
    token = sign_override(capability, stack, expires, KEYS)
    assert read_override(token, KEYS, expires - 0.001) == (capability, stack)
    assert read_override(token, KEYS, expires) is None


@pytest.mark.parametrize("position", range(len(sign_visitor(VISITOR, KEYS))))
def test_a_visitor_with_any_byte_changed_is_refused(position: int) -> None:
    token = sign_visitor(VISITOR, KEYS)
    for byte in map(chr, range(256)):
        changed = token[:position] + byte + token[position + 1 :]
        assert (read_visitor(changed, KEYS) == VISITOR) == (changed == token)


@pytest.mark.parametrize("position", range(len(sign_override("catalog", Stack.SERVICE, NOON, KEYS))))
def test_an_override_with_any_byte_changed_is_refused(position: int) -> None:
    token = sign_override("catalog", Stack.SERVICE, NOON, KEYS)
    for byte in map(chr, range(256)):
        changed = token[:position] + byte + token[position + 1 :]
        assert (read_override(changed, KEYS, 0) is not None) == (changed == token)


@given(st.integers(0, 60), st.integers(0, 60), anything)
def test_a_token_that_was_cut_or_filled_is_refused(start: int, end: int, filling: str) -> None:
    token = sign_override("catalog", Stack.SERVICE, NOON, KEYS)
    changed = token[:start] + filling + token[end:]
    if changed != token:
        assert read_override(changed, KEYS, 0) is None


@given(anything)
def test_whatever_is_sent_is_read_or_ignored(token: str) -> None:
    assert read_visitor(token, KEYS) is None
    assert read_override(token, KEYS, 0) is None


@given(anything, st.integers(-5, 10**12))
@settings(max_examples=300)
def test_a_strange_name_is_signed_and_read_without_raising(name: str, expires: int) -> None:
    assert read_override(sign_override(name, Stack.SERVICE, expires, KEYS), KEYS, 0) in (None, (name, Stack.SERVICE))
    assert read_visitor(sign_visitor(name, KEYS), KEYS) in (None, name)


def test_tokens_of_another_secret_are_refused() -> None:
    assert read_visitor(sign_visitor(VISITOR, OTHERS), KEYS) is None
    assert read_override(sign_override("catalog", Stack.SERVICE, NOON, OTHERS), KEYS, 0) is None


def test_an_override_of_the_second_secret_is_believed_and_none_is_signed_with_it() -> None:
    both = replace(OTHERS, second=KEYS)
    assert both.believed == (both, KEYS)
    assert read_override(sign_override("catalog", Stack.SERVICE, NOON, KEYS), both, 0) == ("catalog", Stack.SERVICE)
    assert sign_override("catalog", Stack.SERVICE, NOON, both) == sign_override("catalog", Stack.SERVICE, NOON, OTHERS)


def test_a_second_secret_yields_what_it_would_as_the_first() -> None:
    found = Keys.derive("another secret that only the tests know", SECRET)
    assert (found.table, found.identity) == (OTHERS.table, OTHERS.identity)
    assert found.second is not None
    assert (found.second.table, found.second.visitor) == (KEYS.table, KEYS.visitor)
    with pytest.raises(ValueError, match=r"^the secret has 31 bytes"):
        Keys.derive(SECRET, "x" * 31)


def test_a_key_of_one_use_does_not_sign_for_another() -> None:
    swapped = replace(KEYS, visitor=KEYS.override, override=KEYS.visitor)
    assert len({KEYS.table, KEYS.visitor, KEYS.override}) == 3
    assert read_visitor(sign_visitor(VISITOR, swapped), KEYS) is None
    assert read_override(sign_override("catalog", Stack.SERVICE, NOON, swapped), KEYS, 0) is None


def test_a_secret_shorter_than_32_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the secret has 31 bytes; it wants at least 32 random ones$"):
        Keys.derive("x" * 31)
    assert Keys.derive("ä" * 16)


def test_keys_are_not_printed() -> None:
    assert KEYS.visitor.hex() not in repr(KEYS)
    assert str(KEYS.visitor) not in f"{KEYS} {KEYS!r}"


@pytest.mark.parametrize("vector", vectors("visitor.json"), ids=lambda vector: vector["why"])
def test_a_visitors_vector_holds(vector: dict[str, Any]) -> None:
    assert read_visitor(vector["token"], Keys.derive(vector["secret"])) == vector["visitor"]


@pytest.mark.parametrize("vector", believed("visitor.json"), ids=lambda vector: vector["why"])
def test_signing_a_visitor_gives_its_vector(vector: dict[str, Any]) -> None:
    assert sign_visitor(vector["visitor"], Keys.derive(vector["secret"])) == vector["token"]


@pytest.mark.parametrize("vector", believed("override.json"), ids=lambda vector: vector["why"])
def test_signing_an_override_gives_its_vector(vector: dict[str, Any]) -> None:
    expires = int(vector["token"].partition(".")[0].rpartition("~")[2])
    wish = vector["capability"], Stack(vector["stack"])
    assert sign_override(*wish, expires, Keys.derive(vector["secret"])) == vector["token"]


@given(st.text(min_size=32, max_size=200), anything)
def test_a_token_carries_half_of_an_hmac(secret: str, text: str) -> None:
    """As RFC 2104 writes it, done by the standard library."""
    keys = Keys.derive(secret)
    digest = hmac.digest(keys.visitor, text.encode("utf-8", "surrogatepass"), "sha256")
    assert sign_visitor(text, keys) == f"{text}.{urlsafe_b64encode(digest[:16]).decode().rstrip('=')}"


@pytest.mark.parametrize("vector", vectors("override.json"), ids=lambda vector: vector["why"])
def test_an_overrides_vector_holds(vector: dict[str, Any]) -> None:
    found = read_override(vector["token"], Keys.derive(vector["secret"]), vector["now"]) or (None, None)
    assert found == (vector["capability"], vector["stack"])


def test_each_use_has_a_key_of_its_own() -> None:
    found = {KEYS.table, KEYS.visitor, KEYS.override, KEYS.identity}
    assert len(found) == 4
    assert {len(key) for key in found} == {32}  # which an Ed25519 seed must have
