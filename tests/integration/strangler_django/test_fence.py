"""A monolith in front of a real fence: what its visitors are answered, and what a fence that observes is told.

``GUESTBOOK_PYTHON`` is the Python of an environment of its own, with the wheel and a driver (``matrix.sh``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.fixtures.fenced import Bed, Told

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
ELSEWHERE = os.environ.get("GUESTBOOK_PYTHON")


def run(bed: Bed, *arguments: str, atomic: bool = True) -> str:
    """Run a module of the monolith's as the application's role, and return what it prints."""
    parts = conninfo_to_dict(bed.application_url)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    database = {**{name: parts[key] for name, key in names.items()}, "ATOMIC_REQUESTS": atomic}
    done = subprocess.run(
        [ELSEWHERE or sys.executable, "-m", *arguments],
        cwd=FOLDER,
        env={
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")},
            "PYTHONPATH": str(FOLDER) if ELSEWHERE else os.pathsep.join((str(FOLDER), str(ROOT))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DJANGO_SETTINGS_MODULE": "guestbook.fenced.settings",
            "GUESTBOOK_DATABASE": json.dumps(database),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def posted(bed: Bed, *addresses: str, atomic: bool = True) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(bed, "guestbook.fenced", *addresses, atomic=atomic))
    return found


def statements(told: Told) -> list[str]:
    return [str(each["statement"]) for each in told()]


@pytest.mark.parametrize("address", ["/books/3/", "/api/books/3/"])
def test_a_write_that_the_fence_refuses_is_a_503_and_leaves_nothing(bed: Bed, address: str) -> None:
    bed.up()
    before = bed.rows
    [refused] = posted(bed, address)
    assert (refused["status"], refused["headers"]["Retry-After"]) == (503, "2")
    assert refused["headers"]["Content-Type"] == "application/problem+json"
    assert json.loads(refused["body"])["capability"] == "shop-books"
    assert bed.owner("select * from other") == []
    assert bed.rows == before


def test_a_connection_that_met_the_fence_serves_the_next_request(bed: Bed) -> None:
    bed.up()
    assert [each["status"] for each in posted(bed, "/books/3/", "/books/4/")] == [503, 503]
    bed.down()
    [saved] = posted(bed, "/books/3/")
    assert (saved["status"], saved["body"]) == (200, "3 anew")
    assert bed.owner("select id from other") == [(3,)]


def test_what_no_transaction_holds_together_stays_as_it_always_did(bed: Bed) -> None:
    bed.up()
    [refused] = posted(bed, "/books/3/", atomic=False)
    assert refused["status"] == 503
    assert bed.owner("select id from other") == [(3,)]


def test_another_error_of_the_database_is_no_fence_s(bed: Bed) -> None:
    assert [each["status"] for each in posted(bed, "/books/3/", "/books/3/")] == [200, 500]


def test_a_fence_that_observes_is_told_the_route(bed: Bed, told: Told) -> None:
    bed.observe()
    assert [each["status"] for each in posted(bed, "/books/3/", "/api/books/4/")] == [200, 200]
    found = statements(told)
    assert [each.partition(" */ ")[0] for each in found] == [
        "/* strangler method=POST route=/books/<int:pk>/",
        "/* strangler method=POST route=/api/books/<pk>/",
    ]
    assert found[0].partition(" */ ")[2].startswith('UPDATE "book" SET "title" = \'3 anew\'')


def test_sql_of_the_project_s_own_is_named_too(bed: Bed, told: Told) -> None:
    bed.observe()
    assert [each["status"] for each in posted(bed, "/hand/")] == [200]
    found = statements(told)
    assert len(found) == 5
    assert {each.partition(" */ ")[0] for each in found} == {"/* strangler method=POST route=/hand/"}


def test_who_wraps_statements_too_takes_only_its_own_away(bed: Bed, told: Told) -> None:
    bed.observe()
    [answer] = posted(bed, "/wrapped/")
    assert (answer["status"], answer["body"]) == (200, "1")
    found = [each.partition(" */ ")[0] for each in statements(told)]
    assert found == ["/* strangler method=POST route=/wrapped/"] * 2


def test_a_command_is_told(bed: Bed, told: Told) -> None:
    bed.observe()
    run(bed, "django", "restock")
    [found] = statements(told)
    assert found.startswith('/* strangler command=restock */ UPDATE "book"')


@pytest.mark.skipif(bool(ELSEWHERE) or not find_spec("celery"), reason="Celery is not there")
def test_a_task_is_told_and_the_request_after_it_again(bed: Bed, told: Told) -> None:
    bed.observe()
    assert [each["status"] for each in posted(bed, "/task/")] == [200]
    assert [each.partition(" */ ")[0] for each in statements(told)] == [
        "/* strangler task=fenced.restock",
        "/* strangler method=POST route=/task/",
    ]
