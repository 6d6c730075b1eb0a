"""A database is another than it was, and its tables are filled from the owner's while everybody goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from strangler.capability import Stack
from strangler.ledger import Publisher
from strangler.local import Postgres
from strangler.project import Project
from strangler.sync import install, refilling
from strangler.sync.direction import directions
from strangler.sync.errors import SyncError
from strangler.sync.refilling import hold_words
from strangler.sync.syncing import Asked
from tests.fixtures.books import ALL, AUTHORS, BOOK, Shop, begin
from tests.fixtures.command import Run
from tests.fixtures.moving import ADD, WHY, in_shadow, may, owners, same
from tests.fixtures.restoring import dumped, restored
from tests.fixtures.streams import Paired
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow
WRITERS = "select id, name from author order by id"


@contextmanager
def put_back(shop: Shop, server: Postgres, url: str, folder: Path, *day: str) -> Iterator[None]:
    """Have the service own, write there for a ``day``, and put a database back to what it was before."""
    with in_shadow(shop):
        file = dumped(server, url, folder / "dump")
        assert shop.say("cutover", "books", *WHY)[0] == 0
        for each in day:
            assert may(shop, Stack.SERVICE, each)
        same(shop, ALL)
    restored(server, url, file)
    with shop.running():
        yield


@contextmanager
def writing(shop: Shop, stack: Stack) -> Iterator[list[int]]:
    """Have somebody write books all the time, of whom some change and go, and yield those that are acknowledged."""
    over, written, failed = threading.Event(), list[int](), list[BaseException]()

    def run() -> None:
        number = 10_000
        try:
            while not over.is_set():
                number += 1
                for each in (
                    ADD.format(number, number),
                    f"update book set title = title || '.' where id = {number % 500 + 1}",
                    f"delete from book where id = {number - 5} and id % 2 = 0",
                    # A unique value goes on from one row to another.
                    "update book set title = 'None' where id = 1;"
                    f"update book set title = 'Other {number - 1}' where id = 2;"
                    f"update book set title = 'Other {number}' where id = 1",
                ):
                    assert may(shop, stack, each)
                written.append(number)
        except BaseException as exc:
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: len(written) > 3 or failed, "somebody writes")
        yield written
    finally:
        over.set()
        thread.join(20)
    assert not failed, failed


def test_the_monolith_is_filled_while_the_service_is_written_and_goes_back_with_all_of_it(
    apart: Shop, postgres: Postgres, tmp_path: Path
) -> None:
    shop = apart
    day = (ADD.format(600, 600), "delete from book where id = 8")
    with put_back(shop, postgres, shop.pair.forward.source_url, tmp_path, *day):
        with writing(shop, Stack.SERVICE) as written:
            before = len(written)
            code, out, err = shop.say("sync", "refill", "books", *WHY, "--chunk-rows", "50")
            assert (code, "books: equal" in out) == (0, True), (out, err)
            assert len(written) > before, "nobody was kept waiting"
            until(lambda: len(written) > before + 10, "more is written")
        same(shop, ALL)
        assert shop.say("rollback", "books", *WHY)[0] == 0
        assert owners(shop) == ["monolith"]
        found = {each for (each,) in shop.pair.source("select id from book where id >= 600")}
        assert found == {600} | {each for each in written if each % 2 or each > max(written) - 5}
        assert shop.pair.source("select count(*) from book where id = 8") == [(0,)]
        same(shop, ALL)


# Whoever writes this row waits: for somebody who holds nothing that a slot would wait for.
WAITING = """
create function wait() returns trigger language plpgsql as
  $$ begin perform pg_advisory_xact_lock(7); return new; end $$;
