"""This release reads what the release before wrote, and refuses cleanly what only a later one knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from strangler.routing.keys import Keys
from strangler.routing.table import TableInvalid, _mac, seal, unseal
from strangler.service.identity import Identity, Untrusted, Verifier
from strangler.service.jwks import Keyring
from strangler_django import channel
from strangler_proxy.errors import OrdersUnreadable
from strangler_proxy.exposition import COUNTERS, LATENCIES, Total
from strangler_proxy.orders import Orders
from strangler_proxy.question import Unanswered, read_answer
from strangler_proxy.vouch import Signer, jwks

BEFORE = Path(__file__).parents[2] / "vectors" / "before"


def vectors(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((BEFORE / name).read_text())
    return found


def why(vector: dict[str, Any]) -> str:
    return str(vector.get("why", ""))


# --- routing tables: published by the ledger, read by proxies and from their disks ---


@pytest.mark.parametrize("vector", vectors("tables.json"), ids=why)
def test_a_table_is_read_and_would_be_written_byte_for_byte(vector: dict[str, Any]) -> None:
    """So a proxy of the release before takes a table of this one, as long as it says nothing that is new."""
    key, sealed = Keys.derive(vector["secret"]).table, vector["sealed"].encode()
    assert seal(unseal(sealed, key), key) == sealed


def deeper(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside a JSON value."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from deeper(each)


@pytest.mark.parametrize("vector", vectors("tables.json"), ids=why)
def test_a_table_that_says_more_is_refused_wherever_it_does(vector: dict[str, Any]) -> None:
    key = Keys.derive(vector["secret"]).table
    body = vector["sealed"].partition("\n")[2]
    count = len(list(deeper(json.loads(body))))
    assert count > 0
    for place in range(count):
        raw = json.loads(body)
        list(deeper(raw))[place]["a_rule_of_tomorrow"] = "obey"
        changed = json.dumps(raw).encode()
        with pytest.raises(TableInvalid) as refused:
            unseal(_mac(changed, key) + b"\n" + changed, key)
        assert "a newer one published it" in str(refused.value) or "cannot be read" in str(refused.value)


# --- vouchers: signed by proxies, read by services ---


def verifier(vector: dict[str, Any]) -> Verifier:
    return Verifier(Keyring(lambda: json.dumps(vector["jwks"]).encode()), clock=lambda: vector["now"])


def identity(vector: dict[str, Any]) -> Identity:
    raw = vector["identity"]
    return Identity(
        subject=raw["subject"],
        name=raw["name"],
        staff=raw["staff"],
        groups=frozenset(raw["groups"]),
        permissions=frozenset(raw["permissions"]),
        via=raw["via"],
    )


def token(vector: dict[str, Any]) -> str:
    name, _, value = vector["header"].strip().partition(": ")
    assert name == "Strangler-Identity"
    return str(value)


@pytest.mark.parametrize("vector", vectors("vouchers.json"), ids=why)
def test_a_service_believes_a_voucher(vector: dict[str, Any]) -> None:
    assert verifier(vector).identify(token(vector)) == identity(vector)


@pytest.mark.parametrize("vector", vectors("vouchers.json"), ids=why)
def test_a_proxy_vouches_with_the_same_key_and_every_claim(vector: dict[str, Any]) -> None:
    """So services of the release before believe this one's proxies, with the keys that they have."""
    signer = Signer(Keys.derive(vector["secret"]).identity)
    assert jwks(Keys.derive(vector["secret"])) == vector["jwks"]
    (key,) = [OKPKey.import_key(each) for each in vector["jwks"]["keys"]]
    ours = signer.header(vector["identity"], vector["now"]).decode().strip().partition(": ")[2]
    found, before = (jwt.decode(each, key, algorithms=["Ed25519"]) for each in (ours, token(vector)))
    assert found.header == before.header
    assert before.claims.items() <= found.claims.items()


