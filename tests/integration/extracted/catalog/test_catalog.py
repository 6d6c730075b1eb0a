"""The catalog as a process: what the operator sees of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from strangler.local import Postgres, ensure_database, ensure_role
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import PASSWORD, MakeDatabase
from tests.fixtures.shop import ROOT

HOME = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "extracted" / "catalog")))}
COMMAND = [sys.executable, "-m", "catalog_service"]
ROWS = """
INSERT INTO category VALUES (1, NULL, 'Cups', 'cups', 0, '2024-01-01 00:00:00+00');
INSERT INTO product VALUES (7, '00000000-0000-0000-0000-000000000007', 'CUP-7', 'cup', 'Cup', '', 1, 1990, 'EUR',
    '{}', '{}', 3, NULL, true, NULL, 0, '2024-01-01 00:00:00+00', '2024-01-02 00:00:00+00');
"""


def verb(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env={**HOME, **env}, capture_output=True, text=True, check=False)


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in 20 s"
        time.sleep(0.02)


class Served:
    """The catalog as a process over a database of its own."""

    def __init__(self, url: str, log: Path) -> None:
        self.log = log
        address = f"127.0.0.1:{free_port()}"
        self.client = httpx.Client(base_url=f"http://{address}", timeout=10)
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--listen", address, "--request-log", str(log)],
            env={**HOME, "CATALOG_DATABASE_URL": url},
            stderr=subprocess.PIPE,
            text=True,
        )

    def status(self, path: str) -> int:
        try:
            return self.client.get(path).status_code
        except httpx.TransportError:
            return 0

    def requests(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def end(self) -> str:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=20)
        return said


@pytest.fixture
def catalog_url(make_database: MakeDatabase) -> str:
    url = make_database()
    assert verb("migrate", CATALOG_DATABASE_URL=url).returncode == 0
    with psycopg.connect(url) as connection:
        connection.execute(ROWS.encode())
    return url


@pytest.fixture
def served(catalog_url: str, tmp_path: Path) -> Iterator[Served]:
    catalog = Served(catalog_url, tmp_path / "requests")
    try:
        until(lambda: catalog.status("/health/ready") == 200)
        yield catalog
    finally:
        if catalog.process.returncode is None:
            catalog.end()


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


def test_each_request_is_one_line_with_its_route_and_trace(served: Served) -> None:
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x-request-id": "r-1"}
    assert served.client.get("/api/catalog/products/7/?token=secret", headers=trace).json()["price"] == "19.90"
    served.client.head("/api/catalog/nothing/")
    until(lambda: len(served.requests()) == 2)  # a line follows its answer
    one, other = served.requests()
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
    assert "secret" not in served.log.read_text()


def test_the_document_names_every_route_and_field(served: Served) -> None:
    document = served.client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/catalog/products/",
        "/api/catalog/products/{id}/",
        "/api/catalog/categories/",
        "/api/catalog/categories/{slug}/",
    }
    for name, path in (("Product", "products/7"), ("Category", "categories/cups")):
        answer = served.client.get(f"/api/catalog/{path}/").json()
        schema = document["components"]["schemas"][name]
        assert list(answer) == schema["required"] == list(schema["properties"])


def test_sigterm_ends_it_well_and_its_log_is_json(served: Served) -> None:
    said = served.end()
    assert served.process.returncode == 0
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
            until(lambda: catalog.status("/health/ready") == 200)
            cluster.stop()
            refused = catalog.client.get("/api/catalog/products/")
            assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
            assert catalog.client.get("/health/ready").json()["checks"] == {"database": "the database does not answer"}
            assert catalog.status("/health/live") == 200
            cluster.start()
            until(lambda: catalog.status("/health/ready") == 200)
            assert catalog.status("/api/catalog/products/") == 200
        finally:
            said = catalog.end()
    assert PASSWORD not in said
