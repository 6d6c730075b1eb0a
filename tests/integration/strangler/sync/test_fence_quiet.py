"""What is done before a fence is raised: autovacuum kept away and let back, and whoever would be waited for, named."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from strangler.local import Postgres
from strangler.sync import quiet
from strangler.sync.blocking import Blocker, Kind
from strangler.sync.errors import TimedOut
from tests.fixtures.fenced import Bed, make_bed
from tests.fixtures.postgres import HASTY, making, running
from tests.fixtures.waiting import until
from tests.integration.strangler.sync.test_fence_waiting import session

OPTIONS = """
select c.relname::text, array(select unnest(c.reloptions) order by 1), array(select unnest(t.reloptions) order by 1)
from pg_class c left join pg_class t on t.oid = c.reltoastrelid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') order by 1
"""


def gates(bed: Bed, long_s: float = 0.0) -> list[Blocker]:
    with bed.sync() as connection:
        return quiet.lock_gates(connection, bed.fence, long_s)


# --- autovacuum ---


def test_what_tables_said_of_autovacuum_is_put_back(bed: Bed) -> None:
    bed.owner(
        "alter table author set (autovacuum_enabled = true, fillfactor = 80)",
        "alter table book set (autovacuum_enabled = false, toast.autovacuum_enabled = true)",
        "alter table event_1 set (toast.autovacuum_vacuum_threshold = 7)",
    )
    before = bed.owner(OPTIONS)
    with bed.sync() as connection:
        quiet.quiet_autovacuum(connection, bed.fence)
        bed.owner("create table event_3 partition of event for values from (20) to (30)")
        quiet.quiet_autovacuum(connection, bed.fence)
        off = {name: (table, toast) for name, table, toast in bed.owner(OPTIONS)}
        assert off["author"] == (["autovacuum_enabled=off", "fillfactor=80"], ["autovacuum_enabled=off"])
        assert off["event_3"] == (["autovacuum_enabled=off"], ["autovacuum_enabled=off"])
        assert off["event"] == off["other"] == ([], [])
        quiet.restore_autovacuum(connection, bed.fence)
    bed.owner("drop table event_3")
    assert bed.owner(OPTIONS) == before
    with bed.sync() as connection:
        quiet.restore_autovacuum(connection, bed.fence)
    assert bed.owner(OPTIONS) == before


def test_a_table_that_is_gone_meanwhile_is_left_out(bed: Bed) -> None:
    with bed.sync() as connection:
        quiet.quiet_autovacuum(connection, bed.fence)
        bed.owner("drop table book")
        quiet.restore_autovacuum(connection, bed.fence)
    assert "autovacuum_enabled" not in str(bed.owner(OPTIONS))


def test_who_is_ended_in_between_has_remembered_what_was(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bed.owner(OPTIONS)

    def ended(*_: Any) -> None:
        raise ZeroDivisionError

    with bed.sync() as connection:
        with monkeypatch.context() as patched:
            patched.setattr(quiet, "_set", ended)
            with pytest.raises(ZeroDivisionError):
                quiet.quiet_autovacuum(connection, bed.fence)
        quiet.quiet_autovacuum(connection, bed.fence)
        quiet.restore_autovacuum(connection, bed.fence)
    assert bed.owner(OPTIONS) == before


@pytest.fixture
def vacuuming(postgres: Postgres) -> Iterator[Bed]:
    """A bed in a server whose autovacuum is always at work, and never done."""
    busy = {"autovacuum_naptime": "1", "autovacuum_vacuum_cost_delay": "100", "autovacuum_vacuum_cost_limit": "1"}
    with running(type(postgres), {**HASTY, **busy}) as server, making(server) as make, make_bed(server, make) as bed:
        yield bed


def vacuumed(bed: Bed) -> list[Any]:
    return bed.superuser(
        "select pid from pg_stat_activity where backend_type = 'autovacuum worker' and datname = current_database()"
        " and query ~ 'public.book'"
    )


def test_autovacuum_has_a_short_budget_fail_is_named_and_gives_way_to_being_switched_off(vacuuming: Bed) -> None:
    bed = vacuuming
    bed.begin()
    bed.owner("insert into book select n, 1, 'Book ' || n, repeat('x', 500) from generate_series(100, 30000) n")
    bed.owner("update book set body = 'y' || body")
    until(lambda: vacuumed(bed), "autovacuum is at work", 30)
    assert Kind.AUTOVACUUM in {each.kind for each in gates(bed)}
    for _ in range(3):
        until(lambda: vacuumed(bed), "autovacuum is at work", 30)
        with pytest.raises(TimedOut, match=r"waited for autovacuum of process \d+ \(the server itself"):
            bed.up(budget_s=0.3)
    with bed.sync() as connection:
        quiet.quiet_autovacuum(connection, bed.fence)
    until(lambda: not vacuumed(bed), "it has given way")
    assert bed.up(budget_s=0.3).locked_ms < 300
    with bed.sync() as connection:
        quiet.restore_autovacuum(connection, bed.fence)


# --- gates ---


def test_a_writer_is_named_once_it_is_old_and_a_reader_never(bed: Bed) -> None:
    assert gates(bed) == []
    with (
        session(bed.application_url, "select * from author for update", "select * from book"),
        session(bed.application_url, "insert into other values (1, 'x')"),
        session(bed.application_url, "insert into event values (3, 4, 'x')", "delete from book") as writer,
    ):
        assert [each.pid for each in gates(bed, 0.0)] == [writer.info.backend_pid]  # seen twice; since when is hidden
        bed.superuser(f'grant pg_read_all_stats to "{sync_of(bed)}"')
        assert gates(bed, 3600) == []
        [found] = gates(bed)
        assert (found.kind, found.application, found.query) == (Kind.WRITER, "night job", "delete from book")
        assert {"public.event", "public.event_1", "public.book"} <= set(found.tables)
        assert f"process {writer.info.backend_pid} (" in str(found)
        assert str(found).endswith("open for 0 s: delete from book")
        assert found.cure == f"select pg_terminate_backend({writer.info.backend_pid})"


def test_one_whose_age_is_hidden_is_named_if_it_stays(bed: Bed) -> None:
    with session(bed.application_url, "delete from book") as writer:
        [found] = gates(bed, 0.05)
        assert (found.pid, found.open_s, found.query) == (writer.info.backend_pid, None, None)
        assert "since when is hidden" in str(found)


def sync_of(bed: Bed) -> str:
    with bed.sync() as connection:
        return connection.info.user


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        (Kind.VACUUM, "vacuum book"),
        (Kind.ANALYZE, "analyze book"),
        (Kind.INDEX, "create index concurrently on book (author_id)"),
    ],
)
def test_maintenance_under_way_is_named(bed: Bed, kind: Kind, statement: str) -> None:
    bed.owner("insert into book select n, 1, 'Book ' || n, repeat('x', 500) from generate_series(100, 2000) n")
    with psycopg.connect(bed.owner_url, autocommit=True) as connection, held_up(bed, connection, statement):
        until(lambda: kind in {each.kind for each in gates(bed)}, f"{kind} is named")
        [found] = [each for each in gates(bed) if each.kind is kind]
        assert found.pid == connection.info.backend_pid
        assert str(found).startswith(f"{kind} of process {found.pid} (")


@contextmanager
def held_up(bed: Bed, connection: psycopg.Connection, statement: str) -> Iterator[None]:
    """Have a statement run that does not end: it takes its time, or waits for who writes, and is cancelled."""
    connection.execute("set vacuum_cost_delay = 100")
    connection.execute("set vacuum_cost_limit = 1")

    def act() -> None:
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(statement.encode())

    thread = threading.Thread(target=act)
    with session(bed.application_url, "delete from book where id = 1"):
        thread.start()
        try:
            yield
        finally:
            connection.cancel_safe()
            thread.join(20)


def test_a_prepared_transaction_is_named_and_the_fence_waits_for_it_in_vain(preparing: Bed) -> None:
    bed = preparing
    bed.begin()
    bed.application("insert into author values (3, 'Cid')", "prepare transaction 'left behind'")
    try:
        [found] = gates(bed, 3600)
        assert (found.kind, found.gid, found.pid) == (Kind.PREPARED, "left behind", None)
        assert str(found).startswith("prepared transaction left behind (")
        assert found.cure == "commit prepared 'left behind', or rollback prepared 'left behind'"
        with pytest.raises(TimedOut, match="waited for prepared transaction left behind"):
            bed.up(budget_s=0.2)
    finally:
        with psycopg.connect(bed.superuser_url, autocommit=True) as connection:
            connection.execute("commit prepared 'left behind'")
    assert bed.up().locked_ms < 1000


@pytest.fixture
def preparing(postgres: Postgres) -> Iterator[Bed]:
    """A bed in a server that takes prepared transactions."""
    with (
        running(type(postgres), {**HASTY, "max_prepared_transactions": "2"}) as server,
        making(server) as make,
        make_bed(server, make) as bed,
    ):
        yield bed
