"""Changes of one database that arrive in the other, projected."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from strangler.capability import Stack
from strangler.local import Postgres
from strangler.sync import fence, fencing, install, watermark
from strangler.sync.errors import Overtaken, StreamBroken, Unreachable
from strangler.sync.stream import follow
from strangler.sync.walsender import Walsender, quoted
from tests.fixtures.streams import Pair, Paired, table
from tests.fixtures.waiting import until

SOURCE = """
create table author (id bigint primary key, name text not null);
create table book (
  id bigint primary key, author_id bigint not null references author deferrable initially deferred,
  title varchar(200) not null, price numeric(10, 2), body text, sold boolean not null default false
);
alter table book alter column body set storage external;
"""
TARGET = """
create table author (id bigint primary key, name text not null);
create table volume (
  id bigint primary key, author_id bigint not null references author deferrable initially deferred,
  title text not null, cents bigint, body text, sold boolean not null
);
"""
AUTHOR = table("author", "author", {"id": "id"}, {"name": "name"}, reverse={"name": "name"})
BOOK = table(
    "book",
    "volume",
    {"id": "id"},
    {"author_id": "author_id", "title": "title", "cents": "(price * 100)::bigint", "body": "body", "sold": "sold"},
    reverse={
        "author_id": "author_id",
        "title": "title",
        "price": "(cents / 100.0)::numeric(10,2)",
        "body": "body",
        "sold": "sold",
    },
)
VOLUMES = "select id, author_id, title, cents, body, sold from volume order by id"
BOOKS = "select id, author_id, title, (price * 100)::bigint, body, sold from book order by id"


@pytest.fixture
def shop(pair: Paired) -> Pair:
    return pair(SOURCE, TARGET, AUTHOR, BOOK)


def test_rows_come_change_and_go(shop: Pair) -> None:
    shop.start()
    shop.source(
        "insert into author values (1, 'Ann'), (2, E'B\\\\o\\tb\\n')",
        "insert into book values (1, 1, 'One', 12.34), (2, 1, 'Two', null), (3, 2, '', 0)",
    )
    shop.equal(VOLUMES, BOOKS)
    shop.equal("select * from author order by id", "select * from author order by id")
    shop.source("update book set price = price + 1, sold = true where id <> 2", "delete from book where id = 3")
    shop.equal(VOLUMES, BOOKS)
    shop.source("update book set id = 7 where id = 1", "insert into book values (1, 2, 'Another', 5)")
    shop.equal(VOLUMES, BOOKS)
    shop.source("delete from book", "delete from author", "insert into author values (1, 'again')")
    shop.equal(VOLUMES, BOOKS)
    shop.stop()


def test_an_update_is_one_in_the_target_and_makes_a_row_that_is_not_there_any_more(shop: Pair) -> None:
    """What runs in the target before a row is inserted does not run for one that is updated."""
    shop.start()
    shop.source("insert into author values (1, 'Ann'), (2, 'Bob'), (3, 'Cid')")
    shop.equal("select * from author order by id", "select * from author order by id")
    shop.target(
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'row % is made', new.id; end $$",
        "create trigger refuse before insert on author for each row when (new.id = 1) execute function refuse()",
        "alter table author enable always trigger refuse",
    )
    shop.source("update author set name = name || '!'", "insert into author values (4, 'Dan')")
    shop.equal("select * from author order by id", "select * from author order by id")
    shop.target("drop trigger refuse on author", "delete from author where id = 2")
    shop.source("update author set name = name || '?'")
    shop.equal("select * from author order by id", "select * from author order by id")
    shop.stop()


def test_rows_that_are_made_by_the_hundred_are_there_though_some_had_been_already(shop: Pair) -> None:
    shop.start()
    everybody = "select * from author order by id"
    shop.source("insert into author select n, 'author ' || n from generate_series(1, 500) n")
    shop.equal(everybody, everybody)
    shop.source(
        "begin; delete from author where id <= 200;"
        " insert into author select n, 'again ' || n from generate_series(1, 200) n; commit"
    )
    shop.equal(everybody, everybody)
    shop.target("insert into author values (777, 'by somebody else')")
    shop.source("insert into author select n, 'author ' || n from generate_series(701, 1000) n")
    shop.equal(everybody, everybody)
    shop.source("insert into author select n, 'author ' || n from generate_series(1001, 1400) n")
    shop.equal(everybody, everybody)
    shop.stop()


def test_what_is_applied_has_its_own_time_of_commit(shop: Pair) -> None:
    """PostgreSQL would give all that a session commits under an origin the time of its first transaction."""
    shop.start()
    for number in (1, 2, 3):
        shop.source(f"insert into author values ({number}, 'Ann')")
        until(lambda number=number: shop.target(f"select 1 from author where id = {number}"), "it has come")  # type: ignore[misc]
    times = [time for (time,) in shop.target("select pg_xact_commit_timestamp(xmin) from author order by id")]
    assert times[0] < times[1] < times[2]


def test_a_long_value_that_does_not_change_stays(shop: Pair) -> None:
    shop.start()
    shop.source("insert into author values (1, 'Ann')", "insert into book values (1, 1, 'One', 1, repeat('x', 10000))")
    shop.equal(VOLUMES, BOOKS)
    shop.source("update book set title = 'Uno'")
    shop.equal(VOLUMES, BOOKS)
    shop.source("update book set id = 2", "update book set title = 'Due'", "update book set id = 3, price = 4")
    shop.equal(VOLUMES, BOOKS)
    shop.source(
        "insert into book values (9, 1, 'Nine', 1, repeat('y', 10000))", "update book set sold = true where id = 9"
    )
    shop.equal(VOLUMES, BOOKS)
    shop.stop()


def test_a_key_changes_where_the_target_numbers_its_rows_itself(pair: Paired) -> None:
    """What was not sent of the row is taken from where it stood; its number can only be given by an INSERT."""
    found = pair(
        "create table author (id bigint primary key, name text); alter table author alter name set storage external",
        "create table author (id bigint generated always as identity primary key, name text unique,"
        " twice bigint generated always as (2 * id) stored)",
        table("author", "author", {"id": "id"}, {"name": "name"}, reverse={"name": "name"}),
    )
    found.start()
    found.source("insert into author values (1, repeat('x', 2000)), (2, repeat('y', 2000))")
    found.source("update author set id = 3 where id = 1", "update author set id = 1 where id = 2")
    found.equal("select id, name, twice from author order by id", "select id, name, 2 * id from author order by id")
    found.stop()


def test_a_stream_goes_on_where_it_was(shop: Pair) -> None:
    shop.start()
    shop.source("insert into author values (1, 'Ann')")
    shop.equal("select * from author", "select * from author")
    shop.stop()
    shop.source("insert into author values (2, 'Bob')", "delete from author where id = 1")
    shop.start()
    shop.equal("select * from author", "select * from author")
    shop.stop()
    counted = "select transactions > 2, changes from strangler_sync.stream where name like '%forward'"
    assert shop.target(counted) == [(True, 3)]


def test_a_session_that_ends_tells_the_source_how_far_it_came(shop: Pair) -> None:
    shop.start()
    shop.source("insert into author values (1, 'Ann')")
    shop.equal("select * from author", "select * from author")
    shop.stop()
    [(applied,)] = shop.target("select lsn::text from strangler_sync.stream where name like '%forward'")
    slot = f"select confirmed_flush_lsn::text from pg_replication_slots where slot_name = '{shop.forward.name}'"
    until(lambda: shop.source(slot) == [(applied,)], "the slot is there")


def test_what_was_applied_does_not_come_back(shop: Pair) -> None:
    shop.start()
    shop.open_back()
    shop.start(shop.back)
    shop.source("insert into author values (1, 'Ann')")
    shop.equal("select * from author", "select * from author")
    shop.target("insert into author values (2, 'Bob')", "insert into volume values (1, 2, 'V', 250, null, true)")
    shop.source("update author set name = 'Anna' where id = 1")
    shop.equal("select * from author where id = 1", "select * from author where id = 1")
    until(lambda: shop.source(BOOKS) == [(1, 2, "V", 250, None, True)], "the way back is open")
    shop.stop()
    changes = "select changes from strangler_sync.stream"
    assert (shop.target(changes), shop.source(changes)) == ([(2,)], [(2,)])


def test_what_is_written_where_nobody_may_does_not_come_back(shop: Pair) -> None:
    shop.keep(shop.forward, shop.back)
    shop.source("insert into author values (1, 'Ann')")
    shop.equal("select * from author", "select * from author")
    shop.target("update author set name = 'Eve'")
    until(lambda: shop.source(REASON) != [(None,)], "the way back is stopped", 20)
    [(why,)] = shop.source(REASON)
    assert why.startswith("public.author was written in the target, which does not own it; nothing of that is applied")
    assert "undo nothing, and run strangler fence raise" in why  # where the service does own it
    assert shop.source("select name from author") == [("Ann",)]
    shop.stop()


def test_a_truncated_table_is_empty(shop: Pair) -> None:
    shop.start()
    shop.source("insert into author values (1, 'Ann')", "insert into book values (1, 1, 'One', 1)")
    shop.equal(VOLUMES, BOOKS)
    shop.source("truncate book, author")
    shop.equal(VOLUMES, BOOKS)
    shop.equal("select * from author", "select * from author")
    shop.stop()


def test_a_table_in_parts_comes_as_one(pair: Paired) -> None:
    """The source describes each part, too, before it sends a change of the whole."""
    made = "create table author (id bigint primary key, name text not null)"
    low, high = "partition of author for values from (0) to (9)", "partition of author for values from (9) to (99)"
    found = pair(
        f"{made} partition by range (id); create table low {low}; create table high {high}",
        made,
        table("author", "author", {"id": "id"}, {"name": "name"}, reverse={"name": "name"}),
    )
    found.start()
    everyone = "select * from author order by id"
    found.source("insert into author values (1, 'Ann'), (2, 'Bob'), (10, 'Cid')", "update high set name = 'Cyd'")
    found.equal(everyone, everyone)
    found.source("update author set id = 11 where id = 2", "delete from low where id = 1")
    found.equal(everyone, everyone)
    found.source("truncate author", "insert into author values (3, 'Dan')")
    found.equal(everyone, everyone)
    found.stop()


def test_a_large_transaction_comes_whole(shop: Pair) -> None:
    shop.start()
    shop.source(
        "insert into author values (1, 'Ann')",
        "insert into book select n, 1, 'Book ' || n, n from generate_series(1, 25000) as n",
        "update book set sold = true where id % 3 = 0",
        "delete from book where id % 5 = 0",
    )
    shop.equal(
        "select count(*), sum(cents), count(*) filter (where sold) from volume",
        "select count(*), sum(price * 100)::bigint, count(*) filter (where sold) from book",
    )
    shop.stop()


# --- what goes wrong ---

CLOSED = (
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = current_user and pid <> pg_backend_pid()"
)
RAISES = """
create function refuse() returns trigger language plpgsql as $$ begin
  raise exception 'no % here', new.name using errcode = '{}', detail = new.name, constraint = new.name;
