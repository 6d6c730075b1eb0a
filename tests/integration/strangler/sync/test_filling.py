"""Tables copied while the stream writes to them and the source goes on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.sync import ending, filling, transfer, watermark
from strangler.sync.errors import SyncError
from strangler.sync.plan import Chunk
from tests.fixtures.streams import Pair, Paired, stands_at, table
from tests.fixtures.waiting import until
from tests.integration.strangler.sync.test_stream import AUTHOR, BOOK, BOOKS, SOURCE, TARGET, VOLUMES

Statement = tuple[str, list[object]]
Change = Callable[[random.Random, int], list[Statement]]
AUTHORS = "select id, name from author order by id"


@pytest.fixture
def shop(pair: Paired) -> Pair:
    found = pair(SOURCE, TARGET, AUTHOR, BOOK, begin=False)
    found.source(
        "insert into author select n, 'Author ' || n from generate_series(1, 20) n",
        "insert into book select n, 1 + n % 20, 'Book ' || n, n, repeat('b', n % 7 * 600)"
        " from generate_series(1, 400) n",
    )
    found.begin(copying=True)
    return found


def fill(pair: Pair, *chosen: Chunk) -> int:
    with pair.forward.open() as (source, target):
        projections = {each.mapping.target: each for each in pair.forward.projections(source, target)}
        at = watermark.standing(target, pair.forward.name)
        assert at is not None
        filling.begin(target, [projections[name] for name in {each.target for each in chosen}], at.name)
        return sum(filling.fill_range(source, target, projections[each.target], each, at) for each in chosen)


def chunks(pair: Pair, size: int) -> list[Chunk]:
    with pair.forward.open() as (source, target):
        return list(transfer.plan(source, pair.forward.projections(source, target), size))


@contextmanager
def writing(pair: Pair, seed: int, change: Change) -> Iterator[None]:
    """Change the source at random until the end."""
    over = threading.Event()

    def write(draw: random.Random, mine: int) -> None:
        with psycopg.connect(pair.forward.source_url, autocommit=True) as connection:
            while not over.wait(0.001):
                with connection.transaction(force_rollback=draw.random() < 0.1):
                    for _ in range(draw.randint(1, 3)):
                        for statement in change(draw, mine):
                            connection.execute(*statement)

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(write, random.Random(seed * 2 + mine), mine) for mine in range(2)]
        try:
            yield
        finally:
            over.set()
        for each in done:
            each.result(20)


def change_books(draw: random.Random, mine: int) -> list[Statement]:
    """Return statements on the books whose numbers are odd, or even: two writers never wait for each other."""
    return [_on_book(draw, mine)]


def _on_book(draw: random.Random, mine: int) -> Statement:
    book = 2 * draw.randint(1, 220) + mine
    match draw.randint(0, 5):
        case 0:
            return "delete from book where id = %s", [book]
        case 1:
            return "update book set body = repeat('c', %s) where id = %s", [draw.randint(0, 5000), book]
        case 2:
            return "update book set title = 'Title ' || %s where id = %s", [draw.randint(0, 99), book]
        case 3:
            moved = "update book set id = %s where id = %s and not exists (select from book where id = %s)"
            other = 2 * draw.randint(1, 220) + mine
            return moved, [other, book, other]
        case _:
            text = "insert into book values (%s, 1 + %s %% 20, 'new', 1, repeat('d', %s)) on conflict do nothing"
            return text, [book, book, draw.randint(0, 4000)]


def change_seats(draw: random.Random, mine: int) -> list[Statement]:
    """Return statements by which people change seats, and no two ever sit on one."""
    one, other = (2 * draw.randint(1, 60) + mine for _ in range(2))
    take = "update person set seat = %s, said = repeat('s', %s) where id = %s"
    free = "select from person where seat = %s"
    match draw.randint(0, 3):
        case 0:
            leave = "delete from person where id = %s or seat = %s"
            return [(leave, [one, other]), ("insert into person values (%s, %s, 'new')", [one, other])]
        case 1:
            return [("update person set seat = null where id = %s", [one])]
        case 2:
            swapped = "update person set seat = null where seat = %s"
            return [(swapped, [other]), (take, [other, draw.randint(0, 3000), one])]
        case _:
            return [(f"{take} and not exists ({free})", [other, draw.randint(0, 3000), one, other])]


PERSON = "create table person (id bigint primary key, seat bigint unique, said text)"
PEOPLE = table("person", "person", {"id": "id"}, {"seat": "seat", "said": "said"}, reverse={"seat": "seat"})


@pytest.mark.parametrize("seed", [1, 2])
def test_a_value_that_is_unique_goes_from_row_to_row_meanwhile(pair: Paired, seed: int) -> None:
    house = pair(PERSON, PERSON, PEOPLE, begin=False)
    house.source(
        "alter table person alter column said set storage external",
        "insert into person select n, n, repeat('t', n * 50) from generate_series(1, 121) n",
    )
    house.begin(copying=True)
    planned = chunks(house, 10)
    random.Random(seed).shuffle(planned)
    with writing(house, seed, change_seats):
        house.keep(house.forward)
        with ThreadPoolExecutor(3) as pool:
            for each in [pool.submit(fill, house, chunk) for chunk in planned]:
                each.result(60)
        finish(house)
    house.equal("select * from person order by id", "select * from person order by id")
    house.stop()


def change_anybody(draw: random.Random, mine: int) -> list[Statement]:
    """Return statements on people from one end of the table to the other: each batch meets rows of any chunk."""
    one, other = (2 * draw.randint(1, 30_000) + mine for _ in range(2))
    text = "insert into person values (%s, null, 'new') on conflict do nothing"
    return [
        ("update person set said = repeat('u', %s) where id = %s", [draw.randint(0, 200), one]),
        ("delete from person where id = %s", [other]),
        (text, [2 * draw.randint(1, 40_000) + mine]),
    ]


def test_a_large_chunk_and_a_busy_stream_do_not_wait_for_each_other(pair: Paired) -> None:
    house = pair(PERSON, PERSON, PEOPLE, begin=False)
    house.source("insert into person select n, n, repeat('t', 100) from generate_series(1, 60000) n")
    house.begin(copying=True)
    [chunk] = chunks(house, 100_000)
    with writing(house, 1, change_anybody):
        house.keep(house.forward)
        assert fill(house, chunk) > 50_000
        finish(house)
    house.equal("select * from person order by id", "select * from person order by id")
    house.stop()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_sides_are_equal_whatever_happens_meanwhile(shop: Pair, seed: int) -> None:
    draw = random.Random(seed)
    planned = chunks(shop, 25)
    draw.shuffle(planned)
    closed = "select pg_terminate_backend(pid) from pg_stat_replication where usename = current_user"
    with writing(shop, seed, change_books):
        shop.keep(shop.forward, shop.back)
        with ThreadPoolExecutor(3) as pool:
            copied = [pool.submit(fill, shop, chunk) for chunk in planned]
            for _ in range(3):
                shop.source(closed)
            assert sum(each.result(30) for each in copied) > 300
        finish(shop)
    shop.equal(AUTHORS, AUTHORS)
    shop.equal(VOLUMES.replace("body,", "md5(body), length(body),"), BOOKS.replace("body,", "md5(body), length(body),"))
    shop.stop()
    assert shop.target("select count(*) from strangler_sync.tombstone") == [(0,)]
    assert shop.source("select changes from strangler_sync.stream") == [(0,)]


def finish(pair: Pair) -> None:
    """Do what is done when all chunks are copied, for as often as it takes: while rows clash all the time, by luck."""

    def is_finished() -> bool:
        since = filling.position(pair.forward)
        pair.nudge()
        until(lambda: stands_at(pair) >= since, "the stream has passed the copy", 30)
        return ending.finish(pair.forward, since)

    until(is_finished, "the copy has ended", 60)


def test_a_chunk_brings_back_nothing_that_went_and_leaves_what_the_stream_wrote(shop: Pair) -> None:
    [authors, books] = chunks(shop, 1000)
    stream = shop.forward.name
    lay = "insert into strangler_sync.tombstone (stream, target, key, gone, xids) values"
    shop.target(
        "insert into author values (3, 'of the stream')",
        f"{lay} ('{stream}', 'author', '{{2}}', true, '{{3}}'), ('{stream}', 'author', '{{3}}', true, '{{3}}'),"
        f" ('{stream}', 'volume', '{{4}}', false, '{{3}}')",
    )
    assert fill(shop, authors) == 20
    assert shop.target("select id, name from author where id < 5 order by id") == [
        (1, "Author 1"),
        (3, "of the stream"),
        (4, "Author 4"),
    ]
    assert fill(shop, books) == 400
    assert fill(shop, books) == 400
    assert shop.target("select count(*), min(id) from volume where id > 3") == [(396, 5)]


def test_a_chunk_that_comes_when_the_copy_is_over_writes_nothing(shop: Pair) -> None:
    """Its claim was lost, and another has copied it since: for this one no tombstones are laid any more."""
    [authors, _] = chunks(shop, 1000)
    shop.target("update strangler_sync.stream set copied_at = '0/1'")
    with pytest.raises(SyncError, match="is over; nothing of it was written"):
        fill(shop, authors)
    assert shop.target("select count(*) from author") == [(0,)]
    shop.target("update strangler_sync.stream set copied_at = null, publication = '{}'")
    with shop.forward.open() as (source, target):
        at = watermark.standing(target, shop.forward.name)
        assert at is not None
        projection = shop.forward.projections(source, target)[0]
        anew = replace(at, publication={"oid": 1})
        filling.begin(target, [projection], at.name)
        with pytest.raises(SyncError, match="is over"):
            filling.fill_range(source, target, projection, authors, anew)
    assert shop.target("select count(*) from author") == [(0,)]


def test_a_row_that_changed_in_part_before_it_was_there_is_fetched(shop: Pair) -> None:
    """Its chunk was read before the change, and is written after the change was found to have no row."""
    [authors, books] = chunks(shop, 1000)
    shop.keep()
    shop.source("update book set title = 'changed' where id = 5")
    until(lambda: shop.target("select count(*) from strangler_sync.tombstone") != [(0,)], "a tombstone is laid")
    fill(shop, authors)
    fill(shop, books)
    assert shop.target("select count(*) from volume where id = 5") == [(0,)]
    assert not ending.finish(shop.forward, filling.position(shop.forward) + (1 << 30))
    finish(shop)
    shop.equal(VOLUMES, BOOKS)
    shop.stop()


def test_rows_that_refer_to_nothing_are_told(pair: Paired) -> None:
    alone = pair(SOURCE, TARGET, BOOK, begin=False)
    alone.source("insert into author values (1, 'Ann')", "insert into book values (7, 1, 'One', 1)")
    alone.begin(copying=True)
    [books] = chunks(alone, 100)
    fill(alone, books)
    with pytest.raises(SyncError, match=r"volume \(7,\) refers under volume_author_id_fkey to a row of author"):
        ending.finish(alone.forward, 0)


def test_rows_that_a_deferrable_constraint_forbids_are_told(pair: Paired) -> None:
    free = PERSON.replace("unique", "")
    alone = pair(free, PERSON.replace("unique", "unique deferrable"), PEOPLE, begin=False)
    alone.source("insert into person values (1, 5), (2, 5), (3, null), (4, null)")
    alone.begin(copying=True)
    for each in chunks(alone, 100):
        fill(alone, each)
    with pytest.raises(SyncError, match=r"person has two rows of seat \(5,\), which the source allows"):
        ending.finish(alone.forward, 0)


@given(st.integers(0, 2**40), st.lists(st.integers(0, 50), max_size=5), st.integers(-50, 50))
def test_what_a_snapshot_sees(highest: int, back: list[int], offset: int) -> None:
    running = sorted({highest - each for each in back if highest > each >= 1})
    xid = highest + offset
    if xid < 3:
        return
    snapshot = f"{min([*running, highest])}:{highest}:{','.join(map(str, running))}"
    assert ending.sees(snapshot, xid % 2**32) == (xid < highest and xid not in running)
