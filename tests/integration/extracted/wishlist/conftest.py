"""The wish list as a process, over a database of its own and beside a catalog that answers as it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.fixtures.answering import Answering, Heard, Told, answering
from tests.fixtures.identity import Issuer
from tests.fixtures.postgres import MakeDatabase
from tests.fixtures.shop import ROOT, SERVICES
from tests.regression.own.process import Process

FOLDER: Final = SERVICES / "wishlist"
SERVE: Final = ("-m", "wishlist_service", "serve", "--listen=127.0.0.1:{port}")
ISSUER: Final = Issuer()


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


@pytest.fixture
def wishes_url(make_database: MakeDatabase) -> str:
    url = make_database()
    assert verb("migrate", WISHLIST_DATABASE_URL=url).stdout == "applied 0001_wishes.sql\n"
    return url


@pytest.fixture
def beside() -> Iterator[Answering]:
    with answering(catalog) as server:
        yield server


@pytest.fixture
def served(wishes_url: str, beside: Answering, tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(wishes_url, beside.url, tmp_path) as client:
        yield client
