"""A fence raised among writers and readers: whom it waits for and for how long, and whom it lets through."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from strangler.sync.errors import TimedOut
from strangler.sync.fence import Moved
from strangler.sync.fencing import STATE
from tests.fixtures.fenced import Bed
from tests.fixtures.waiting import until

WAITING = "select count(*) from pg_locks where not granted and mode = 'ShareRowExclusiveLock'"


@contextmanager
def session(url: str, *statements: str) -> Iterator[psycopg.Connection]:
    """A session whose transaction is open, after ``statements``."""
    with psycopg.connect(url, application_name="night job") as connection:
        for statement in statements:
            connection.execute(statement.encode())
        yield connection
        connection.rollback()


@contextmanager
def beside(act: Callable[[], Moved]) -> Iterator[list[Moved]]:
    """Do something in a thread, which has ended when the block has."""
    done: list[Moved] = []
    thread = threading.Thread(target=lambda: done.append(act()))
    thread.start()
    try:
        yield done
    finally:
        thread.join(30)


def is_refused(connection: psycopg.Connection, statement: str) -> bool:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    return caught.value.sqlstate == STATE


def test_who_writes_already_is_waited_for_and_its_commit_stands_before_the_marker(bed: Bed) -> None:
    with session(bed.application_url, "insert into author values (3, 'Cid')") as writer, beside(bed.up) as done:
        until(lambda: bed.superuser(WAITING) == [(1,)], "it waits")
        assert not done
        writer.execute("insert into book values (77, 3, 'Late')")  # another of the tables, which it has not locked yet
        row = writer.execute("select (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
        writer.commit()
        until(lambda: done, "it is raised")
        assert is_refused(writer, "delete from book")
    assert row is not None
    assert done[0].marker is not None
    assert row[0] <= done[0].marker < done[0].position
    assert bed.owner("select id from book where id = 77") == [(77,)]


def test_a_writer_that_stays_is_named_past_the_budget_and_nothing_is_raised(bed: Bed) -> None:
    bed.superuser(f'grant pg_read_all_stats to "{sync_of(bed)}"')
    with session(bed.application_url, "insert into event values (3, 4, 'x')") as writer:
        with pytest.raises(TimedOut) as caught:
            bed.up(budget_s=0.2)
        assert f"waited for process {writer.info.backend_pid} (" in str(caught.value)
        assert "night job) on public.event" in str(caught.value)
        assert f"select pg_terminate_backend({writer.info.backend_pid})" in str(caught.value)
        bed.application("insert into author values (4, 'Dan')")
        writer.execute("insert into author values (3, 'Cid')")
        writer.commit()
    assert bed.up().ms > 0


def test_the_budget_is_one_for_all_tables(bed: Bed) -> None:
    """The first of two writers goes when most of it is spent: for the second what is left is all there is."""
    failed: list[TimedOut] = []

    def act() -> None:
        with pytest.raises(TimedOut) as caught:
            bed.up(budget_s=1.5)
        failed.append(caught.value)

    with (
        session(bed.application_url, "insert into author values (3, 'Cid')") as first,
        session(bed.application_url, "insert into event values (3, 4, 'x')"),
    ):
        thread = threading.Thread(target=act)
        began = time.monotonic()
        thread.start()
        until(lambda: time.monotonic() - began > 1, "most of it is spent")
        first.commit()
        thread.join(1.3)  # a budget for each would have it wait until 2.5 s
        assert failed


def sync_of(bed: Bed) -> str:
    with bed.sync() as connection:
        return connection.info.user


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_transaction_with_a_snapshot_of_before_is_refused(bed: Bed, level: str) -> None:
    seen = "select count(*) from book"
    with session(bed.application_url, f"set transaction isolation level {level}", seen) as reader:
        moved = bed.up(budget_s=0.5)
        assert moved.locked_ms < 500
        assert is_refused(reader, "insert into book values (77, 1, 'Late')")


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_one_that_has_locked_rows_for_its_update_is_refused(bed: Bed, level: str) -> None:
    locking = "select * from book where id = 1 for update"
    with session(bed.application_url, f"set transaction isolation level {level}", locking) as reader:
        bed.up(budget_s=0.5)
        assert is_refused(reader, "update book set title = 'x' where id = 1")


def test_one_whose_snapshot_is_older_is_told_of_the_epoch_that_is(bed: Bed) -> None:
    with session(
        bed.application_url, "set transaction isolation level repeatable read", "select from author"
    ) as reader:
        bed.up()
        with pytest.raises(psycopg.Error, match="its owner is the service, epoch 7"):
            reader.execute("delete from book")


def test_readers_are_never_waited_for_and_never_wait(bed: Bed) -> None:
    reading = ["select * from book", "select * from event for share", "select * from author for key share"]
    with (
        session(bed.application_url, *reading),
        session(
            bed.application_url, "insert into other values (1, 'x')", "insert into author values (3, 'Cid')"
        ) as late,
        session(bed.application_url, "set lock_timeout = '300ms'") as another,
        beside(lambda: bed.up(budget_s=20)),
    ):
        until(lambda: bed.superuser(WAITING) == [(1,)], "it waits for the writer, and not for the reader")
        for each in reading:  # behind the fence that waits, too
            another.execute(each.encode())
        late.commit()
        until(lambda: bed.superuser("select raised from strangler_sync.claim") == [(True,)], "it is raised")
        for each in reading:
            another.execute(each.encode())


def test_reading_goes_on_while_it_is_raised_and_lowered(bed: Bed) -> None:
    over, failed = threading.Event(), list[BaseException]()

    def read() -> None:
        try:
            with psycopg.connect(bed.application_url, autocommit=True) as connection:
                connection.execute("set lock_timeout = '1s'")
                while not over.is_set():
                    connection.execute("select count(*) from book join author on author.id = author_id")
                    connection.execute("select id from book where id = 1 for update")
        except BaseException as exc:
            failed.append(exc)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(10):
            bed.up()
            bed.down()
    finally:
        over.set()
        thread.join(20)
    assert not failed


def test_what_is_committed_is_there_and_what_is_refused_is_not(bed: Bed) -> None:
    """Writers go on throughout; the fence goes up and down. While it is up no row comes, however they write."""
    over = threading.Event()
    acknowledged, said = list[int](), set[str | None]()
    numbers = iter(range(1000, 1_000_000))

    def write(level: str) -> None:
        with psycopg.connect(bed.application_url) as connection:
            while not over.is_set():
                number = next(numbers)
                try:
                    connection.execute(f"set transaction isolation level {level}".encode())
                    connection.execute("select count(*) from publisher")
                    connection.execute("insert into author values (%s, 'x')", [number])
                    connection.execute("insert into event values (%s, %s, 'x')", [number // 20 % 1000, number % 20])
                    connection.commit()
                except psycopg.Error as exc:
                    said.add(exc.sqlstate)
                    connection.rollback()
                else:
                    acknowledged.append(number)

    threads = [threading.Thread(target=write, args=[level]) for level in ("read committed", "repeatable read")]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            before = len(acknowledged)
            until(lambda before=before: len(acknowledged) > before, "they write")  # type: ignore[misc]
            bed.up()
            rows = bed.rows
            assert bed.rows == rows
            assert bed.drift() == []
            assert bed.rows == rows
            bed.down()
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
    assert STATE in said
    assert said <= {STATE, "40P01"}
    assert bed.owner("select id from author where id >= 1000 order by id") == [(each,) for each in sorted(acknowledged)]