end $$
"""
REASON = "select stopped from strangler_sync.stream"


def test_a_batch_that_breaks_a_constraint_is_applied_a_transaction_at_a_time(shop: Pair) -> None:
    shop.target("alter table author add unique (name)")
    shop.source("insert into author values (1, 'Ann'), (2, 'Bob')")
    shop.keep()
    shop.equal("select * from author order by id", "select * from author order by id")
    shop.stop()
    with psycopg.connect(shop.forward.source_url, autocommit=True) as connection:
        for turn in range(31):  # while the first are applied, the next become one batch
            one, other = (1, 2) if turn % 2 else (2, 1)
            connection.execute("update author set name = 'away' where id = %s", [one])
            connection.execute("update author set name = 'Bob' where id = %s", [other])
            connection.execute("update author set name = 'Ann' where id = %s", [one])
    shop.keep()
    shop.equal("select * from author order by id", "select * from author order by id")
    shop.stop()
    assert shop.told == []


def test_a_transaction_that_breaks_a_constraint_is_applied_a_change_at_a_time(shop: Pair) -> None:
    shop.target("alter table author add unique (name)")
    shop.source("insert into author values (1, 'Ann'), (2, 'Bob')")
    shop.keep()
    shop.equal("select * from author order by id", "select * from author order by id")
    shop.source(
        "update author set name = 'away' where id = 1",
        "update author set name = 'Ann' where id = 2",
        "update author set name = 'Bob' where id = 1",
    )
    shop.equal("select * from author order by id", "select * from author order by id")
    shop.source("insert into author values (3, 'Cid')")
    shop.equal("select * from author order by id", "select * from author order by id")
    shop.stop()


def test_a_row_that_cannot_be_applied_is_named_and_waited_for(shop: Pair) -> None:
    shop.target("alter table author add check (name <> 'Ann')")
    shop.keep()
    shop.source("insert into author values (1, 'Bob')")
    shop.source("insert into author values (2, 'Ann')", "insert into author values (3, 'Cid')")
    until(lambda: shop.target(REASON) != [(None,)], "it is stopped", 20)
    [(why,)] = shop.target(REASON)
    assert why == (
        'public.author (id = 2) cannot be applied: insert into author: new row for relation "author" violates check'
        ' constraint "author_name_check"; next: drop or widen author_name_check of author, there in the target; it is'
        " tried again every few seconds, and what came after it waits"
    )
    assert shop.target("select id from author") == [(1,)]
    shop.target("alter table author drop constraint author_name_check")
    shop.equal("select * from author order by id", "select * from author order by id")
    until(lambda: shop.target(REASON) == [(None,)], "it goes on")
    shop.stop()
    assert [told.partition(":")[0] for told in shop.told] == [shop.forward.name]


@pytest.mark.parametrize(
    ("forbid", "write", "told", "allow"),
    [
        (
            "alter table author add unique (name); insert into author values (9, 'Secret')",
            "update author set name = 'Secret' where id = 1",
            "public.author (id = 1) cannot be applied: update of author: duplicate key value violates unique constraint"
            ' "author_name_key" (columns name); next: find the other row of author',
            "delete from author where id = 9",
        ),
        (
            "create table other (id bigint references author); insert into other values (1)",
            "delete from author where id = 1",
            "public.author (id = 1) cannot be applied: delete from author: update or delete on table",
            "delete from other",
        ),
        (
            "create table shelf (id text primary key);"
            " alter table author add constraint shelved foreign key (name) references shelf not valid",
            "insert into author values (2, 'Secret')",
            'public.author (id = 2) cannot be applied: insert into author: insert or update on table "author" violates'
            ' foreign key constraint "shelved" (columns name); next: put in the row that author refers to, or'
            " drop shelved",
            "alter table author drop constraint shelved",
        ),
        (
            "create function refuse() returns trigger language plpgsql"
            " as $$ begin perform new.name::int; return new; end $$;"
            " create trigger refuse before update on author for each row execute function refuse()",
            "update author set name = 'Secret' where id = 1",
            'public.author (id = 1) cannot be applied: update of author: invalid input syntax for type integer: "…"',
            "drop trigger refuse on author",
        ),
        (
            f"{RAISES.format('P0001')}; create trigger refuse before update on author for each row"
            " execute function refuse()",
            "update author set name = 'Secret' where id = 1",
            "public.author (id = 1) cannot be applied: update of author: refuse() raises an error of its own (SQLSTATE"
            " P0001); next: see what author does with such a row, its triggers too",
            "drop trigger refuse on author",
        ),
        (
            f"{RAISES.format('23514')}; create trigger refuse before update on author for each row"
            " execute function refuse()",
            "update author set name = 'Secret' where id = 1",
            "public.author (id = 1) cannot be applied: update of author: refuse() raises an error of its own (SQLSTATE"
            " 23514); next: see what author does with such a row, its triggers too",
            "drop trigger refuse on author",
        ),
    ],
)
def test_what_refuses_a_change_is_told_without_values_of_the_row_beyond_its_key(
    shop: Pair, forbid: str, write: str, told: str, allow: str
) -> None:
    shop.keep()
    shop.source("insert into author values (1, 'Ann')")
    shop.equal("select id, name from author", "select * from author")
    shop.target(forbid)
    shop.source(write)
    until(lambda: shop.target(REASON) != [(None,)], "it is stopped", 20)
    [(why,)] = shop.target(REASON)
    assert why.startswith(told)
    assert "Secret" not in why
    shop.target(allow)
    shop.equal("select id, name from author order by id", "select * from author order by id")
    shop.stop()


def test_sessions_that_break_off_are_begun_anew(shop: Pair) -> None:
    shop.keep(shop.forward, shop.back)
    for number in range(8):
        shop.source(f"insert into author values ({number}, repeat('n', {number}))")
        (shop.source if number % 2 else shop.target)(CLOSED)
    shop.equal("select * from author order by id", "select * from author order by id")
    shop.stop()


def test_an_applier_that_wakes_late_writes_nothing(shop: Pair) -> None:
    with psycopg.connect(shop.forward.target_url, autocommit=True) as connection:
        stale = watermark.standing(connection, shop.forward.name)
        assert stale is not None
        shop.start()
        shop.source("insert into author values (1, 'Ann')")
        shop.equal("select * from author", "select * from author")
        shop.stop()
        with pytest.raises(Overtaken, match="another process has applied to it"):
            watermark.advance(
                connection,
                stale,
                stale.lsn + 1,
                transactions=1,
                changes=1,
                heartbeat=None,
                noted=None,
                direction=shop.forward,
                guarded=["author"],
                marker=None,
            )


def recreated_slot(shop: Pair) -> None:
    name = shop.forward.name
    shop.source(f"select pg_drop_replication_slot('{name}')")
    shop.source(f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")


def recreated_publication(shop: Pair) -> None:
    name = shop.forward.name
    shop.source(f"drop publication {name}", f"create publication {name} for table author, book")


def a_table_taken_out_and_put_back(shop: Pair) -> None:
    name = shop.forward.name
    shop.source(f"alter publication {name} drop table author")
    shop.source(f"alter publication {name} add table author")


def dropped_slot(shop: Pair) -> None:
    shop.source(f"select pg_drop_replication_slot('{shop.forward.name}')")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (recreated_slot, "past the .* that was applied: it was made anew"),
        (recreated_publication, "was dropped, made anew or altered"),
        (a_table_taken_out_and_put_back, "was dropped, made anew or altered"),
        (dropped_slot, "slot .* is gone"),
    ],
)
def test_what_would_lose_rows_is_refused(shop: Pair, spoil: Callable[[Pair], None], complaint: str) -> None:
    spoil(shop)
    shop.source("insert into author values (1, 'Ann')")
    with pytest.raises(StreamBroken, match=complaint):
        follow(shop.forward, lambda: True)


def test_a_column_that_goes_away_stops_and_one_that_comes_does_not(shop: Pair) -> None:
    shop.keep()
    shop.source("alter table author add column born date", "insert into author values (1, 'Ann', '1970-01-01')")
    shop.equal("select * from author", "select id, name from author")
    shop.source("alter table author rename column name to called", "insert into author values (2, 'Bob')")
    until(lambda: shop.target(REASON) != [(None,)], "it is stopped", 20)
    assert "author" in shop.target(REASON)[0][0]
    assert "name" in shop.target(REASON)[0][0]
    assert shop.target("select id from author") == [(1,)]
    shop.stop()


def test_nothing_is_left(shop: Pair, postgres: Postgres) -> None:
    shop.start()
    shop.source("insert into author values (1, 'Ann')")
    shop.equal("select * from author", "select * from author")
    shop.stop()
    for direction in (shop.forward, shop.back):
        install.remove(direction)
        install.remove(direction)
    left = (
        "select (select count(*) from pg_namespace where nspname = 'strangler_sync')"
        " + (select count(*) from pg_publication)"
        " + (select count(*) from pg_replication_slots where database = current_database())"
    )
    assert (shop.source(left), shop.target(left)) == ([(0,)], [(0,)])
    origins = f"select count(*) from pg_replication_origin where roname like '%{shop.forward.capability}\\_%'"
    assert shop.target(origins) == [(0,)]


def test_a_publication_that_is_altered_while_the_stream_runs_stops_it(shop: Pair) -> None:
    """Rows that were written meanwhile are left out without a word: only the publication's own row tells."""
    shop.keep()
    shop.source("insert into author values (1, 'Ann')")
    shop.equal("select * from author", "select * from author")
    name = shop.forward.name
    shop.source(f"alter publication {name} drop table author", f"alter publication {name} add table author")
    until(lambda: shop.target(REASON) != [(None,)], "it is stopped", 20)
    assert "was dropped, made anew or altered" in shop.target(REASON)[0][0]
    shop.stop()


