"""Tables made what a snapshot of their source has, whatever is in them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest

from strangler.capability import Stack
from strangler.project import OnDelete, Referred
from strangler.sync.check import policies_of
from strangler.sync.errors import RightMissing, SyncError
from strangler.sync.levelling import Levelled, Levelling
from strangler.sync.mapping import condition
from strangler.sync.rewriting import Rewritten
from tests.fixtures.streams import Pair, Paired, may_relax, table

SHOP = """
create table author (id bigint primary key, name text);
create table book (id bigint primary key, author_id bigint not null references author, title text unique, price numeric,
                   about json);
"""
# With columns of its own, which nobody gives.
HERE = """
create table author (id bigint primary key, name text, seen integer not null default 7);
create table book (id bigint primary key, author_id bigint not null references author{}, title text unique,
                   price numeric, about json, shelf text not null default 'new');
"""
AUTHOR = table("author", "author", {"id": "id"}, {"name": "name"})
BOOK = table(
    "book",
    "book",
    {"id": "id"},
    {"author_id": "author_id", "title": "title", "price": "price", "about": "about"},
)
BOOKS = "select id, author_id, title, price::text, about::text from book order by id"
AUTHORS = "select id, name from author order by id"
ROWS = (
    "insert into author select n, 'Author ' || n from generate_series(1, 10) n",
    "insert into book select n, 1 + n % 10, 'Book ' || n, n, '{}' from generate_series(1, 40) n",
)


@pytest.fixture
def shop(pair: Paired) -> Pair:
    found = pair(SHOP, HERE.format(""), AUTHOR, BOOK, begin=False)
    found.source(*ROWS)
    found.target(*ROWS, "update book set shelf = 'shelf ' || id")
    return found


def levelled(
    pair: Pair, *, chunk_rows: int | None = 7, wheres: Mapping[str, str] | None = None
) -> dict[str, Rewritten]:
    """Level the forward direction's target, and return what was written that was not nothing."""
    direction = pair.forward
    with direction.open() as (source, target), source.transaction():
        source.execute("set transaction isolation level repeatable read, read only")
        projections = direction.projections(source, target)
        policies = policies_of(direction, projections, target)
        tables = [
            Levelled(
                projection=each,
                policies=policies[each.mapping.target],
                belongs=condition((wheres or {}).get(each.mapping.target)),
            )
            for each in projections
        ]
        levelling = Levelling(direction, source, target, projections, tables, lambda: None)
        *_, last = levelling.run(chunk_rows)
        assert (last.chunks_done, last.rows_done) == (last.chunks, last.rows)
    return {name: done for name, done in levelling.done.items() if done.rows}


def equal(pair: Pair) -> None:
    for query in (AUTHORS, BOOKS):
        assert pair.target(query) == pair.source(query)


def test_rows_of_yesterday_become_those_of_today_and_no_other_is_touched(shop: Pair) -> None:
    shop.source(
        "update book set title = title || '!' where id < 4",
        "delete from book where id = 40",
        "insert into author values (11, 'Author 11')",
        "insert into book values (41, 11, 'Book 41', 41, '[]')",
    )
    versions = "select id, xmin from book where id between 4 and 39 order by id"
    before = shop.target(versions)
    assert levelled(shop) == {"author": Rewritten(inserted=1), "book": Rewritten(inserted=1, updated=3, deleted=1)}
    equal(shop)
    assert shop.target(versions) == before
    shelves = "select id, shelf from book where id in (1, 39, 41) order by id"
    assert shop.target(shelves) == [(1, "shelf 1"), (39, "shelf 39"), (41, "new")]
    assert levelled(shop) == {}


def test_empty_tables_are_filled_and_those_of_no_rows_emptied(shop: Pair) -> None:
    shop.target("truncate author, book")
    assert levelled(shop) == {"author": Rewritten(inserted=10), "book": Rewritten(inserted=40)}
    equal(shop)
    shop.source("delete from book", "delete from author")
    assert levelled(shop) == {"author": Rewritten(deleted=10), "book": Rewritten(deleted=40)}
    equal(shop)


