"""A lifted Django project on the chassis: real requests, a real database, and identities as the proxy signs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import httpx
import psycopg
import pytest

from tests.fixtures.identity import Issuer

ROOT: Final = Path(__file__).parents[4]
LIFTED: Final = Path(__file__).parent / "lifted"
PEOPLE: Final = """
CREATE TABLE people_person (id bigint PRIMARY KEY, username varchar(150) NOT NULL, is_staff boolean NOT NULL);
INSERT INTO people_person VALUES (7, 'maria', false);
"""
NOBODY: Final = {"name": "", "staff": False}
ISSUER: Final = Issuer()
# A secret and the same one in the cookie; Django masks none that comes from a client.
CSRF: Final = "c" * 32


@contextmanager
def running(database: str, jwks: Path) -> Iterator[httpx.Client]:
    parts = urlsplit(database)
    where = [parts.hostname, parts.port, parts.path[1:], parts.username, unquote(parts.password or "")]
    known = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    process = subprocess.Popen(
        [sys.executable, "project.py", *map(str, where)],
        cwd=LIFTED,
        env={**known, "PYTHONPATH": f"{ROOT}{os.pathsep}{LIFTED}", "STRANGLER_JWKS": str(jwks)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def jwks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ISSUER.written(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def served(database_url: str, jwks: Path) -> Iterator[httpx.Client]:
    with psycopg.connect(database_url) as connection:
        connection.execute(PEOPLE.encode())
    with running(database_url, jwks) as client:
        yield client


def test_a_page_finds_the_visitor_whom_a_session_named(served: httpx.Client) -> None:
    assert served.get("/page/", headers=ISSUER.headers()).json() == {"name": "maria", "staff": False}
    assert served.get("/page/").json() == NOBODY
    for other in ({"via": "token"}, {"sub": "8"}, {"sub": "not a key"}):
        assert served.get("/page/", headers=ISSUER.headers(**other)).json() == NOBODY


def test_staff_and_permissions_are_those_that_came_with_the_identity(served: httpx.Client) -> None:
    assert served.get("/page/", headers=ISSUER.headers(staff=True)).json() == {"name": "maria", "staff": True}
    assert served.get("/guarded/", headers=ISSUER.headers()).status_code == 403
    assert served.get("/guarded/", headers=ISSUER.headers(permissions=["people.change_person"])).text == "guarded"


def test_who_is_not_logged_in_is_sent_to_log_in_elsewhere(served: httpx.Client) -> None:
    assert served.get("/private/").headers["location"] == "/elsewhere/login/?next=/private/"
    assert served.get("/private/", headers=ISSUER.headers()).text == "private"


def test_only_an_answer_that_looked_at_the_visitor_varies_by_the_cookie(served: httpx.Client) -> None:
    assert served.get("/page/").headers["vary"] == "Cookie"
    assert "vary" not in served.get("/nowhere/").headers


def test_an_api_knows_tokens_and_sessions(served: httpx.Client) -> None:
    for via in ("token", "session"):
        answer = served.get("/api/1/", headers=ISSUER.headers(via=via, staff=True))
        assert answer.json() == {"authenticated": True, "staff": True}
    assert served.get("/api/1/").json() == {"authenticated": False, "staff": False}
    assert served.get("/api/1/", headers=ISSUER.headers(via="token", sub="8")).json()["authenticated"] is False


def test_a_token_of_which_the_proxy_says_nothing_is_refused(served: httpx.Client) -> None:
    for sent, why in (("Token x", "Invalid token."), ("Token", "Invalid token header. No credentials provided.")):
        answer = served.get("/api/1/", headers={"Authorization": sent})
        assert (answer.status_code, answer.json()) == (401, {"detail": why})
        assert answer.headers["www-authenticate"] == "Token"
    assert served.get("/api/1/", headers={"Authorization": "Basic eDp5"}).status_code == 200


def test_a_write_needs_somebody_and_a_session_needs_the_csrf_token(served: httpx.Client) -> None:
    assert served.post("/api/1/").status_code == 401
    assert served.post("/api/1/", headers=ISSUER.headers(via="token")).status_code == 200
    by_session = ISSUER.headers()
    assert served.post("/api/1/", headers=by_session).json() == {"detail": "CSRF Failed: CSRF cookie not set."}
    served.cookies.set("csrftoken", CSRF)
    assert served.post("/api/1/", headers=by_session).status_code == 403
    assert served.post("/api/1/", headers={**by_session, "X-CSRFToken": CSRF}).status_code == 200


def test_the_proxy_is_told_how_far_a_write_has_written(served: httpx.Client) -> None:
    told = served.post("/api/1/", headers=ISSUER.headers(via="token")).headers["strangler-position"]
    assert re.fullmatch(r"[0-9A-F]{1,8}/[0-9A-F]{1,8}", told)
    assert "strangler-position" not in served.get("/api/1/").headers


def test_an_identity_that_does_not_verify_reaches_nobody(served: httpx.Client) -> None:
    assert served.get("/page/", headers=Issuer().headers()).status_code == 401


def test_requests_are_labelled_by_pattern(served: httpx.Client) -> None:
    for path in ("/plain/1/", "/plain/2/", "/api/3/", "/nowhere/"):
        served.get(path)
    metrics = served.get("/metrics").text
    for route, status, count in (("/plain/<int:number>/", 200, 2), ("/api/<pk>/", 200, 1), ("unmatched", 404, 1)):
        assert f'requests_total{{method="GET",route="{route}",status="{status}"}} {count}.0' in metrics


def test_a_database_that_is_away_is_a_503_and_the_process_lives(jwks: Path) -> None:
    with running("postgresql://nobody:x@127.0.0.1:1/nothing", jwks) as served:
        assert served.get("/plain/1/", headers=ISSUER.headers()).status_code == 200
        answer = served.get("/page/", headers=ISSUER.headers())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["content-type"] == "application/problem+json"
        assert served.get("/health/ready").json()["checks"] == {"database": "the database does not answer"}
        assert served.get("/health/live").status_code == 200
