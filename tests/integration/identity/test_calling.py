"""Who calls a service past the proxy: by certificate, by statement, and for which visitor."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from strangler.service.calling import Statement
from strangler.service.client import Client
from strangler.service.identity import Identity, acting
from tests.fixtures.certificates import Authority, Pair
from tests.fixtures.identity import Issuer
from tests.fixtures.ports import free_port
from tests.fixtures.split import lists

SECRET, OTHER = "a secret of at least thirty-two bytes", "another secret of thirty-two bytes or so"
OTTO = Identity(subject="7", name="otto", staff=False, groups=frozenset(), permissions=frozenset(), via="session")


def claims() -> dict[str, Any]:
    now = int(time.time())
    told = {"sub": "7", "name": "otto", "staff": False, "groups": [], "permissions": [], "via": "session"}
    return {"iss": "strangler", "aud": "services", "iat": now, "exp": now + 30, **told}


async def asked(port: int, statement: Statement | None, voucher: str) -> httpx.Response:
    with acting(OTTO, voucher):
        async with Client(f"http://127.0.0.1:{port}", caller="reviews", statement=statement) as client:
            return await client.get("/lists/")


def test_a_call_carries_the_visitor_and_who_calls(tmp_path: Path) -> None:
    from joserfc import jwt

    issuer, port = Issuer(), free_port()
    header = {"alg": "Ed25519", "typ": "strangler-identity+jwt", "kid": issuer.kid}
    voucher = jwt.encode(header, claims(), issuer.key, algorithms=["Ed25519"])
    env = {"STRANGLER_JWKS": str(issuer.written(tmp_path)), "STRANGLER_CALLERS": f"reviews={SECRET}"}
    with lists(port, tmp_path, env):
        known = asyncio.run(asked(port, Statement(name="reviews", secret=SECRET, audience="lists"), voucher)).json()
        assert (known["caller"], known["visitor"]["name"]) == ("reviews", "otto")
        silent = asyncio.run(asked(port, None, voucher)).json()
        assert (silent["caller"], silent["visitor"]["name"]) == (None, "otto")
        for secret, audience in ((OTHER, "lists"), (SECRET, "monolith")):
            false = Statement(name="reviews", secret=secret, audience=audience)
            assert asyncio.run(asked(port, false, voucher)).status_code == 401


def test_only_who_has_a_certificate_gets_in(tmp_path: Path) -> None:
    ours, port = Authority(tmp_path), free_port()
    foreign_folder = tmp_path / "foreign"
    foreign_folder.mkdir()
    own, proxy, foreign = ours.give("127.0.0.1"), ours.give("proxy"), Authority(foreign_folder).give("proxy")
    env = {"TLS_CERTIFICATE": str(own.certificate), "TLS_KEY": str(own.key), "TLS_CLIENTS": str(ours.ca)}
    with lists(port, tmp_path, env):
        url = f"https://127.0.0.1:{port}/lists/"
        assert httpx.get(url, verify=context(ours, proxy)).status_code == 200
        for shown in (None, foreign):
            with pytest.raises(httpx.TransportError):
                httpx.get(url, verify=context(ours, shown))


def context(authority: Authority, shown: Pair | None) -> ssl.SSLContext:
    found = ssl.create_default_context(cafile=str(authority.ca))
    if shown is not None:
        found.load_cert_chain(shown.certificate, shown.key)
    return found
