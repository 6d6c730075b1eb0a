"""Reactions of a monolith, as its application's role calls them: in order, once, and none in another's way.

``GUESTBOOK_PYTHON`` is the Python of an environment of its own, as in ``test_fence``.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.fenced import Bed
from tests.fixtures.guestbook import FOLDER, PYTHON, environment
from tests.fixtures.waiting import until
from tests.integration.strangler_django.test_fence import posted, started

WAITING = "select id from strangler_sync.reaction order by id"
NOTES = "select note from other where id > 0 order by id"


def react(bed: Bed, *options: str) -> tuple[int, str]:
    done = started(bed, "django", "strangler_react", *options)
    return done.returncode, done.stdout + done.stderr


def test_changes_are_reacted_to_in_order_and_one_that_fails_stops_no_other_reaction(queue: Bed) -> None:
    ids = queue.note(
        ("shelf", {"price": 1.25}), ("shelf", {}), ("shelf", {"fails": True}), ("shelf", {}), ("other", {})
    )
    status, told = react(queue, "--once")
    assert status == 1
    assert "CommandError: 2 changes are left; the log tells why" in told
    assert f"reaction shelf failed at change {ids[2]} of book (try 1, the next in 0.5 s): DoesNotExist: Book" in told
    assert queue.owner(NOTES) == [("insert 1 Decimal('1.25')",), ("insert 2 ''",)]
    assert queue.owner("select note from other where id < 0") == [(f"other-{ids[4]}",)]
    assert queue.superuser("select reaction, change, tries from strangler_sync.reaction_trouble") == [
        ("shelf", ids[2], 1)
    ]
    assert react(queue, "--once")[0] == 1
    assert queue.superuser("select tries from strangler_sync.reaction_trouble") == [(2,)]

    assert react(queue, "--skip", "999999")[0] == 1
    status, told = react(queue, "--skip", str(ids[2]))
    assert (status, told.startswith(f"skipped: Change(id={ids[2]}, capability='shop-books', reaction='shelf'")) == (
        0,
        True,
    ), told
    assert react(queue, "--once") == (0, "1 done, 0 left\n")
    assert queue.owner(NOTES)[-1] == ("insert 4 ''",)
    assert queue.superuser("select * from strangler_sync.reaction_trouble") == []


def test_what_a_database_looks_at_last_is_the_reaction_s_own_failure(queue: Bed) -> None:
    queue.superuser(
        "create table parent (id integer primary key)",
        "create table orphan (parent integer references parent deferrable initially deferred)",
        "grant insert on orphan to public",
    )
    number, _ = queue.note(("shelf", {"orphan": True}), ("other", {}))
    status, told = react(queue, "--once")
    assert (status, f"reaction shelf failed at change {number} of book (try 1" in told) == (1, True), told
    assert queue.superuser("select reaction, change from strangler_sync.reaction_trouble") == [("shelf", number)]
    assert queue.owner("select note from other") == [(f"other-{number + 1}",)]


def test_a_process_that_is_killed_on_the_way_has_done_nothing_twice(queue: Bed, tmp_path: Path) -> None:
    died = tmp_path / "died"
    queue.note(("shelf", {}), ("shelf", {"dies": str(died)}), ("shelf", {}))
    assert react(queue, "--once")[0] == -9
    assert died.exists()
    assert (queue.owner(NOTES), len(queue.superuser(WAITING))) == ([], 3)
    assert react(queue, "--once") == (0, "3 done, 0 left\n")
    assert queue.owner(NOTES) == [(f"insert {number} ''",) for number in (1, 2, 3)]


def test_what_another_process_is_at_is_left_alone(queue: Bed) -> None:
    [ours, *_, theirs] = queue.note(("other", {}), *[("shelf", {})] * 250)
    with psycopg.connect(queue.application_url) as another:
        another.execute("select pg_advisory_xact_lock(hashtext('strangler_react'), hashtext('shelf'))")
        status, told = react(queue, "--once")
        assert (status, told.startswith("1 done, 250 left\n")) == (1, True), told
        assert queue.owner("select id from other") == [(-ours,)]
    assert react(queue, "--once") == (0, "250 done, 0 left\n")
    assert queue.owner("select count(*), max(id) from other where id > 0") == [(250, theirs)]


def test_a_right_that_is_not_there_yet_is_waited_for(bed: Bed, tmp_path: Path) -> None:
    """The sync makes the queue, and then lets the application take from it: between the two somebody may look."""
    log = tmp_path / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [PYTHON, "-m", "django", "strangler_react"],
            cwd=FOLDER,
            env=environment(bed.application_url, "guestbook.fenced.settings"),
            stdout=said,
            stderr=said,
        )
    try:
        until(lambda: "no reactions: permission denied" in log.read_text(), "it says which right it lacks", seconds=30)
        bed.let_react()
        bed.note(("shelf", {}))
        until(lambda: queue_is_empty(bed), "it reacts as soon as it may", seconds=30)
        process.terminate()
        assert process.wait(timeout=30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()


def queue_is_empty(bed: Bed) -> bool:
    return bed.superuser(WAITING) == []


def test_what_is_left_for_later_waits_for_the_commit(queue: Bed) -> None:
    kept, lost = posted(queue, "/later/7/", "/later/8/?fails")
    assert (kept["status"], lost["status"]) == (200, 500)
    assert queue.superuser("select op, key, new from strangler_sync.reaction") == [("later", {"id": 7}, None)]
    assert react(queue, "--once") == (0, "1 done, 0 left\n")
    assert queue.owner(NOTES) == [("later 7 ''",)]


def test_the_application_may_do_nothing_else_to_what_the_sync_keeps(queue: Bed) -> None:
    for refused in (
        "update strangler_sync.reaction set op = op",
        'insert into strangler_sync.reaction (reaction, capability, "table", op, key, at)'
        " values ('a', 'b', '', 'later', '{}', now())",
        "select * from strangler_sync.stream",
        "update strangler_sync.claim set raised = false",
        "select marker from strangler_sync.claim",
    ):
        with pytest.raises(Exception, match="permission denied"):
            queue.application(refused)