def test_values_are_the_same_only_as_they_are_written(shop: Pair) -> None:
    shop.target("update book set price = 1.00 where id = 1", "update book set about = '{ }' where id = 2")
    assert levelled(shop) == {"book": Rewritten(updated=2)}
    equal(shop)


def test_a_row_that_went_gives_its_unique_value_to_one_that_came_without_any_right(shop: Pair, postgres: Any) -> None:
    may_relax(postgres, shop.forward.target_url, "revoke", "from")
    shop.source("delete from book where id = 1", "insert into book values (99, 2, 'Book 1', 1, '{}')")
    assert levelled(shop) == {"book": Rewritten(inserted=1, deleted=1)}
    equal(shop)


@pytest.mark.parametrize("chunk_rows", [7, None])
def test_unique_values_go_round_within_ranges_and_between_them(shop: Pair, chunk_rows: int | None) -> None:
    shop.source(
        "update book set title = title || '-' where id in (1, 2, 3, 20, 39)",
        "update book set title = 'Book ' || there"
        " from (values (1, 2), (2, 1), (3, 39), (20, 3), (39, 20)) as moved (here, there) where id = here",
    )
    assert levelled(shop, chunk_rows=chunk_rows) == {"book": Rewritten(updated=5)}
    equal(shop)
    shelves = "select id, shelf from book where id in (1, 2, 3, 20, 39) order by id"
    assert shop.target(shelves) == [(n, f"shelf {n}") for n in (1, 2, 3, 20, 39)]


def test_without_the_right_that_this_takes_it_is_asked_for(shop: Pair, postgres: Any) -> None:
    may_relax(postgres, shop.forward.target_url, "revoke", "from")
    shop.source(
        "update book set title = 'x' where id = 1",
        "update book set title = 'Book 1' where id = 2",
        "update book set title = 'Book 2' where id = 1",
        "update book set price = 0 where id = 40",
    )
    with pytest.raises(RightMissing, match="grant set on parameter session_replication_role to"):
        levelled(shop)
    assert shop.target("select price from book where id = 40") == [(0,)]  # what could be done is
    assert shop.target("select title from book where id < 3 order by id") == [("Book 1",), ("Book 2",)]


@pytest.mark.parametrize("rule", ["", " on delete cascade"])
def test_a_row_that_stays_leaves_a_parent_that_goes(pair: Paired, rule: str) -> None:
    shop = pair(SHOP, HERE.format(rule), AUTHOR, BOOK, begin=False)
    shop.source(*ROWS)
    shop.target(*ROWS, "update book set shelf = 'shelf ' || id")
    shop.source("update book set author_id = 1 where author_id = 2", "delete from author where id = 2")
    moved = shop.source("select count(*) from book where author_id = 1")[0][0] - 4
    assert levelled(shop) == {"author": Rewritten(deleted=1), "book": Rewritten(updated=moved)}
    equal(shop)
    assert shop.target("select count(*) from book where shelf = 'new'") == [(0,)]


def test_all_of_it_at_once(shop: Pair) -> None:
    """A parent goes whose row stays, while unique values go round, and one that went gives its own away."""
    shop.source(
        "update book set author_id = 1 where author_id = 2",
        "delete from author where id = 2",
        "update book set title = title || '-' where id in (5, 30)",
        "update book set title = 'Book ' || (35 - id) where id in (5, 30)",
        "delete from book where id = 40",
        "insert into book values (50, 3, 'Book 40', 1, '{}')",
    )
    levelled(shop)
    equal(shop)
    assert shop.target("select count(*) from book where shelf = 'new'") == [(1,)]
    assert levelled(shop) == {}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_both_sides_hold_they_are_equal_afterwards(pair: Paired, seed: int) -> None:
    shop, draw = pair(SHOP, HERE.format(""), AUTHOR, BOOK, begin=False), random.Random(seed)
    for side in (shop.source, shop.target):
        authors = draw.sample(range(1, 15), 9)
        titles = draw.sample(range(40), 30)
        side(
            *(f"insert into author values ({n}, 'Author {draw.randint(1, 2)}')" for n in authors),
            *(
                f"insert into book values ({n}, {draw.choice(authors)}, 'Book {title}', {draw.randint(1, 2)}, '{{}}')"
                for n, title in zip(draw.sample(range(40), 30), titles, strict=True)
            ),
        )
    levelled(shop, chunk_rows=draw.choice([1, 3, 11]))
    equal(shop)
    assert levelled(shop) == {}


