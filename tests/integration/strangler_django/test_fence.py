"""A monolith in front of a real fence: what its visitors are answered, and what a fence that observes is told.

``GUESTBOOK_PYTHON`` is the Python of an environment of its own, with the wheel and a driver (``matrix.sh``).
"""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.fixtures.fenced import Bed, Told
from tests.fixtures.guestbook import ELSEWHERE, FOLDER, PYTHON, environment


def run(bed: Bed, *arguments: str, atomic: bool = True) -> str:
    """Run a module of the monolith's as the application's role, and return what it prints."""
    done = started(bed, *arguments, atomic=atomic)
    assert done.returncode == 0, done.stderr
    return done.stdout


def started(bed: Bed, *arguments: str, atomic: bool = True) -> subprocess.CompletedProcess[str]:
    """Run it, whatever becomes of it."""
    return subprocess.run(
        [PYTHON, "-m", *arguments],
        cwd=FOLDER,
        env=environment(bed.application_url, "guestbook.fenced.settings", ATOMIC_REQUESTS=atomic),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


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


def asked(bed: Bed, capability: str = "shop-books") -> str:
    [answer] = posted(bed, f"/owner/{capability}/")
    assert answer["status"] == 200, answer
    return str(answer["body"])


def test_who_writes_its_tables_is_told_who_owns_a_capability(bare_bed: Bed) -> None:
    assert asked(bare_bed) == "monolith, 20"
    bare_bed.begin()
    assert asked(bare_bed) == "monolith, 20"
    bare_bed.up()
    assert asked(bare_bed) == "service, 20"
    assert asked(bare_bed, "others") == "monolith, 20"
    bare_bed.down()
    assert asked(bare_bed) == "monolith, 20"
    bare_bed.remove()
    assert asked(bare_bed) == "monolith, 20"


def test_who_may_not_ask_is_told_what_would_do(bed: Bed) -> None:
    with bed.sync() as connection:
        connection.execute("revoke select (raised) on strangler_sync.claim from public")
        role = conninfo_to_dict(bed.application_url)["user"]
        connection.execute(f'revoke select (raised) on strangler_sync.claim from "{role}"')
    assert asked(bed).startswith(f"the role {role} may not read who owns shop-books: start strangler sync run again")
    bed.begin()
    assert asked(bed) == "monolith, 20"


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