def marked(pair: Pair) -> int | None:
    [(epoch,)] = pair.target("select marker from strangler_sync.claim")
    return int(epoch) if epoch is not None else None


def test_a_marker_is_seen_once_all_that_was_written_before_it_is_there(shop: Pair) -> None:
    shop.source("insert into author values (1, 'Ann')")
    with shop.forward.open() as (source, _):
        fence.claim(source, shop.forward.capability, 3)
        around = fencing.fence_of(shop.back)
        fence.raise_fence(source, around, epoch=3, owner=Stack.SERVICE, budget_s=5)
    shop.source("select pg_logical_emit_message(true, 'strangler_fence', 'another 9')")
    shop.source(f"select pg_logical_emit_message(false, 'strangler_fence', '{shop.forward.capability} 8')")
    assert marked(shop) is None
    shop.start()
    until(lambda: marked(shop) is not None, "the marker comes")
    assert (marked(shop), shop.target("select id from author")) == (3, [(1,)])
    shop.stop()


def test_rows_are_applied_only_where_nobody_else_may_write_them(shop: Pair) -> None:
    """Forward as they were begun, until the owner moves for the first time; from then on by the fence alone."""
    shop.start()
    shop.source("insert into author values (1, 'Ann')")
    shop.equal("select * from author", "select * from author")
    shop.target("update strangler_sync.claim set epoch = 5")
    shop.source("insert into author values (2, 'Bob')")
    until(lambda: shop.failed, "the stream stops")
    assert "public.author was written in the source, which does not own it" in str(shop.failed.pop())
    shop.stop()
    assert shop.target("select id from author") == [(1,)]
    shop.target("update strangler_sync.claim set raised = true")
    shop.start()
    shop.equal("select * from author", "select * from author")
    shop.stop()


