"""The catalog as a process: what the operator sees of it."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from strangler.local import Postgres, ensure_database, ensure_role
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import PASSWORD, MakeDatabase
from tests.fixtures.waiting import until
from tests.integration.extracted.catalog.conftest import Served, verb


def test_the_database_is_brought_up_to_date_once(make_database: MakeDatabase) -> None:
    url = make_database()
    assert verb("migrate", CATALOG_DATABASE_URL=url).stdout == "applied 0001_catalog.sql\n"
    assert verb("migrate", CATALOG_DATABASE_URL=url).stdout == "nothing to apply\n"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (
            {"CATALOG_DATABASE_URL": ""},
            "catalog: CATALOG_DATABASE_URL is not set; set it, or CATALOG_DATABASE_URL_FILE",
        ),
        ({"CATALOG_POOL_SIZE": "0"}, "catalog: CATALOG_POOL_SIZE is '0'; write a whole number from 1 to 100"),
        ({"LOG_LEVEL": "loud"}, "catalog: LOG_LEVEL is 'loud'; write DEBUG, INFO, WARNING or ERROR"),
        ({"CATALOG_LISTEN": "8101"}, "catalog: cannot listen on '8101'; write HOST:PORT"),
    ],
)
def test_a_wrong_setting_is_one_plain_sentence(env: dict[str, str], said: str) -> None:
    done = verb("serve", **{"CATALOG_DATABASE_URL": "postgresql://x@127.0.0.1:1/x", **env})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1


def test_each_request_is_one_line_with_its_route_and_trace(alone: Served) -> None:
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x-request-id": "r-1"}
    assert alone.client.get("/api/catalog/products/7/?token=secret", headers=trace).json()["price"] == "19.90"
    alone.client.head("/api/catalog/nothing/")
    until(lambda: len(alone.requests()) == 2, "a line follows its answer")
    one, other = alone.requests()
    assert one["trace_id"] == "a" * 32
    told = {key: one[key] for key in ("service", "method", "route", "path", "status", "request_id")}
    assert told == {
        "service": "catalog",
        "method": "GET",
        "route": "/api/catalog/products/{id:digits}/",
        "path": "/api/catalog/products/7/",
        "status": 200,
        "request_id": "r-1",
    }
    assert (other["method"], other["route"], other["status"]) == ("HEAD", "unmatched", 404)
    assert "secret" not in alone.log.read_text()


def test_the_document_names_every_route_and_field(served: Served) -> None:
    document = served.client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/catalog/products/",
        "/api/catalog/products/{id}/",
        "/api/catalog/categories/",
        "/api/catalog/categories/{slug}/",
        "/{language}/products/",
        "/{language}/products/{slug}/",
    }
    for name, path in (("Product", "products/7"), ("Category", "categories/cups")):
        schema = document["components"]["schemas"][name]
        for version, fields in (("1", list(schema["properties"])), ("2", schema["required"])):
            answer = served.client.get(f"/api/catalog/{path}/", headers={"Api-Version": version})
            assert list(answer.json()) == fields


@pytest.mark.parametrize(
    ("version", "told"),
    [("1", {"price": "19.90", "currency": "EUR"}), ("2", {"price": {"amount": "19.90", "currency": "EUR"}})],
)
def test_a_price_is_told_as_the_client_s_version_has_it(served: Served, version: str, told: dict[str, object]) -> None:
    answer = served.client.get("/api/catalog/products/7/", headers={"Api-Version": version})
    assert {name: value for name, value in answer.json().items() if name in ("price", "currency")} == told
    assert answer.headers["vary"] == "Api-Version"


def test_a_version_that_there_is_not_is_refused(served: Served) -> None:
    answer = served.client.get("/api/catalog/products/7/", headers={"Api-Version": "3"})
    assert (answer.status_code, answer.headers["vary"]) == (406, "Api-Version")
    assert answer.json() == {"detail": 'Invalid version in "Api-Version" header.'}


def test_sigterm_ends_it_well_and_its_log_is_json(alone: Served) -> None:
    said = alone.end()
    assert alone.process.returncode == 0
    assert all(json.loads(line)["service"] == "catalog" for line in said.splitlines())


def test_without_its_database_it_says_so_and_it_recovers_by_itself(tmp_path: Path) -> None:
    cluster = Postgres(folder=tmp_path / "cluster", port=free_port(), settings={"fsync": "off"})
    with cluster:
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            ensure_role(connection, "catalog", PASSWORD)
            ensure_database(connection, "catalog", "catalog")
        url = cluster.url("catalog", "catalog", PASSWORD)
        assert verb("migrate", CATALOG_DATABASE_URL=url).returncode == 0
        catalog = Served(url, tmp_path / "requests")
        try:
            catalog.ready()
            cluster.stop()
            refused = catalog.client.get("/api/catalog/products/")
            assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
            assert catalog.client.get("/health/ready").json()["checks"] == {"database": "the database does not answer"}
            assert catalog.status("/health/live") == 200
            cluster.start()
            catalog.ready()
            assert catalog.status("/api/catalog/products/") == 200
        finally:
            said = catalog.end()
    assert PASSWORD not in said