def test_rows_refer_to_rows_of_their_own_table(pair: Paired) -> None:
    tree = "create table node (id bigint primary key, parent_id bigint references node)"
    node = table("node", "node", {"id": "id"}, {"parent_id": "parent_id"})
    shop = pair(tree, tree, node, begin=False)
    shop.source("insert into node select n, nullif(n - 1, 0) from generate_series(1, 30) n")
    shop.target("insert into node values (1, null), (50, 1), (2, 50)")
    levelled(shop)
    every = "select * from node order by id"
    assert shop.target(every) == shop.source(every)


def test_rows_that_the_mapping_leaves_out_stay(shop: Pair) -> None:
    shop.target("insert into book (id, author_id, title) values (70, 1, 'theirs'), (71, 1, 'Book 71')")
    assert levelled(shop, wheres={"book": "title <> 'theirs'"}) == {"book": Rewritten(deleted=1)}
    assert shop.target("select id from book where id > 40") == [(70,)]


@pytest.mark.parametrize(("on_delete", "left"), [("set null", [(1, None), (2, 2)]), ("cascade", [(2, 2)])])
def test_what_is_declared_of_rows_outside_is_done(pair: Paired, on_delete: str, left: list[Any]) -> None:
    shop = noted(pair, on_delete)
    levelled(shop)
    assert shop.target("select id, author_id from note order by id") == left


def test_what_may_not_go_is_told_and_stays(pair: Paired) -> None:
    shop = noted(pair, "restrict")
    with pytest.raises(SyncError, match='which is declared "restrict"'):
        levelled(shop)
    assert shop.target("select count(*) from author") == [(10,)]


def noted(pair: Paired, on_delete: str) -> Pair:
    outside = "create table note (id bigint primary key, author_id bigint references author)"
    by = Referred(by="note", columns=("author_id",), stack=Stack.SERVICE, on_delete=OnDelete(on_delete))
    author = table("author", "author", {"id": "id"}, {"name": "name"}, referred_by=(by,))
    shop = pair(SHOP, f"{SHOP}; {outside}", author, begin=False)
    shop.source(ROWS[0])
    shop.target(ROWS[0], "insert into note values (1, 1), (2, 2)")
    shop.source("delete from author where id = 1")
    return shop


def test_rows_outside_of_which_nothing_is_declared_keep_their_own_from_going(pair: Paired) -> None:
    outside = "create table note (id bigint primary key, author_id bigint references author)"
    shop = pair(SHOP, f"{SHOP}; {outside}", AUTHOR, begin=False)
    shop.source(ROWS[0])
    shop.target(ROWS[0], "insert into note values (1, 1)")
    shop.source("delete from author where id = 1")
    with pytest.raises(SyncError, match="the target refuses a row"):
        levelled(shop)
    assert shop.target("select count(*) from author") == [(10,)]


def test_a_row_that_the_target_does_not_take_is_named(shop: Pair) -> None:
    shop.target("alter table book add check (price < 100)")
    shop.source("update book set price = 1000 where id = 5", "update book set price = 0 where id = 1")
    with pytest.raises(SyncError, match=r"the target refuses a row: .*book_price_check"):
        levelled(shop, chunk_rows=3)
    assert shop.target("select price from book where id = 1") == [(0,)]


def test_nothing_is_written_where_it_may_not_be_any_more(shop: Pair) -> None:
    shop.source("update book set title = title || '!'", "delete from book where id = 40")
    direction = shop.forward

    def sound() -> None:
        raise SyncError("not any more")

    with direction.open() as (source, target):
        projections = direction.projections(source, target)
        tables = [Levelled(projection=each, belongs=condition(None)) for each in projections]
        with pytest.raises(SyncError, match="not any more"):
            list(Levelling(direction, source, target, projections, tables, sound).run())
    with psycopg.connect(direction.target_url) as connection:
        assert connection.execute("select count(*) from book where title like '%!'").fetchone() == (0,)
        assert connection.execute("select count(*) from book").fetchone() == (40,)
