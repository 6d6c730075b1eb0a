"""The recommendations as a process beside a catalog that answers as it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.answering import Answering, Heard, Told, answering
from tests.fixtures.ports import free_port
from tests.fixtures.shop import ROOT, SERVICES
from tests.fixtures.waiting import until
from tests.regression.own.process import Process

FOLDER = SERVICES / "recommendations"
SERVE = ("-m", "recommendations_service", "serve", "--listen=127.0.0.1:{port}")
LIKE_7 = "/api/recommendations/7/"


def environment(**said: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **said}


def product(number: int, price: str = "19.90") -> dict[str, Any]:
    return {
        "id": number,
        "slug": f"cup-{number}",
        "name": "Täßchen",
        "category": {"id": 1, "slug": "cups", "name": "Cups"},
        "price": price,
        "currency": "EUR",
        "tags": ["gift"],
        "image": "/images/CUP.svg",
        "rating": "4.50",
    }


def catalog(heard: Heard) -> Told:
    """Answer as the catalog does that has three cups, one of them not in stock."""
    if heard.target == "/api/catalog/products/7/":
        return Told(body=json.dumps(product(7)).encode())
    if heard.target == "/api/catalog/products/?category=cups&in_stock=true&ordering=-created_at&page_size=100":
        return Told(body=json.dumps({"results": [product(9, "25.00"), product(8)]}).encode())
    return Told(status=404, body=b'{"detail":"Not found."}')


@pytest.fixture
def beside() -> Iterator[Answering]:
    with answering(catalog) as server:
        yield server


@pytest.fixture
def served(beside: Answering, tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(beside.url, tmp_path) as client:
        yield client


@contextmanager
def serving(url: str, folder: Path) -> Iterator[httpx.Client]:
    """Run the service for a catalog at ``url``, and ask it."""
    arguments = (*SERVE, f"--request-log={folder / 'requests'}")
    with (
        Process.started(arguments, FOLDER, environment(CATALOG_URL=url), folder / "said") as process,
        httpx.Client(base_url=process.url, timeout=10) as client,
    ):
        yield client


def test_what_is_like_a_product_comes_out_of_two_questions(served: httpx.Client, beside: Answering) -> None:
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x-request-id": "r-1"}
    answer = served.get(LIKE_7, headers={**trace, "Api-Version": "2"})
    assert [each["id"] for each in answer.json()["results"]] == [8, 9]
    assert answer.json()["results"][0] == {
        "id": 8,
        "slug": "cup-8",
        "name": "Täßchen",
        "price": {"amount": "19.90", "currency": "EUR"},
        "image": "/images/CUP.svg",
        "rating": "4.50",
    }
    assert len(beside.heard) == 2
    for heard in beside.heard:
        assert heard.headers["traceparent"].split("-")[1] == "a" * 32
        assert (heard.headers["x-request-id"], heard.headers["api-version"]) == ("r-1", "1")
        assert heard.headers["user-agent"] == "recommendations"


def test_an_unknown_product_is_not_found(served: httpx.Client) -> None:
    for number in ("8", "99999999999999999999999"):
        answer = served.get(f"/api/recommendations/{number}/")
        assert (answer.status_code, answer.text) == (404, '{"detail":"Not found."}')


def test_a_catalog_that_is_away_is_a_reason_to_come_back_and_none_to_be_not_ready(tmp_path: Path) -> None:
    place = f"http://127.0.0.1:{free_port()}"
    with serving(place, tmp_path) as client:
        answer = client.get(LIKE_7)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.get("/health/ready").status_code == 200
        said = tmp_path / "said"
        until(lambda: f"GET {place}/api/catalog/products/7/" in said.read_text(), "the operator is told who is away")


@pytest.mark.parametrize(
    "told",
    [
        Told(status=500),
        Told(status=301, headers={"Location": "/"}),
        Told(body=b"<html>"),
        Told(body=b"[]"),
        Told(body=b'{"id": 7}'),
        Told(body=json.dumps({**product(7), "price": "much"}).encode()),
    ],
    ids=["defect", "moved", "html", "list", "part", "price"],
)
def test_a_catalog_that_makes_no_sense_is_as_good_as_away(told: Told, tmp_path: Path) -> None:
    with answering(lambda heard: told) as server, serving(server.url, tmp_path) as client:
        assert client.get(LIKE_7).status_code == 503


def test_the_document_names_the_route(served: httpx.Client) -> None:
    assert list(served.get("/openapi.json").json()["paths"]) == ["/api/recommendations/{id}/"]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"CATALOG_URL": ""}, "recommendations: CATALOG_URL is not set"),
        ({"CATALOG_URL": "catalog"}, "recommendations: 'catalog' is no address of a service"),
        ({"RECOMMENDATIONS_LISTEN": "8104"}, "recommendations: cannot listen on '8104'"),
    ],
)
def test_a_wrong_setting_is_one_plain_sentence(said: dict[str, str], complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recommendations_service", "serve"],
        cwd=FOLDER,
        env=environment(**{"CATALOG_URL": "http://127.0.0.1:1", **said}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(complaint)
    assert len(done.stderr.splitlines()) == 1
