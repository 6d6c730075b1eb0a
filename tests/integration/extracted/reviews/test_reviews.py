"""The reviews as a process: what the operator sees of it, and what it shares with the monolith."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import psycopg
import pytest

from strangler.local import Postgres, ensure_database, ensure_role
from tests.fixtures.identity import Issuer
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import PASSWORD
from tests.fixtures.reviewed import ANNS, BARE, restore
from tests.fixtures.shop import MONOLITH, ROOT, SERVICES, Shop
from tests.fixtures.waiting import until

FOLDER: Final = SERVICES / "reviews"
DOCUMENT: Final = FOLDER / "reviews_service" / "openapi.json"
COMMAND: Final = [sys.executable, "-m", "reviews_service"]
HOME: Final = {
    **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")},
    "PYTHONPATH": str(ROOT),
    "SECRET_KEY": "for tests only, and long enough for Django",
    "MESSAGES_KEY": "both have this one",
}
NOWHERE: Final = "postgresql://x@127.0.0.1:1/x"
ISSUER: Final = Issuer()
ANN: Final = {"sub": "2", "name": "ann"}
CSRF: Final = "c" * 32
# One grey pixel.
PNG: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636800000082008177cd72b60000000049454e44ae426082"
)


def verb(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=FOLDER, env={**HOME, **env}, capture_output=True, text=True, check=False
    )


class Process:
    """One of the two stacks, as a process."""

    def __init__(self, command: list[str], folder: Path, address: str, env: dict[str, str]) -> None:
        self.client = httpx.Client(base_url=f"http://{address}", timeout=10, trust_env=False)
        self.process = subprocess.Popen(command, cwd=folder, env={**HOME, **env}, stderr=subprocess.PIPE, text=True)

    def status(self, path: str) -> int:
        try:
            return self.client.get(path).status_code
        except httpx.TransportError:
            return 0

    def end(self) -> str:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=30)
        return said


@contextmanager
def running(command: list[str], folder: Path, address: str, ready: str, **env: str) -> Iterator[Process]:
    process = Process(command, folder, address, env)
    try:
        until(lambda: process.status(ready) == 200, f"{ready} is answered", seconds=30)
        yield process
    finally:
        if process.process.returncode is None:
            process.end()


@contextmanager
def reviews(database: str, folder: Path) -> Iterator[Process]:
    address = f"127.0.0.1:{free_port()}"
    env = {
        "REVIEWS_DATABASE_URL": database,
        "STRANGLER_JWKS": str(ISSUER.written(folder)),
        "MEDIA_ROOT": str(folder / "media"),
    }
    command = [*COMMAND, "serve", "--listen", address, "--request-log", str(folder / "requests")]
    with running(command, FOLDER, address, "/health/ready", **env) as process:
        yield process


@pytest.fixture
def served(shop: Shop, tmp_path: Path) -> Iterator[Process]:
    with reviews(shop.service("reviews"), tmp_path) as process:
        yield process
    restore(shop.service("reviews"))


@pytest.fixture
def monolith(shop: Shop, tmp_path: Path) -> Iterator[Process]:
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "gunicorn", "--workers=1", "--threads=2", "--log-level=error", f"--bind={address}"]
    env = {"DATABASE_URL": shop.monolith, "MEDIA_ROOT": str(tmp_path / "media")}
    with running(command, MONOLITH, address, "/robots.txt", **env) as process:
        yield process


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"REVIEWS_DATABASE_URL": ""}, "reviews: REVIEWS_DATABASE_URL (or REVIEWS_DATABASE_URL_FILE) must be"),
        ({"REVIEWS_THREADS": "0"}, "reviews: REVIEWS_THREADS is '0'; write a whole number from 1 to 100"),
        ({"LOG_LEVEL": "loud"}, "reviews: LOG_LEVEL is 'loud'; write DEBUG, INFO, WARNING or ERROR"),
        ({"REVIEWS_LISTEN": "8102"}, "reviews: cannot listen on '8102'; write HOST:PORT"),
        ({"STRANGLER_JWKS": "/nowhere.json"}, "reviews: STRANGLER_JWKS is '/nowhere.json', and there is no such file"),
    ],
)
def test_a_wrong_setting_is_one_plain_sentence(env: dict[str, str], said: str) -> None:
    done = verb("serve", **{"REVIEWS_DATABASE_URL": NOWHERE, **env})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1


def test_a_database_that_is_away_cannot_be_brought_up_to_date() -> None:
    done = verb("migrate", REVIEWS_DATABASE_URL=NOWHERE)
    assert done.returncode == 1
    assert done.stderr.startswith("reviews: connection")


def test_the_document_is_what_the_code_describes() -> None:
    assert verb("document", REVIEWS_DATABASE_URL=NOWHERE).stdout == DOCUMENT.read_text("utf-8"), (
        "write it again: python -m reviews_service document > reviews_service/openapi.json"
    )


def test_the_models_and_migrations_agree() -> None:
    environment = {**HOME, "REVIEWS_DATABASE_URL": NOWHERE, "DJANGO_SETTINGS_MODULE": "reviews_service.settings"}
    command = [sys.executable, "-W", "ignore", "-m", "django", "makemigrations", "--check", "--dry-run"]
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "No changes detected\n")


def test_each_request_is_one_line_with_its_route_and_trace(served: Process, tmp_path: Path) -> None:
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x-request-id": "r-1"}
    assert served.client.get(f"/api/reviews/{ANNS}/?token=secret", headers=trace).json()["author"] == "ann"
    log = tmp_path / "requests"
    # The line is written after the answer's last byte: a quick reader may be there before it.
    until(lambda: '"r-1"' in log.read_text() and log.read_text().endswith("\n"), "the request is a line of the log")
    [line] = [each for each in map(json.loads, log.read_text().splitlines()) if each["request_id"] == "r-1"]
    told = {key: line[key] for key in ("service", "method", "route", "path", "status", "trace_id")}
    assert told == {
        "service": "reviews",
        "method": "GET",
        "route": "/api/reviews/<pk>/",
        "path": f"/api/reviews/{ANNS}/",
        "status": 200,
        "trace_id": "a" * 32,
    }
    assert "secret" not in log.read_text()
    assert 'route="/api/reviews/<pk>/",status="200"' in served.client.get("/metrics").text


def test_sigterm_tells_that_it_is_not_ready_and_ends_it_well(served: Process) -> None:
    assert served.client.get("/health/live").headers.get("connection") != "close"
    served.process.send_signal(signal.SIGTERM)
    until(lambda: served.status("/health/ready") == 503, "it says that it is not ready")
    assert served.client.get(f"/api/reviews/{ANNS}/").headers["connection"] == "close"
    assert all(json.loads(line)["service"] == "reviews" for line in served.end().splitlines())
    assert served.process.returncode == 0


def test_a_head_that_is_under_way_when_it_stops_is_waited_for_and_answered(served: Process) -> None:
    with socket.create_connection(("127.0.0.1", served.client.base_url.port or 0), timeout=10) as slow:
        slow.sendall(b"GET /health/live HTTP/1.1\r\n")
        assert served.status("/health/live") == 200
        served.process.send_signal(signal.SIGTERM)
        until(lambda: served.status("/health/ready") == 503, "it says that it is not ready")
        slow.sendall(b"Host: reviews\r\n")
        assert select.select([slow], [], [], 0.3)[0] == [], "it has closed the connection, or answered half a head"
        slow.sendall(b"\r\n")
        said = slow.makefile("rb").read()
    assert said.startswith(b"HTTP/1.1 200 OK\r\n"), said
    assert b"Connection: close\r\n" in said
    served.end()
    assert served.process.returncode == 0


def test_without_its_database_it_says_so_and_it_recovers_by_itself(tmp_path: Path) -> None:
    cluster = Postgres(folder=tmp_path / "cluster", port=free_port(), settings={"fsync": "off"})
    with cluster:
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            ensure_role(connection, "reviews", PASSWORD)
            ensure_database(connection, "reviews", "reviews")
        url = cluster.url("reviews", "reviews", PASSWORD)
        assert verb("migrate", REVIEWS_DATABASE_URL=url).returncode == 0
        with reviews(url, tmp_path) as served:
            cluster.stop()
            refused = served.client.get("/api/reviews/")
            assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
            assert served.client.get("/health/ready").json()["checks"] == {"database": "the database does not answer"}
            assert served.status("/health/live") == 200
            cluster.start()
            until(lambda: served.status("/health/ready") == 200, "it is ready again")
            assert served.status("/api/reviews/") == 200
            assert PASSWORD not in served.end()


def test_what_the_service_says_and_takes_the_monolith_shows(served: Process, monolith: Process) -> None:
    picture = next((MONOLITH / "shop").rglob("*.ico")).read_bytes()
    who = {**ISSUER.headers(**ANN), "Cookie": f"csrftoken={CSRF}"}
    words = {"rating": "5", "title": "Look", "csrfmiddlewaretoken": CSRF}
    refused = served.client.post("/en/reviews/write/reviewed-bare/", data=words, headers=who, files={"photos": picture})
    assert "this file is none" in refused.text
    written = served.client.post("/en/reviews/write/reviewed-bare/", data=words, headers=who, files={"photos": PNG})
    assert written.headers["location"].startswith("/en/reviews/of/reviewed-bare/#review-")
    said = {"Cookie": f"messages={written.cookies['messages']}"}
    assert "Thank you for your review." in monolith.client.get("/en/bar/", headers=said).text
    [photo] = served.client.get(f"/api/catalog/products/{BARE}/reviews/").json()["results"][0]["photos"]
    shown = monolith.client.get(photo["image"])
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/png")
