"""One table of the source that is made into several of the target, each with rows and columns of its own."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from strangler.project import TableMapping
from strangler.sync import ending, filling
from strangler.sync.check import check
from strangler.sync.direction import inverted
from tests.fixtures.streams import Pair, Paired, stands_at, table
from tests.fixtures.waiting import until
from tests.integration.strangler.sync.test_filling import Statement, chunks, fill, finish, writing

SOURCE = """
create table customer (id bigint primary key, name text not null, email text, letter text);
alter table customer alter column letter set storage external;
alter table customer replica identity full;
"""
TARGET = """
create table person (id bigint primary key, name text not null, letter text);
create table contact (customer_id bigint primary key, email text not null, domain text);
"""
PERSON = table("customer", "person", {"id": "id"}, {"name": "name", "letter": "letter"},
               reverse={"name": "name", "letter": "letter"})  # fmt: skip
CONTACT = table("customer", "contact", {"customer_id": "id"},
                {"email": "email", "domain": "split_part(email, '@', 2)"}, where="email is not null")  # fmt: skip
EVERY_CONTACT = replace(CONTACT, where=None, forward={"email": "coalesce(email, '')"})
PERSONS = ("select id, name, letter from person order by id", "select id, name, letter from customer order by id")
CONTACTS = (
    "select customer_id, email, domain from contact order by customer_id",
    "select id, email, split_part(email, '@', 2) from customer where email is not null order by id",
)
EVERY = (
    "select customer_id, email from contact order by customer_id",
    "select id, coalesce(email, '') from customer order by id",
)


@pytest.fixture
def shop(pair: Paired) -> Pair:
    found = pair(SOURCE, TARGET, PERSON, CONTACT)
    found.start()
    return found


def equal(found: Pair) -> None:
    found.equal(*PERSONS)
    found.equal(*CONTACTS)


def test_each_target_has_what_is_made_for_it(shop: Pair) -> None:
    shop.source(
        "insert into customer select n, 'n' || n, case when n % 2 = 0 then n || '@a.example' end, repeat('x', 9000)"
        " from generate_series(1, 40) n"
    )
    equal(shop)
    shop.source(
        "update customer set email = null where id = 2", "update customer set email = '1@b.example' where id = 1"
    )
    shop.source("update customer set name = 'other' where id in (3, 4)", "delete from customer where id in (5, 6)")
    shop.source("update customer set id = id + 100 where id in (7, 8)")
    equal(shop)
    assert len(shop.target("select 1 from contact")) == 20 - 1 + 1 - 1
    shop.source("truncate customer")
    equal(shop)


def change_customers(draw: random.Random, mine: int) -> list[Statement]:
    """Return a statement on the customers whose numbers are odd, or even: two writers never wait for each other."""
    customer, other = (2 * draw.randint(1, 60) + mine for _ in range(2))
    match draw.randint(0, 5):
        case 0:
            return [("delete from customer where id = %s", [customer])]
        case 1:
            return [("update customer set email = null where id = %s", [customer])]
        case 2:
            return [("update customer set name = 'n' || %s where id = %s", [draw.randint(0, 99), customer])]
        case 3:
            moved = "update customer set id = %s where id = %s and not exists (select from customer where id = %s)"
            return [(moved, [other, customer, other])]
        case 4:
            return [("update customer set email = %s || '@b.example' where id = %s", [draw.randint(0, 99), customer])]
        case _:
            text = "insert into customer values (%s, 'new', 'new@c.example', repeat('y', %s)) on conflict do nothing"
            return [(text, [customer, draw.randint(0, 9000)])]


@pytest.mark.parametrize(("seed", "identity"), [(1, "default"), (2, "full"), (3, "default")])
def test_both_are_copied_while_their_source_is_written(pair: Paired, seed: int, identity: str) -> None:
    found = pair(SOURCE, TARGET, PERSON, CONTACT if identity == "full" else EVERY_CONTACT, begin=False)
    found.source(f"alter table customer replica identity {identity}")
    found.source(
        "insert into customer select n, 'n', n || '@a.example', repeat('x', n * 99) from generate_series(1, 100) n"
    )
    found.begin(copying=True)
    planned = chunks(found, 10)
    random.Random(seed).shuffle(planned)
    with writing(found, seed, change_customers):
        found.keep(found.forward, found.back)
        with ThreadPoolExecutor(3) as pool:
            for each in [pool.submit(fill, found, chunk) for chunk in planned]:
                each.result(60)
        finish(found)
    found.equal(*PERSONS)
    found.equal(*(CONTACTS if identity == "full" else EVERY))
    found.stop()
    assert found.source("select changes from strangler_sync.stream") == [(0,)]


@pytest.mark.parametrize("others", [(), (CONTACT,)])
def test_a_row_gives_way_to_a_later_one_where_an_index_tells_more_than_its_columns(
    pair: Paired, others: tuple[TableMapping, ...]
) -> None:
    """The change that brings it is one, whatever the number of the targets that it goes to."""
    found = pair(SOURCE, f"{TARGET}; create unique index on person (lower(name))", PERSON, *others, begin=False)
    found.begin(copying=True)
    found.target("insert into person values (1, 'b')")  # as a chunk brings it, from a later time
    found.source("insert into customer values (2, 'B', '2@a.example')")
    passed = filling.position(found.forward)
    found.keep()
    until(lambda: stands_at(found) >= passed, "the stream has passed it")
    found.source("delete from customer", "insert into customer values (1, 'b', '1@a.example')")
    ending.complete(found.forward)
    found.equal(*PERSONS)
    assert found.target("select customer_id from contact") == [(1,) for _ in others]


def test_only_the_one_that_gives_columns_back_goes_back(pair: Paired) -> None:
    found = pair(SOURCE, TARGET, CONTACT, PERSON)
    assert [(each.source, each.target) for each in found.back.tables] == [("person", "customer")]
    assert [(each.source, each.target) for each in inverted(found.back).tables] == [("customer", "person")]
    stops = [each.found for each in check(found.forward) if each.level == "stop"]
    assert stops == []