@pytest.mark.parametrize("vector", vectors("vouchers.json"), ids=why)
def test_claims_that_a_service_does_not_know_are_left_alone_and_headers_are_not(vector: dict[str, Any]) -> None:
    seed = Keys.derive(vector["secret"]).identity
    header = {"alg": "Ed25519", "typ": "strangler-identity+jwt", "kid": Signer(seed).kid}
    claims = jwt.decode(token(vector), Signer(seed)._key, algorithms=["Ed25519"]).claims
    more = jwt.encode(header, {**claims, "of_tomorrow": 1}, Signer(seed)._key, algorithms=["Ed25519"])
    assert verifier(vector).identify(more) == identity(vector)
    other = jwt.encode({**header, "typ": "strangler-identity2+jwt"}, claims, Signer(seed)._key, algorithms=["Ed25519"])
    with pytest.raises(Untrusted, match="its header is not that of an identity"):
        verifier(vector).identify(other)


# --- questions: asked by proxies, answered by the monolith ---


@pytest.mark.parametrize("vector", vectors("questions.json"), ids=why)
def test_the_monolith_takes_a_question(vector: dict[str, Any]) -> None:
    head, _, body = vector["question"].encode().partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    secret = vector["secret"].encode()
    assert channel.check_question(headers, body, secret, vector["now"]) == vector["nonce"]


@pytest.mark.parametrize("vector", vectors("questions.json"), ids=why)
def test_a_proxy_takes_the_answers(vector: dict[str, Any]) -> None:
    secret, nonce = vector["secret"].encode(), vector["nonce"]
    for each in vector["answers"]:
        body, signature = each["body"].encode(), each["signature"].encode()
        assert read_answer(each["status"], signature, body, secret=secret, nonce=nonce) == each["identity"]


@pytest.mark.parametrize(
    ("change", "taken"),
    [(lambda who: who.update(of_tomorrow=1), True), (lambda who: who.pop("staff"), False)],
)
def test_an_answer_may_say_more_and_not_less(change: Callable[[dict[str, Any]], object], taken: bool) -> None:
    (vector,) = vectors("questions.json")
    secret, nonce = vector["secret"].encode(), vector["nonce"]
    content = json.loads(vector["answers"][0]["body"])
    change(content["identity"])
    body = json.dumps(content).encode()
    signature = channel.sign_answer(secret, nonce, body).encode()
    if taken:
        found = read_answer(200, signature, body, secret=secret, nonce=nonce)
        assert found is not None
        assert vector["answers"][0]["identity"].items() <= found.items()
    else:
        with pytest.raises(Unanswered, match="none that this release understands"):
            read_answer(200, signature, body, secret=secret, nonce=nonce)


# --- orders and reports: a worker that is started again after the files on disk were replaced ---


@pytest.mark.parametrize("vector", vectors("orders.json"), ids=why)
def test_a_worker_understands_a_supervisor(vector: dict[str, Any]) -> None:
    told = json.loads(vector["line"])
    found = Orders.from_line(vector["line"].encode())
    assert found.listeners == tuple(told["listeners"])
    assert len(found.addresses) == len(found.listeners)
    written = json.loads(json.dumps(found.settings.to_json()))
    for name, value in told["settings"].items():
        assert value == written[name] or value.items() <= written[name].items()


@pytest.mark.parametrize("vector", vectors("orders.json"), ids=why)
def test_a_worker_that_does_not_understand_everything_serves_nobody(vector: dict[str, Any]) -> None:
    for place in ("settings", "limits", "timeouts", "links", "identity"):
        told = json.loads(vector["line"])
        (told["settings"] if place == "settings" else told["settings"][place])["of_tomorrow"] = 1
        with pytest.raises(OrdersUnreadable, match="of_tomorrow"):
            Orders.from_line(json.dumps(told).encode())
    with pytest.raises(OrdersUnreadable):
        Orders.from_line(b"")


@pytest.mark.parametrize("vector", vectors("reports.json"), ids=why)
def test_a_supervisor_sums_what_it_knows_of_a_report(vector: dict[str, Any]) -> None:
    total = Total()
    total.add(vector["tally"])
    total.add({**vector["tally"], "of_tomorrow": [["x", 1]]})
    known = {counter.key for counter in (*COUNTERS, LATENCIES)} & vector["tally"].keys()
    assert {"requests", "failures", "identities", "accepted"} <= known
    assert total.counts["accepted"] == {(): 2 * vector["tally"]["accepted"]}
    for *labels, count in vector["tally"]["requests"]:
        assert total.counts["requests"][tuple(labels)] == 2 * count