def test_a_replication_session_that_is_gone_is_no_reason_to_stop_for_good(shop: Pair) -> None:
    """What is noted as a reason stays until something is applied; a server that is away is only asked again."""
    with Walsender(shop.forward.source_url, "strangler tests") as sender:
        ended = "select pg_terminate_backend(pid) from pg_stat_replication where application_name = 'strangler tests'"
        assert shop.source(ended) == [(True,)]
        with pytest.raises(Unreachable, match="the replication session broke off"):
            sender.server()


def test_what_cannot_be_told_to_a_server_that_is_gone_is_told_as_such(shop: Pair) -> None:
    """A session tells how far it came while what ended it is raised: no other error must come in its place."""
    shop.keep(shop.forward)
    shop.stop()
    free = f"select not active from pg_replication_slots where slot_name = '{shop.forward.name}'"
    until(lambda: shop.source(free) == [(True,)], "the server has missed its reader")
    with Walsender(shop.forward.source_url, "strangler tests") as sender:
        sender.start(shop.forward.name, 0, {"proto_version": "1", "publication_names": quoted(shop.forward.name)})
        ended = "select pg_terminate_backend(pid) from pg_stat_replication where application_name = 'strangler tests'"
        assert shop.source(ended) == [(True,)]
        until(lambda: _is_over(sender), "it is gone")
        with pytest.raises(Unreachable, match="the replication session broke off"):
            sender.send(b"r" + bytes(33))


def _is_over(sender: Walsender) -> bool:
    try:
        sender.wait(1)
        list(sender.arrived())
    except Unreachable:
        return True
    return False
