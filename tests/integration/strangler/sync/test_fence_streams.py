"""Fences and streams: made when these begin, in what a release before has begun, too, and passed by what they write."""

from __future__ import annotations

import psycopg
import pytest

from strangler.local import Postgres
from strangler.sync import fence, fencing, install, transfer
from strangler.sync.direction import Direction
from strangler.sync.errors import TimedOut
from strangler.sync.fencing import STATE
from tests.fixtures.books import AUTHOR, AUTHORS, Shop
from tests.fixtures.streams import Pair, Paired, table
from tests.fixtures.waiting import until

PARTED = """
create table event (id bigint primary key, note text) partition by range (id);
create table event_1 partition of event for values from (0) to (1000);
create table event_2 partition of event for values from (1000) to (9000);
"""
EVENT = table("event", "event", {"id": "id"}, {"note": "note"}, reverse={"note": "note"})
EVENTS = "select * from event order by id"
TRIGGERS = """
select tgrelid::regclass::text, tgname::text, tgenabled::text from pg_trigger
where tgname ~ '^strangler_fence' and tgparentid = 0 order by 1, 2
"""


def move(direction: Direction, epoch: int, *, up: bool) -> None:
    """Raise or lower the fence in a direction's target."""
    around = fencing.fence_of(direction)
    with transfer.open_database(direction.target_url, direction.target) as target:
        fence.claim(target, around.capability, epoch)
        if up:
            fence.raise_fence(target, around, epoch=epoch, owner=around.stack.other, budget_s=5)
        else:
            fence.lower_fence(target, around, epoch=epoch, budget_s=5)


def test_both_sides_have_one_that_is_not_raised(pair: Paired) -> None:
    found = pair(PARTED, PARTED, EVENT)
    tables = [("event", "strangler_fence_rows")]
    tables += [(each, "strangler_fence") for each in ("event", "event_1", "event_2")]
    tables += [(each, "strangler_fence_truncate") for each in ("event", "event_1", "event_2")]
    wanted = [(*each, "D") for each in sorted(tables)]
    assert found.source(TRIGGERS) == found.target(TRIGGERS) == wanted
    with psycopg.connect(found.forward.source_url) as other:
        other.execute("insert into event values (1, 'x')")


def test_what_a_stream_writes_passes_and_nothing_else(pair: Paired) -> None:
    found = pair(PARTED, PARTED, EVENT)
    move(found.forward, 3, up=True)
    found.start()
    found.source(
        "insert into event select n, 'x' from generate_series(1, 5000) n", "delete from event where id % 3 = 0"
    )
    found.source("update event set note = 'y' where id < 1500", "update event set id = id + 5000 where id < 100")
    found.equal(EVENTS, EVENTS)
    found.source("truncate event")
    found.equal(EVENTS, EVENTS)
    with psycopg.connect(found.forward.target_url) as other, pytest.raises(psycopg.Error) as caught:
        other.execute("insert into event values (1, 'x')")
    assert caught.value.sqlstate == STATE


def test_rows_are_applied_only_where_nobody_else_may_write(pair: Paired) -> None:
    found = pair(AUTHORS, AUTHORS, AUTHOR)
    move(found.forward, 3, up=True)
    found.keep()
    found.source("insert into author values (1, 'Ann')")
    found.equal("select id from author", "select id from author")
    move(found.forward, 4, up=False)
    found.source("insert into author values (2, 'Bob')")
    until(lambda: found.told, "it says why it does not go on")
    why = "public.author was written in the source, which does not own it; nothing of that is applied"
    assert why in found.told[0]
    assert why in str(found.target("select stopped from strangler_sync.stream"))
    assert found.target("select id from author") == [(1,)]
    move(found.forward, 5, up=True)
    found.equal("select id from author order by id", "select id from author order by id")


def test_a_stream_of_a_release_before_gets_one_with_its_next_session(pair: Paired) -> None:
    found = pair(AUTHORS, AUTHORS, AUTHOR)
    as_before(found)
    found.source("insert into author values (1, 'Ann')")
    for each in (found.forward, found.back):
        found.start(each)
    found.equal("select id from author", "select id from author")
    wanted = [("author", "strangler_fence", "D"), ("author", "strangler_fence_truncate", "D")]
    until(lambda: found.source(TRIGGERS) == found.target(TRIGGERS) == wanted, "both sides have one")
    move(found.forward, 3, up=True)
    found.source("insert into author values (2, 'Bob')")
    found.equal("select id from author order by id", "select id from author order by id")


def as_before(pair: Pair) -> None:
    """Have neither side know of a fence, as a release before did not."""
    dropping = f"drop function strangler_sync.fence_{pair.forward.capability} cascade"
    for end in (pair.source, pair.target):
        end(dropping, "drop table strangler_sync.claim")


def test_a_stream_of_a_release_before_goes_on_where_none_can_be_made(
    pair: Paired, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    found = pair(AUTHORS, AUTHORS, AUTHOR)
    as_before(found)
    [(database,)] = found.target("select current_database()::text")
    with psycopg.connect(postgres.url(database), autocommit=True) as connection:
        connection.execute("alter table author owner to current_user")
        [(role,)] = connection.execute("select datdba::regrole::text from pg_database where datname = %s", [database])
        connection.execute(f"grant all on author to {role}".encode())
    found.source("insert into author values (1, 'Ann')")
    found.start()
    found.equal("select id from author", "select id from author")
    assert "has no whole fence in the database of the service yet: public.author belongs to" in caplog.text
    found.stop()
    with psycopg.connect(postgres.url(database), autocommit=True) as connection:
        connection.execute(f"alter table author owner to {role}".encode())


def test_a_table_in_use_is_waited_for_in_short_steps_and_who_uses_it_is_named(
    pair: Paired, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fencing, "_PATIENCE_S", 0.5)
    found = pair(AUTHORS, AUTHORS, AUTHOR, begin=False)
    with psycopg.connect(found.forward.target_url, application_name="night job") as writer:
        writer.execute("insert into author values (1, 'Ann')")
        with pytest.raises(TimedOut, match=f"public.author waited 0.5 s for process {writer.info.backend_pid} "):
            install.install(found.forward, copying=False)
        writer.rollback()
    found.begin()
    with psycopg.connect(found.forward.target_url, application_name="night job") as reader:
        reader.execute("select from author")
        with pytest.raises(TimedOut, match=f"public.author waited 0.5 s for process {reader.info.backend_pid} "):
            install.remove(found.back)
        reader.rollback()


def test_the_service_s_side_is_fenced_from_the_start(shop: Shop) -> None:
    shop("start")
    with psycopg.connect(shop.pair.forward.target_url) as other, pytest.raises(psycopg.Error) as caught:
        other.execute("insert into author values (99, 'Nobody')")
    assert "is fenced here: its owner is the monolith, epoch" in str(caught.value)
    with psycopg.connect(shop.pair.forward.source_url) as other:
        other.execute("insert into author values (99, 'Somebody')")
    with shop.running():
        code, _, err = shop("backfill", "--inline")
    assert (code, shop.stage) == (0, "shadow"), err
    assert shop("remove")[0] == 0
    with psycopg.connect(shop.pair.forward.target_url) as other:
        other.execute("insert into author values (100, 'Somebody')")
