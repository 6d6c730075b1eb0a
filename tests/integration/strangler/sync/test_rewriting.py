"""Rows of a stream's target written anew while the stream goes on."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from strangler.sync import rewriting
from strangler.sync.errors import SyncError, TimedOut
from strangler.sync.rewriting import Rewritten, Wanted, rewrite
from tests.fixtures.spoiling import spoil
from tests.fixtures.streams import Pair, Paired, table
from tests.fixtures.waiting import until
from tests.integration.strangler.sync.test_filling import Statement, change_books, writing
from tests.integration.strangler.sync.test_stream import AUTHOR, BOOK, BOOKS, SOURCE, TARGET, VOLUMES

AUTHORS = "select id, name from author order by id"


@pytest.fixture
def shop(pair: Paired) -> Pair:
    found = pair(SOURCE, TARGET, AUTHOR, BOOK)
    found.keep(found.forward)
    found.source(
        "insert into author select n, 'Author ' || n from generate_series(1, 20) n",
        "insert into book select n, 1 + n % 20, 'Book ' || n, n, repeat('b', n % 7 * 600)"
        " from generate_series(1, 400) n",
    )
    found.equal(VOLUMES, BOOKS)
    return found


def rewritten(pair: Pair, wanted: Wanted) -> Rewritten:
    return sum(rewrite(pair.forward, wanted), Rewritten())


def test_rows_that_differ_are_made_equal_whatever_is_wrong_with_them(shop: Pair) -> None:
    spoil(
        shop,
        "insert into author values (99, 'Nobody')",
        "insert into volume values (999, 99, 'Nothing', 1, 'x', true)",
        "update volume set author_id = 99, body = 'wrong' where id = 7",
        "delete from volume where id in (8, 9) or author_id = 3",
        "delete from author where id = 3",
    )
    books = [(str(n),) for n in (7, 8, 9, 10, 999, *range(2, 400, 20))]
    assert rewritten(shop, {"volume": books, "author": [("3",), ("99",)]}) == Rewritten(
        inserted=23, updated=2, deleted=2
    )
    assert shop.target(VOLUMES) == shop.source(BOOKS)
    assert shop.target(AUTHORS) == shop.source(AUTHORS)
    origins = "select roname from pg_replication_origin where roname like '%forward\\_copy0'"
    assert shop.target(origins) == []
    shop.source("update book set title = title || '!'")
    shop.equal(VOLUMES, BOOKS)
    assert shop.told == []


def test_rows_that_have_each_others_unique_values_are_made_equal(pair: Paired) -> None:
    person = "create table person (id bigint primary key, seat bigint unique)"
    child = "create table toy (id bigint primary key, person_id bigint references person on delete cascade)"
    seats = table("person", "person", {"id": "id"}, {"seat": "seat"}, reverse={"seat": "seat"})
    shop = pair(person, f"{person}; {child}", seats)
    shop.keep(shop.forward)
    shop.source("insert into person select n, n from generate_series(1, 5) n")
    everybody = "select * from person order by id"
    shop.equal(everybody, everybody)
    shop.target("insert into toy select n, n from generate_series(1, 5) n")
    spoil(
        shop,
        "update person set seat = null where id < 3",
        "update person set seat = 1 where id = 2",
        "update person set seat = 2 where id = 1",
        "update person set seat = 30 where id = 3",
        "insert into person values (9, 3)",
    )
    rows = [(str(n),) for n in (1, 2, 3, 9)]
    assert rewritten(shop, {"person": rows}) == Rewritten(updated=3, deleted=1)
    assert shop.target(everybody) == shop.source(everybody)
    assert shop.target("select count(*) from toy") == [(5,)]


def change_in_place(draw: random.Random, mine: int) -> list[Statement]:
    """Return statements that leave keys as they are: with another key, a spoiled row is none of those named."""
    while True:
        [(statement, values)] = change_books(draw, mine)
        if "set id" not in statement:
            return [(statement, values)]


@pytest.mark.parametrize("seed", range(2))
def test_nothing_that_the_stream_brings_meanwhile_is_set_back(shop: Pair, seed: int) -> None:
    draw = random.Random(seed)
    with writing(shop, seed, change_in_place):
        for _ in range(3):
            ids = sorted({draw.randint(1, 440) for _ in range(12)})
            listed = ", ".join(map(str, ids))
            spoil(
                shop,
                f"update volume set title = 'wrong', body = 'wrong' where id in ({listed})",
                f"insert into volume select 1000 + n, 1, 'wrong', 1, '', true from unnest(array[{listed}]) n",
            )
            keys = [(str(n),) for each in ids for n in (each, 1000 + each)]
            rewritten(shop, {"volume": keys})
    shop.equal(VOLUMES, BOOKS)
    assert shop.told == []


def test_a_row_that_is_changed_by_somebody_who_has_not_ended_is_waited_for(shop: Pair) -> None:
    spoil(shop, "delete from volume where id = 8")
    with psycopg.connect(shop.forward.source_url) as writer, ThreadPoolExecutor(1) as pool:
        writer.execute("update book set title = 'later' where id = 8")
        done = pool.submit(rewritten, shop, {"volume": [("8",)]})
        with psycopg.connect(shop.forward.source_url, autocommit=True) as watcher:
            asked = "select from pg_stat_activity where query like '%pg_snapshot_xip%' and pid <> pg_backend_pid()"
            until(lambda: watcher.execute(asked).fetchone() is not None, "it waits")
        assert not done.done()
        writer.rollback()
        assert done.result(20) == Rewritten(inserted=1)
    assert shop.target(VOLUMES) == shop.source(BOOKS)


def test_whoever_writes_for_too_long_is_named(shop: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "PATIENCE_S", 0.2)
    with psycopg.connect(shop.forward.source_url, application_name="night job") as writer:
        writer.execute("update book set title = 'later' where id = 8")
        with pytest.raises(TimedOut, match=rf"process {writer.info.backend_pid} \(.*, night job\)"):
            rewritten(shop, {"volume": [("8",)]})


def test_two_do_not_rewrite_at_once(shop: Pair) -> None:
    with psycopg.connect(shop.forward.target_url) as other:
        other.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [f"{shop.forward.name}_copy0"])
        with pytest.raises(SyncError, match="are rewritten by somebody else"):
            rewritten(shop, {"volume": [("8",)]})


def test_a_key_that_the_source_cannot_have_is_told_without_its_value(pair: Paired) -> None:
    shop = pair(
        "create table word (id bigint primary key)",
        "create table term (id text primary key)",
        table("word", "term", {"id": "id"}, {}),
    )
    shop.keep()
    spoil(shop, "insert into term values ('a secret')")
    with pytest.raises(SyncError, match='word cannot have: invalid input syntax for type bigint: "…"; delete that'):
        rewritten(shop, {"term": [("a secret",)]})


def test_what_a_trigger_says_of_a_row_is_not_told(shop: Pair) -> None:
    spoil(shop, "delete from volume where id = 8")
    shop.target(
        "create function refuse() returns trigger language plpgsql"
        " as $$ begin raise exception 'no % here', new.title; end $$",
        "create trigger refuse before insert on volume for each row execute function refuse()",
    )
    with pytest.raises(SyncError) as caught:
        rewritten(shop, {"volume": [("8",)]})
    assert str(caught.value) == (
        "the target refuses a row: refuse() raises an error of its own (SQLSTATE P0001); nothing of it was written"
    )


def test_a_row_that_the_target_refuses_leaves_all_as_it_was(shop: Pair) -> None:
    spoil(shop, "delete from volume where id = 8", "alter table volume add check (id <> 8) not valid")
    before = shop.target(VOLUMES)
    with pytest.raises(SyncError) as caught:
        rewritten(shop, {"volume": [("7",), ("8",)]})
    # Nothing of the row that PostgreSQL tells: it may be anybody's letter.
    assert str(caught.value) == (
        'the target refuses a row: new row for relation "volume" violates check constraint "volume_id_check"; nothing'
        " of it was written"
    )
    assert shop.target(VOLUMES) == before
