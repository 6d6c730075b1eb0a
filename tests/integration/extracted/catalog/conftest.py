"""The catalog as a process over a database of its own, with a few rows in it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from strangler.local import Postgres, ensure_database, ensure_role
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import PASSWORD
from tests.fixtures.shop import ROOT
from tests.fixtures.waiting import until

HOME = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "extracted" / "catalog")))}
_numbers = itertools.count(1)
COMMAND = [sys.executable, "-m", "catalog_service"]
ROWS = """
INSERT INTO category VALUES (1, NULL, 'Cups', 'cups', 0, '2024-01-01 00:00:00+00'),
    (2, 1, 'Ümlaut & more', 'more', 0, '2024-01-01 00:00:00+00');
INSERT INTO product VALUES (7, '00000000-0000-0000-0000-000000000007', 'CUP-7', 'cup', 'Cup', '', 1, 1990, 'EUR',
    '{}', '{}', 3, NULL, true, NULL, 0, '2024-01-01 00:00:00+00', '2024-01-02 00:00:00+00'),
    (8, '00000000-0000-0000-0000-000000000008', 'CUP-8', 'gone', 'Gone', '', 1, 1990, 'EUR',
    '{}', '{}', 3, NULL, false, NULL, 0, '2024-01-01 00:00:00+00', '2024-01-02 00:00:00+00');
INSERT INTO product SELECT n, gen_random_uuid(), 'BOWL-' || n, 'bowl-' || n, 'Bowl <' || n || '>', E'Thin.\\nDeep.', 2,
    n * 100, 'EUR', '{"weight_kg": 1.5, "lid": true}', '{}', 0, NULL, true, 450, 2,
    '2023-01-01 00:00:00+00', '2023-01-01 00:00:00+00' FROM generate_series(100, 129) AS n;
"""


def verb(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env={**HOME, **env}, capture_output=True, text=True, check=False)


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

    def ready(self) -> None:
        until(lambda: self.status("/health/ready") == 200, "the catalog is ready", 20)

    def requests(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def end(self) -> str:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=20)
        return said


@contextmanager
def serving(url: str, folder: Path) -> Iterator[Served]:
    """Serve the rows of an empty database until the context ends, if nobody ended it before."""
    assert verb("migrate", CATALOG_DATABASE_URL=url).returncode == 0
    with psycopg.connect(url) as connection:
        connection.execute(ROWS.encode())
    catalog = Served(url, folder / "requests")
    try:
        catalog.ready()
        yield catalog
    finally:
        if catalog.process.returncode is None:
            catalog.end()


@pytest.fixture(scope="module")
def served(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A catalog that the tests of a module share."""
    name = f"served{next(_numbers)}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        ensure_role(connection, name, PASSWORD)
        ensure_database(connection, name, name)
        with serving(postgres.url(name, name, PASSWORD), tmp_path_factory.mktemp(name)) as catalog:
            yield catalog
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def alone(database_url: str, tmp_path: Path) -> Iterator[Served]:
    """A catalog for one test, which may end it."""
    with serving(database_url, tmp_path) as catalog:
        yield catalog
