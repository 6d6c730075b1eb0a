"""Transactions that keep a slot back, on a real server: which do, and what a role without rights sees of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from strangler.local import Postgres
from strangler.sync import holding, status
from strangler.sync.holding import Held
from strangler.sync.retention import Retention
from tests.fixtures.postgres import HASTY, making, running
from tests.fixtures.streams import Pair, Paired, pairing, project_of, table
from tests.fixtures.waiting import until

TABLE = "create table author (id bigint primary key, name text not null)"
AUTHOR = table("author", "author", {"id": "id"}, {"name": "name"}, reverse={"name": "name"})
ALL = "select * from author order by id"


@pytest.fixture
def shop(pair: Paired) -> Pair:
    return pair(TABLE, TABLE, AUTHOR)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any age is an old one."""
    monkeypatch.setattr(holding, "OLD_S", 0.0)


def found(pair: Pair) -> Held:
    found = status.of(pair.forward).held
    assert found is not None
    return found


def pids(pair: Pair) -> list[int | None]:
    return [each.pid for each in found(pair).by]


@contextmanager
def session(url: str, *statements: str, name: str = "night job") -> Iterator[psycopg.Connection]:
    """A session whose transaction is open, after ``statements``."""
    with psycopg.connect(url, application_name=name) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        yield connection
        connection.rollback()


def written_down(postgres: Postgres) -> None:
    """Have the server write down which transactions are open, as it does by itself every 15 s."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("checkpoint")


def steps(pair: Pair, postgres: Postgres) -> bool:
    """Return whether the slot's restart position moves, now that the server writes down again what is open."""
    query = f"select restart_lsn::text from pg_replication_slots where slot_name = '{pair.forward.name}'"
    before = pair.source(query)

    def moved() -> bool:
        pair.source("insert into author select coalesce(max(id), 0) + 1, 'Ann' from author")
        written_down(postgres)
        return pair.source(query) != before

    try:
        until(moved, "it moves", 3)
    except AssertionError:
        return False
    return True


def test_one_that_writes_keeps_the_slot_back_and_one_that_reads_does_not(shop: Pair, postgres: Postgres) -> None:
    shop.start()
    assert steps(shop, postgres)
    reads = "set transaction isolation level repeatable read"
    with session(shop.forward.source_url, reads, "select * from author"):
        assert steps(shop, postgres)
    with session(postgres.url(), "create table in_another_database (id int)"):
        # What was written down before it began may be behind the position still.
        until(lambda: not steps(shop, postgres), "it stands", 60)
    assert steps(shop, postgres)
    shop.stop()


@pytest.mark.usefixtures("at_once")
def test_who_writes_is_named_with_what_it_does(shop: Pair) -> None:
    query = "insert into author values (7, 'A\x1b[31m\n  nn" + "n" * 200 + "')"
    with session(shop.forward.source_url, query) as other, session(shop.forward.source_url, "select 1") as reader:
        [holder] = [each for each in found(shop).by if each.pid == other.info.backend_pid]
        assert reader.info.backend_pid not in pids(shop)
        user = conninfo_to_dict(shop.forward.source_url)["user"]
        assert (holder.user, holder.application, holder.state) == (user, "night job", "idle in transaction")
        assert holder.open_s is not None
        assert 0 < holder.open_s < 60
        assert holder.query == r"insert into author values (7, 'A\x1b[31m nn" + "n" * 39 + "…"
        assert found(shop).grant is None
        assert f"process {other.info.backend_pid} ({user}, night job) in " in str(holder)
    assert found(shop) == Held()


@pytest.mark.usefixtures("at_once")
def test_one_that_the_role_may_not_see_into_is_named_once_a_heartbeat_is_younger(
    shop: Pair, postgres: Postgres
) -> None:
    shop.start()
    with session(postgres.url(), "create table in_another_database (id int)") as other:
        until(lambda: pids(shop) == [other.info.backend_pid], "it is named", 20)
        [holder] = found(shop).by
        assert (holder.user, holder.application, holder.database) == ("postgres", "night job", "postgres")
        assert (holder.open_s, holder.state, holder.query) == (None, None, None)
        assert found(shop).oldest_s is None
        role = str(conninfo_to_dict(shop.forward.source_url)["user"])
        assert found(shop).grant == f'grant pg_read_all_stats to "{role}"'
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute((found(shop).grant or "").encode())
        assert [each.query for each in found(shop).by] == ["create table in_another_database (id int)"]
        assert found(shop).grant is None
    shop.stop()


@pytest.mark.usefixtures("at_once")
def test_a_prepared_transaction_is_named_with_what_ends_it() -> None:
    with running(Postgres, {**HASTY, "max_prepared_transactions": "1"}) as server, making(server) as make:
        ends = (server, make)
        with pairing(ends, ends) as paired:
            shop = paired(TABLE, TABLE, AUTHOR)
            with psycopg.connect(shop.forward.source_url, autocommit=True) as connection:
                connection.execute("begin; insert into author values (1, 'Ann'); prepare transaction 'it''s'")
                [holder] = found(shop).by
                assert (holder.pid, holder.gid, holder.state) == (None, "it's", "prepared")
                assert str(holder).startswith("prepared transaction it's (")
                connection.execute(holder.cure.partition(", or ")[2].partition(", in ")[0].encode())
                assert found(shop) == Held()


@pytest.mark.usefixtures("at_once")
def test_whoever_runs_the_streams_says_each_transaction_once(shop: Pair, database_url: str, tmp_path: Path) -> None:
    told: list[str] = []
    both = (shop.forward, shop.back)  # one server here: a slot of either is kept back
    with closing(Retention(project_of(shop, tmp_path, database_url), told.append)) as watch:
        with session(shop.forward.source_url, "insert into author values (1, 'Ann')") as other:
            watch.look(both)
            watch.look(both)
            [said] = told
            pid = other.info.backend_pid
        watch.look(both)
        with session(shop.forward.source_url, "insert into author values (1, 'Ann')"):
            watch.look(both)
        assert said.startswith(f"source: slot {shop.forward.name} is kept back, and WAL with it, by process {pid} (")
        assert said.endswith(
            f", idle in transaction; to end it: select pg_terminate_backend({pid}); what it runs: strangler sync status"
        )
    assert len(told) == 2


def test_what_is_young_is_nobody_s_concern(shop: Pair) -> None:
    with session(shop.forward.source_url, "insert into author values (1, 'Ann')"):
        assert found(shop) == Held()
