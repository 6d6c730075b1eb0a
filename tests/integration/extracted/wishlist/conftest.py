"""The wish list as a process, over a database of its own and beside a catalog that answers as it is told."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest
from psycopg import sql

from strangler.local import Postgres, ensure_database, ensure_role
from tests.fixtures.answering import Answering, Heard, Told, answering
from tests.fixtures.identity import Issuer
from tests.fixtures.postgres import PASSWORD
from tests.fixtures.shop import ROOT, SERVICES
from tests.regression.own.process import Process

FOLDER: Final = SERVICES / "wishlist"
SERVE: Final = ("-m", "wishlist_service", "serve", "--listen=127.0.0.1:{port}")
ISSUER: Final = Issuer()
_numbers = itertools.count(1)


def environment(**said: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **said}


def verb(*arguments: str, **said: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wishlist_service", *arguments],
        cwd=FOLDER,
        env=environment(**said),
        capture_output=True,
        text=True,
        check=False,
    )


def product(number: int) -> dict[str, Any]:
    return {"id": number, "slug": f"cup-{number}", "name": f"Täßchen <{number}>", "image": "/images/CUP.svg"}


def catalog(heard: Heard) -> Told:
    """Answer as the catalog does that sells cups with the numbers 1 to 999."""
    target = heard.target
    if target.startswith("/api/catalog/products/?slug=cup-"):
        return Told(body=json.dumps({"results": [product(int(target.rpartition("-")[2]))]}).encode())
    if target.startswith("/api/catalog/products/?slug="):
        return Told(body=b'{"results": []}')
    number = int(target.split("/")[4])
    found = 0 < number < 1000
    return Told(body=json.dumps(product(number)).encode()) if found else Told(status=404, body=b"{}")


@contextmanager
def serving(database: str, url: str, folder: Path) -> Iterator[httpx.Client]:
    """Run the service for a catalog at ``url``, and ask it."""
    said = environment(
        WISHLIST_DATABASE_URL=database, CATALOG_URL=url, STRANGLER_JWKS=str(ISSUER.written(folder)), LOG_LEVEL="WARNING"
    )
    arguments = (*SERVE, f"--request-log={folder / 'requests'}")
    with (
        Process.started(arguments, FOLDER, said, folder / "said") as process,
        httpx.Client(base_url=process.url, timeout=10) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def wishes_url(postgres: Postgres) -> Iterator[str]:
    name = f"wishes{next(_numbers)}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        ensure_role(connection, name, PASSWORD)
        ensure_database(connection, name, name)
        url = postgres.url(name, name, PASSWORD)
        assert verb("migrate", WISHLIST_DATABASE_URL=url).stdout == "applied 0001_wishes.sql\n"
        yield url
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def catalog_server() -> Iterator[Answering]:
    with answering(catalog) as server:
        yield server


@pytest.fixture(scope="module")
def running(wishes_url: str, catalog_server: Answering, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(wishes_url, catalog_server.url, tmp_path_factory.mktemp("wishlist")) as client:
        yield str(client.base_url)


@pytest.fixture
def beside(catalog_server: Answering) -> Answering:
    """The catalog, which has heard nothing yet."""
    catalog_server.heard.clear()
    return catalog_server


@pytest.fixture
def served(running: str, wishes_url: str, beside: Answering) -> Iterator[httpx.Client]:
    """The service; nobody keeps anything yet."""
    with psycopg.connect(wishes_url) as connection:
        connection.execute("TRUNCATE wish")
    with httpx.Client(base_url=running, timeout=10) as client:
        yield client