create trigger wait before update on book for each row when (new.id = 400) execute function wait();
"""


def test_one_that_is_killed_is_run_again(shop: Shop, postgres: Postgres, tmp_path: Path) -> None:
    url = shop.pair.forward.source_url
    day = ("update book set title = title || '!' where id in (7, 400)", "insert into author values (99, 'New')")
    refill = [sys.executable, "-m", "strangler", "--project", str(shop.file), "sync", "refill", "books", *WHY]
    with put_back(shop, postgres, url, tmp_path, *day), psycopg.connect(url, autocommit=True) as watcher:
        shop.pair.source(WAITING)
        watcher.execute("select pg_advisory_lock(7)")
        process = subprocess.Popen([*refill, "--chunk-rows", "50"], stderr=subprocess.DEVNULL)
        waits = "select from pg_stat_activity where wait_event_type = 'Lock' and wait_event = 'advisory'"
        try:
            until(lambda: watcher.execute(waits).fetchone() is not None, "it is in the middle", 30)
        finally:
            process.kill()
            process.wait(20)
        watcher.execute("select pg_advisory_unlock(7)")
        shop.pair.source("drop trigger wait on book")  # which waits until the session of who was killed has ended
        assert shop.pair.source("select title from book where id in (7, 400) order by id") == [
            ("Book 7!",),
            ("Book 400",),
        ]
        assert shop.pair.source("select count(*) from author where id = 99") == [(1,)]
        said = " ".join(shop.say("sync", "status", "books")[1].split())
        assert hold_words("books") in said
        assert shop.say("rollback", "books", *WHY)[0] == 1
        assert "strangler sync refill books" in shop.say("playbook", "books")[1]
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        code, out, err = shop.say("sync", "refill", "books", *WHY)
        assert (code, "books: equal" in out) == (0, True), (out, err)
        assert "book: 1 inserted, 1 updated, 0 deleted" in out
        assert shop.say("rollback", "books", *WHY)[0] == 0
        same(shop, ALL)


def test_a_rollback_by_force_meanwhile_ends_it_and_nothing_more_is_written(
    shop: Shop, postgres: Postgres, tmp_path: Path
) -> None:
    asked = Asked(capability="books", who="ann", reason="trying")
    force = ("rollback", "books", "--force", "--accept-loss", *WHY)
    with (
        put_back(shop, postgres, shop.pair.forward.source_url, tmp_path, ADD.format(600, 600)),
        Publisher.open(shop.project) as publisher,
        ThreadPoolExecutor(1) as hand,
    ):
        with closing(refilling.refill(asked, shop.project, publisher, chunk_rows=50)) as steps:
            while next(steps).chunks_done < 3:
                pass
            said = hand.submit(shop.say, *force)
            until(lambda: owners(shop) == ["monolith"], "the monolith owns")
            with pytest.raises(SyncError, match=r"any more|no rows are written there"):
                list(steps)
        assert said.result()[0] == 0, said.result()
        assert shop.pair.source("select id from book where id >= 600") == []
        assert shop.say("sync", "refill", "books", *WHY)[0] == 2


def test_a_monolith_that_was_lost_is_filled_from_nothing(shop: Shop, postgres: Postgres, tmp_path: Path) -> None:
    url = shop.pair.forward.source_url
    bare = dumped(postgres, url, tmp_path / "bare")
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        same(shop, ALL)
    restored(postgres, url, bare)
    shop.pair.source("truncate author, book")
    with shop.running():
        code, out, err = shop.say("sync", "refill", "books", *WHY)
        assert (code, "book: 501 inserted, 0 updated, 0 deleted" in out) == (0, True), (out, err)
        assert owners(shop) == ["service"]
        assert shop.say("rollback", "books", *WHY)[0] == 0
        same(shop, ALL)


def test_a_service_s_copy_is_filled_while_its_readers_stay(shop: Shop, postgres: Postgres, tmp_path: Path) -> None:
    url = shop.pair.forward.target_url
    with in_shadow(shop):
        assert shop.say("set", "books", "--reads", "10%", *WHY)[0] == 0
        file = dumped(postgres, url, tmp_path / "dump")
        shop.pair.source(ADD.format(600, 600), "delete from book where id = 8")
        same(shop, ALL)
    restored(postgres, url, file)
    with shop.running(), writing(shop, Stack.MONOLITH):
        code, out, err = shop.say("sync", "refill", "books", *WHY)
        assert (code, "books: equal" in out) == (0, True), (out, err)
    assert shop.stage == "canary"
    with shop.running():
        same(shop, ALL)
        assert shop.say("cutover", "books", *WHY)[0] == 0
        same(shop, ALL)


def test_who_was_put_back_and_owns_is_not_taken_for_the_truth(shop: Shop, postgres: Postgres, tmp_path: Path) -> None:
    url = shop.pair.forward.target_url
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
        file = dumped(postgres, url, tmp_path / "late")
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        same(shop, ALL)
        moved = "select pg_replication_slot_advance('strangler_books_forward', pg_current_wal_lsn())"
    shop.pair.source(moved)  # as the stream itself does every second with what was applied
    restored(postgres, url, file)
    code, _, err = shop.say("sync", "refill", "books", *WHY)
    assert (code, "its database was put back itself, as it seems" in " ".join(err.split())) == (2, True)
    assert shop.pair.source("select id from book where id >= 600") == [(600,)]
    with shop.running():
        assert shop.say("sync", "refill", "books", "--accept-loss", *WHY)[0] == 0
    assert shop.pair.source("select id from book where id >= 600") == []


def test_an_owner_that_was_put_back_is_known_by_what_came_from_it(
    apart: Shop, service_server: Postgres, tmp_path: Path
) -> None:
    shop, pair = apart, apart.pair
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
    # The stream into the service stands from here on, so that its slot knows no more than a dump does.
    file = dumped(service_server, pair.forward.target_url, tmp_path / "dump")
    pair.keep(directions(shop.project.capabilities["books"], shop.project)[1])
    assert may(shop, Stack.SERVICE, ADD.format(600, 600))
    same(shop, ALL)
    pair.stop()
    restored(service_server, pair.forward.target_url, file)
    code, _, err = shop.say("sync", "refill", "books", *WHY)
    assert (code, "its database was put back itself, as it seems" in " ".join(err.split())) == (2, True), err
    assert pair.source("select count(*) from book where id = 600") == [(1,)]


def test_two_do_not_fill_at_once(shop: Shop) -> None:
    with in_shadow(shop), psycopg.connect(shop.pair.forward.target_url) as other:
        other.execute("select pg_advisory_lock(hashtextextended('strangler refill books', 0))")
        code, _, err = shop.say("sync", "refill", "books", *WHY)
        assert (code, "is being refilled by somebody else" in " ".join(err.split())) == (2, True), err
        assert shop.state["stage"] == "shadow"
        shop.pair.source(ADD.format(600, 600))
        same(shop, ALL)


def test_whoever_writes_for_long_is_waited_for_and_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "SLOT_PATIENCE_S", 0.5)
    with in_shadow(shop):
        with psycopg.connect(shop.pair.forward.source_url, application_name="nightly job") as writer:
            writer.execute("create table other (id int)")
            code, _, err = shop.say("sync", "refill", "books", *WHY)
            assert (code, "nightly job" in err) == (2, True), err
            assert hold_words("books") in " ".join(shop.say("sync", "status", "books")[1].split())
            left = shop.pair.source(
                "select slot_name from pg_replication_slots where slot_name like 'strangler_books_%'"
            )
            writer.rollback()
        assert len(left) < 2, "what could not be made is not there"
        code, out, err = shop.say("sync", "refill", "books", *WHY)
        assert (code, "books: equal" in out) == (0, True), (out, err)


def test_before_a_first_copy_has_ended_there_is_nothing_to_fill(shop: Shop) -> None:
    code, _, err = shop.say("sync", "refill", "books", *WHY)
    assert (code, "in stage monolith no fence can be raised anew" in " ".join(err.split())) == (2, True)


MAPPING = """
[[reference]]
source = "author"
target = "author"
key = { id = "id" }
[reference.forward]
name = "name"
[[table]]
source = "book"
target = "book"
key = { id = "id" }
[table.forward]
author_id = "author_id"
title = "title"
[table.reverse]
author_id = "author_id"
title = "title"
[[table.reaction]]
name = "index"
stack = "monolith"
columns = ["title"]
"""


@pytest.fixture
def reading(pair: Paired, ledger_project: Project, tmp_path: Path, command: Callable[[Path], Run]) -> Shop:
    """A shop whose books have authors that are copied for reading, and a reaction where they come back."""
    ends = pair(AUTHORS, AUTHORS, BOOK, begin=False, capability="books")
    ends.source(
        "insert into author select n, 'Author ' || n from generate_series(1, 30) n",
        "insert into book select n, 1 + n % 30, 'Book ' || n from generate_series(1, 500) n",
    )
    return begin(ends, MAPPING, ledger_project, tmp_path, command)


def test_what_is_copied_for_reading_comes_from_a_monolith_that_was_put_back(
    reading: Shop, postgres: Postgres, tmp_path: Path
) -> None:
    shop, ends = reading, reading.pair
    with in_shadow(shop):
        file = dumped(postgres, ends.forward.source_url, tmp_path / "dump")
        assert shop.say("cutover", "books", *WHY)[0] == 0
        ends.source("update author set name = 'of today' where id = 3", "insert into author values (77, 'of today')")
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        same(shop, ALL)
        same(shop, WRITERS)
    restored(postgres, ends.forward.source_url, file)
    with shop.running():
        code, out, err = shop.say("sync", "refill", "books", *WHY)
        assert (code, "author: 0 inserted, 1 updated, 1 deleted" in out) == (0, True), (out, err)
        assert ends.target("select name from author where id in (3, 77)") == [("Author 3",)]
        same(shop, ALL)
        ends.source("update author set name = 'later' where id = 3")
        same(shop, WRITERS)


def test_what_is_written_is_noted_for_reactions(reading: Shop, postgres: Postgres, tmp_path: Path) -> None:
    day = (ADD.format(600, 600), "delete from book where id = 8", "update book set title = 'Later' where id = 7")
    with put_back(reading, postgres, reading.pair.forward.source_url, tmp_path, *day):
        assert reading.say("sync", "refill", "books", *WHY)[0] == 0
    noted = "select op, key ->> 'id', old ->> 'title', new ->> 'title' from strangler_sync.reaction order by 2, id"
    assert reading.pair.source(noted) == [
        ("insert", "600", None, "New 600"),
        ("update", "7", "Book 7", "Later"),
        ("delete", "8", "Book 8", None),
    ]
