"""The page about the chassis is true: its examples run, and what it names is there."""

from __future__ import annotations

import asyncio
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from strangler.service.database import Database
from strangler.service.reacting import Change
from tests.fixtures.identity import Issuer

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "chassis.md").read_text()
EXAMPLES = dict(re.findall(r'```python title="([^"]+)"\n(.*?)```', PAGE, flags=re.DOTALL))
NAMED = sorted(set(re.findall(r"`(strangler\.service(?:\.\w+)+)", PAGE)))


def run(name: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[name], name, "exec"), names)
    return names


@pytest.mark.parametrize("name", NAMED)
def test_what_the_page_names_is_there(name: str) -> None:
    try:
        import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute)


def test_the_service_of_the_page_greets_whom_the_proxy_vouches_for() -> None:
    names = run("service.py")
    issuer = Issuer()
    chassis = names["Chassis"](names["app"], name="greetings", openapi={}, identity=issuer.verifier())

    async def asked() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(chassis), base_url="http://greetings") as client:
            vouched = {"Strangler-Identity": issuer.token(name="ann")}
            return [await client.get("/hello"), await client.get("/hello", headers=vouched)]

    assert [answer.json() for answer in asyncio.run(asked())] == [{"hello": "stranger"}, {"hello": "ann"}]


def test_the_client_of_the_page_tells_a_price_or_nothing() -> None:
    names = run("asking.py")

    async def asked() -> str | None:
        async with names["Client"]("http://127.0.0.1:1", caller="greetings", timeout_s=0.2) as client:
            price: str | None = await names["price"](client, 7)
            return price

    assert asyncio.run(asked()) is None


def test_the_service_of_the_page_that_reacts_tells_what_was_done() -> None:
    chassis = run("reacting.py")["build"](Database("postgresql://127.0.0.1:1/none", application="tests"))

    async def asked() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(chassis), base_url="http://likes") as client:
            return (await client.get("/metrics")).text

    told = asyncio.run(asked())
    for outcome in ("done", "failed"):
        assert f'strangler_service_reactions_total{{outcome="{outcome}",reaction="product"}} 0.0' in told


def test_the_page_tells_of_a_change_what_there_is() -> None:
    [told] = re.findall(r"\| `change` \| (.*) \|", PAGE)
    named = re.findall(r"`(\w+)`", told.partition(";")[0])
    assert sorted(set(named) - {"insert", "update", "delete"}) == sorted([*Change.__dataclass_fields__, "token"])
