"""Who a visitor is, and when the proxy says so with a cookie."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network

import pytest

from strangler.capability import Data, Stack, Stage, State
from strangler.routing.bucket import bucket
from strangler.routing.cohort import Cohort, Source
from strangler.routing.keys import Keys, read_visitor, sign_override, sign_visitor
from strangler.routing.table import Capability, Route
from tests.fixtures.proxy import KEYS, SETTINGS, Client, Origin, Proxy, Response, routing_table

FOLLOWING = Keys.derive("the one that follows, and it has thirty-two bytes too")
COHORT = Cohort(name="beta", source=Source.HEADER, key="x-beta", values=("yes",))


def catalog(share: int, killed: str | None = None, **cohorts: Stack) -> Capability:
    return Capability(
        name="catalog",
        service="catalog",
        routes=(Route(path="/api/catalog"),),
        cohorts=(COHORT,),
        state=State(data=Data.NONE, share=share, stage=Stage.CANARY, killed=killed, cohorts=cohorts),
    )


@contextmanager
def shop(capability: Capability, trusted: str | None = None, keys: Keys = KEYS) -> Iterator[tuple[Proxy, Client]]:
    settings = SETTINGS if trusted is None else replace(SETTINGS, trusted=(ip_network(trusted),))
    with (
        Origin() as monolith,
        Origin(name="service") as service,
        Proxy(settings, routing_table(monolith.url, [capability], catalog=service.url), keys) as proxy,
        Client(proxy.port) as client,
    ):
        yield proxy, client


def visitor_of(response: Response) -> str | None:
    for line in response.all("set-cookie"):
        name, _, rest = line.partition("=")
        if name == "strangler_visitor":
            return read_visitor(rest.partition(";")[0], KEYS)
    return None


def test_a_new_visitor_gets_a_cookie_and_keeps_the_stack() -> None:
    with shop(catalog(5000)) as (_, client):
        first = client.get("/api/catalog/1")
        visitor = visitor_of(first)
        assert visitor is not None
        (line,) = first.all("set-cookie")
        assert line.partition("; ")[2] == "Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"
        expected = b"service" if bucket("catalog", visitor) < 5000 else b"monolith"
        assert first.body == expected
        cookie = f"Cookie: sessionid=new; strangler_visitor={sign_visitor(visitor, KEYS)}"
        for _ in range(5):
            again = client.get("/api/catalog/1", cookie)
            assert (again.body, again.all("set-cookie")) == (expected, [])


def test_the_share_is_what_visitors_see() -> None:
    visitors = [f"visitor-number-{number:05}" for number in range(400)]
    with shop(catalog(2500)) as (_, client):
        cookies = [f"Cookie: strangler_visitor={sign_visitor(visitor, KEYS)}" for visitor in visitors]
        found = [client.get("/api/catalog/1", cookie).body == b"service" for cookie in cookies]
        assert found == [bucket("catalog", visitor) < 2500 for visitor in visitors]


def test_a_visitor_of_the_second_secret_stays_who_he_is_and_gets_a_cookie_of_the_first() -> None:
    with shop(catalog(5000), keys=replace(KEYS, second=FOLLOWING)) as (_, client):
        for visitor in ("visitor-number-00001", "visitor-number-00002", "visitor-number-00003"):
            answer = client.get("/api/catalog/1", f"Cookie: strangler_visitor={sign_visitor(visitor, FOLLOWING)}")
            assert visitor_of(answer) == visitor
            assert answer.body == (b"service" if bucket("catalog", visitor) < 5000 else b"monolith")
            again = client.get("/api/catalog/1", f"Cookie: strangler_visitor={sign_visitor(visitor, KEYS)}")
            assert again.all("set-cookie") == []


def test_a_visitor_of_a_secret_that_nobody_believes_is_another() -> None:
    with shop(catalog(5000)) as (_, client):
        answer = client.get("/api/catalog/1", f"Cookie: strangler_visitor={sign_visitor('v' * 20, FOLLOWING)}")
        assert visitor_of(answer) not in (None, "v" * 20)


@pytest.mark.parametrize("share", [0, 10_000])
def test_no_cookie_while_the_share_does_not_divide(share: int) -> None:
    with shop(catalog(share)) as (_, client):
        assert client.get("/api/catalog/1").all("set-cookie") == []


def test_no_cookie_for_writes_and_other_paths() -> None:
    with shop(catalog(5000)) as (_, client):
        assert client.post("/api/catalog/1", b"x").all("set-cookie") == []
        assert client.post("/api/catalog/1", b"x").body == b"monolith"
        assert client.get("/").all("set-cookie") == []


def test_a_forged_cookie_is_replaced() -> None:
    with shop(catalog(5000)) as (_, client):
        assert visitor_of(client.get("/api/catalog/1", "Cookie: strangler_visitor=aaaaaaaaaaaaaaaaaaaaaa.bbbb"))


def test_an_api_client_is_known_by_its_credential() -> None:
    with shop(catalog(5000)) as (_, client):
        bodies = set()
        for number in range(20):
            found = [client.get("/api/catalog/1", f"Authorization: Token {number}") for _ in range(3)]
            assert len({each.body for each in found}) == 1
            assert not any(each.all("set-cookie") for each in found)
            bodies.add(found[0].body)
        assert bodies == {b"monolith", b"service"}


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
def test_the_cookie_is_secure_where_a_trusted_balancer_says_https(scheme: str, secure: bool) -> None:
    with shop(catalog(5000), trusted="127.0.0.1/32") as (_, client):
        (line,) = client.get("/api/catalog/1", f"X-Forwarded-Proto: {scheme}").all("set-cookie")
        assert line.endswith("; Secure") is secure


def test_https_of_an_untrusted_client_is_hearsay() -> None:
    with shop(catalog(5000)) as (_, client):
        (line,) = client.get("/api/catalog/1", "X-Forwarded-Proto: https").all("set-cookie")
        assert "Secure" not in line


def test_a_signed_override_moves_reads_by_header_and_by_cookie() -> None:
    token = sign_override("catalog", Stack.SERVICE, int(time.time()) + 60, KEYS)
    with shop(catalog(0)) as (_, client):
        assert client.get("/api/catalog/1", f"X-Strangler-Override: {token}").body == b"service"
        assert client.get("/api/catalog/1", f"Cookie: strangler_override={token}").body == b"service"
        assert client.get("/api/catalog/1").body == b"monolith"


@pytest.mark.parametrize(
    "token",
    [
        sign_override("catalog", Stack.SERVICE, 1, KEYS),
        "catalog~service~4000000000.AAAAAAAAAAAAAAAAAAAAAA",
        "catalog~service~4000000000",
        "\xff\xfe",
        "",
    ],
)
def test_other_overrides_are_ignored(token: str) -> None:
    with shop(catalog(0)) as (_, client):
        raw = b"GET /api/catalog/1 HTTP/1.1\r\nHost: x\r\nX-Strangler-Override: " + token.encode("latin-1")
        client.send(raw + b"\r\n\r\n")
        assert client.response().body == b"monolith"


def test_writes_ignore_overrides() -> None:
    token = sign_override("catalog", Stack.SERVICE, int(time.time()) + 60, KEYS)
    with shop(catalog(10_000)) as (_, client):
        assert client.post("/api/catalog/1", b"x", f"X-Strangler-Override: {token}").body == b"monolith"


def test_cohorts_and_kill() -> None:
    with shop(catalog(0, beta=Stack.SERVICE)) as (proxy, client):
        assert client.get("/api/catalog/1", "X-Beta: yes").body == b"service"
        assert client.get("/api/catalog/1", "X-Beta: no").body == b"monolith"
        upstreams = proxy.board.table.upstreams
        killed = replace(proxy.board.table, version=2, capabilities=(catalog(0, killed="it hurts"),))
        assert killed.upstreams == upstreams
        assert proxy.call(lambda: proxy.board.adopt(killed))
        assert client.get("/api/catalog/1", "X-Beta: yes").body == b"monolith"
        found = proxy.call(lambda: sorted(key[:3] for key in proxy.board.tally.requests()))
        assert found == [
            ("catalog", "monolith", "killed"),
            ("catalog", "monolith", "share"),
            ("catalog", "service", "cohort"),
        ]
