"""Rows outside the capability that refer to one which goes: what is declared of them is done where it goes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from strangler.capability import Stack
from strangler.local import Postgres
from strangler.project import OnDelete, Referred, TableMapping
from strangler.sync import ending, metrics, status
from strangler.sync.check import Level, check
from strangler.sync.check.run import refuse_losses
from strangler.sync.direction import Direction, Way, inverted
from strangler.sync.errors import CannotApply, MappingInvalid, SyncError
from strangler.sync.filling import catch_up
from strangler.sync.rewriting import Rewritten, rewrite
from strangler.sync.stream import Care, Size
from tests.fixtures.spoiling import spoil
from tests.fixtures.streams import Pair, Paired, table
from tests.fixtures.waiting import until

BOOK = "create table book (id bigint primary key, title text, body text, shown boolean not null default true)"
NOTE = "create table note (id bigint primary key, book_id bigint {})"
REFERS = "references book"
ROWS = "insert into book (id, title) select n, 'book ' || n from generate_series(1, 6) n"
NOTES = "insert into note select n, n from generate_series(1, 4) n"
COLUMNS = {"title": "title", "body": "body", "shown": "shown"}


def referred(on_delete: str, stack: Stack, by: str = "note", columns: tuple[str, ...] = ("book_id",)) -> Referred:
    return Referred(by=by, columns=columns, stack=stack, on_delete=OnDelete(on_delete))


def book(*referred_by: Referred, **more: Any) -> TableMapping:
    return table("book", "book", {"id": "id"}, COLUMNS, reverse=COLUMNS, referred_by=referred_by, **more)


@dataclass
class Ends:
    """A pair as one stream sees it: who owns the books, and the other, where notes refer to copies of them."""

    pair: Pair
    direction: Direction

    def owner(self, *statements: str) -> list[Any]:
        return (self.pair.source if self.direction.way is Way.FORWARD else self.pair.target)(*statements)

    def other(self, *statements: str) -> list[Any]:
        return (self.pair.target if self.direction.way is Way.FORWARD else self.pair.source)(*statements)

    def start(self, care: Care | None = None) -> None:
        self.pair.start(self.direction, *([] if care is None else [care]))

    def gone(self, *ids: int) -> None:
        """Wait until the other has all books but these."""
        left = [(each,) for each in range(1, 7) if each not in ids]
        until(lambda: self.other("select id from book order by id") == left, f"{ids} are gone")

    @property
    def notes(self) -> list[Any]:
        return self.other("select id, book_id from note order by id")


MakeEnds = Callable[..., Ends]


@pytest.fixture(params=[Way.FORWARD, Way.REVERSE])
def ends(pair: Paired, request: pytest.FixtureRequest) -> MakeEnds:
    """Make a pair in which a stream either way finds notes that refer to its books."""
    forward = request.param is Way.FORWARD

    def make(
        on_delete: str, refers: str = REFERS, *, owner: str = BOOK, other: str = BOOK, note: str = NOTE, **more: Any
    ) -> Ends:
        stack = Stack.SERVICE if forward else Stack.MONOLITH
        notes = f"{other}; {note.format(refers)}"
        columns = more.pop("columns", ("book_id",))
        mapping = more.pop("mapping", book)(referred(on_delete, stack, columns=columns), **more)
        made = pair(owner if forward else notes, notes if forward else owner, mapping, begin=False)
        found = Ends(made, made.forward if forward else made.back)
        if owner is BOOK:
            for side in (found.owner, found.other):
                side(ROWS)
            found.other(NOTES)
        made.begin()
        made.open_back()
        return found

    return make


ALL = [(1, 1), (2, 2), (3, 3), (4, 4)]


@pytest.mark.parametrize("rule", ["", "on delete cascade"])
def test_notes_are_emptied(ends: MakeEnds, rule: str) -> None:
    shop = ends("set null", f"{REFERS} {rule}")
    shop.start()
    shop.owner("delete from book where id in (1, 3, 5)")
    shop.gone(1, 3, 5)
    assert shop.notes == [(1, None), (2, 2), (3, None), (4, 4)]


@pytest.mark.parametrize("rule", ["on delete set null", "deferrable initially deferred"])
def test_notes_go_along(ends: MakeEnds, rule: str) -> None:
    shop = ends("cascade", f"{REFERS} {rule}")
    shop.start()
    shop.owner("delete from book where id in (1, 3, 5)")
    shop.gone(1, 3, 5)
    assert shop.notes == [(2, 2), (4, 4)]


def test_notes_are_kept(ends: MakeEnds) -> None:
    shop = ends("keep", "")
    shop.start()
    shop.owner("delete from book where id in (1, 3, 5)")
    shop.gone(1, 3, 5)
    assert shop.notes == ALL


@pytest.mark.parametrize("rule", ["", "on delete cascade"])
def test_a_delete_waits_for_those_who_refer_and_says_so(ends: MakeEnds, rule: str) -> None:
    """Whatever the foreign key would do by itself. What came before it is there, and what comes after it waits."""
    shop = ends("restrict", f"{REFERS} {rule}")
    shop.pair.keep(shop.direction)
    shop.owner("update book set title = 'first' where id = 6")
    shop.owner("delete from book where id in (3, 5)")
    shop.owner("update book set title = 'last' where id = 6")
    complaint = (
        'book (3) is to go, and public.note (book_id) refers to it, which is declared "restrict": delete those rows or'
        " have them refer to another; or declare what else shall become of them, and start what applies again; it is"
        " tried again every few seconds"
    )
    until(lambda: status.of(shop.direction).problem == complaint, "it says so")
    assert shop.other("select title from book where id = 6") == [("first",)]
    assert shop.notes == ALL
    [stopped] = [each for each in metrics.STREAMS if each.name == "stopped"]
    assert stopped.read(status.of(shop.direction)) is True
    until(lambda: shop.pair.told == [f"{shop.direction.name}: {complaint}"], "it is told once")
    shop.other("update note set book_id = 4 where id = 3")
    shop.gone(3, 5)
    until(lambda: shop.other("select title from book where id = 6") == [("last",)], "it goes on")
    until(lambda: status.of(shop.direction).problem is None, "nothing is wrong any more")


def test_many_go_at_once(ends: MakeEnds) -> None:
    shop = ends("cascade")
    for side in (shop.owner, shop.other):
        side("insert into book (id) select n from generate_series(101, 8100) n")
    shop.other("insert into note select n, 101 + n % 8000 from generate_series(101, 16100) n")
    shop.start()
    shop.owner("delete from book where id > 100 and id % 2 = 0")
    until(lambda: shop.other("select count(*) from book where id > 100 and id % 2 = 0") == [(0,)], "they are gone", 30)
    counted = "select count(*), count(*) filter (where book_id % 2 = 0) from note where id > 100"
    assert shop.other(counted) == [(8000, 0)]


SHELVED = "create table book (shop integer, shelf text, title text, primary key (shop, shelf))"
SHELVED_NOTE = "create table note (id bigint primary key, at text, of integer, {})"


def shelved(*referred_by: Referred) -> TableMapping:
    key = {"shelf": "shelf", "shop": "shop"}
    return table("book", "book", key, {"title": "title"}, reverse={"title": "title"}, referred_by=referred_by)


@pytest.mark.parametrize(
    ("on_delete", "left"), [("set null", [(1, None, None), (2, "b", 1)]), ("cascade", [(2, "b", 1)])]
)
def test_a_key_of_several_columns_is_told_by_all_of_them(
    ends: MakeEnds, on_delete: str, left: list[tuple[object, ...]]
) -> None:
    refers = "foreign key (of, at) references book"
    shop = ends(
        on_delete, refers, owner=SHELVED, other=SHELVED, note=SHELVED_NOTE, mapping=shelved, columns=("at", "of")
    )
    shop.start()
    shop.owner("insert into book values (1, 'a'), (1, 'b'), (2, 'a')")
    until(lambda: shop.other("select count(*) from book") == [(3,)], "they have come")
    shop.other("insert into note values (1, 'a', 1), (2, 'b', 1)")
    shop.owner("delete from book where shelf = 'a'")
    until(lambda: shop.other("select * from book") == [(1, "b", None)], "two are gone")
    assert shop.other("select * from note order by id") == left


def test_what_comes_back_within_a_transaction_was_never_gone(ends: MakeEnds) -> None:
    shop = ends("cascade", f"{REFERS} on delete cascade")
    shop.start()
    shop.owner("delete from book where id < 4", "insert into book (id, title) values (1, 'again'), (2, 'again')")
    shop.gone(3)
    assert shop.notes == [(1, 1), (2, 2), (4, 4)]
    shop.owner("truncate book", "insert into book (id, title) values (1, 'anew'), (6, 'anew')")
    shop.gone(2, 3, 4, 5)
    assert shop.other("select distinct title from book") == [("anew",)]
    assert shop.notes == [(1, 1)]


@pytest.mark.parametrize(
    "leave", ["delete from book where id = 1", "truncate book", "update book set id = 9 where id = 1"]
)
def test_what_another_transaction_makes_again_was_gone_however_soon_it_comes(ends: MakeEnds, leave: str) -> None:
    shop = ends("set null")
    shop.other("delete from note where id > 1")
    shop.owner(leave)
    shop.owner("insert into book (id, title) values (1, 'another')")
    shop.start()
    until(lambda: shop.other("select title from book where id = 1") == [("another",)], "it has come")
    assert shop.notes == [(1, None)]


def test_what_goes_again_before_it_is_applied_takes_along_who_refers(ends: MakeEnds) -> None:
    """By then others may have come and gone beside it, and a part of the transaction that makes it is applied."""
    shop = ends("cascade")
    shop.owner("delete from book where id in (1, 2)")
    shop.owner("delete from book where id = 3", "insert into book (id) values (7), (1), (3)")
    shop.owner("delete from book where id = 1", "insert into book (id, title) values (1, 'third')")
    shop.owner("update book set title = 'fourth' where id = 1", "delete from book where id = 7")
    shop.start()
    until(lambda: shop.other("select title from book where id = 1") == [("fourth",)], "it has come")
    shop.gone(2)
    assert shop.notes == [(3, 3), (4, 4)]


def test_a_delete_that_is_refused_stays_so_when_its_row_is_made_again(ends: MakeEnds) -> None:
    shop = ends("restrict")
    shop.pair.keep(shop.direction)
    shop.owner("delete from book where id = 1")
    shop.owner("insert into book (id, title) values (1, 'another')")
    until(lambda: "book (1) is to go" in (status.of(shop.direction).problem or ""), "it says so")
    shop.other("delete from note where id = 1")
    until(lambda: shop.other("select title from book where id = 1") == [("another",)], "it has come")


def test_what_the_mapping_takes_again_in_another_transaction_was_gone(pair: Paired) -> None:
    shop = pair(
        f"{BOOK}; alter table book replica identity full; {ROWS}",
        f"{BOOK}; {NOTE.format(REFERS)}; {ROWS}; {NOTES}",
        book(referred("set null", Stack.SERVICE), where="shown"),
    )
    shop.source("update book set shown = false where id = 1")
    shop.source("update book set shown = true, title = 'again' where id = 1")
    shop.start()
    until(lambda: shop.target("select title from book where id = 1") == [("again",)], "it has come")
    assert shop.target("select * from note order by id") == [(1, None), *ALL[1:]]


def test_what_comes_back_late_in_a_large_transaction_was_never_gone(ends: MakeEnds) -> None:
    """A transaction of more changes than are held at once goes to the target in pieces."""
    shop = ends("cascade", f"{REFERS} on delete cascade")
    shop.start()
    shop.owner(
        "truncate book",
        "insert into book (id) select n from generate_series(100, 50099) n",
        "delete from book where id > 99",
        "insert into book (id, title) select n, 'anew' from generate_series(2, 6) n",
    )
    until(lambda: shop.other("select id, title from book where id < 3") == [(2, "anew")], "they are back", 60)
    shop.gone(1)
    assert shop.notes == [(2, 2), (3, 3), (4, 4)]


def test_what_comes_back_where_changes_come_alone_undoes_its_transaction(ends: MakeEnds) -> None:
    shop = ends("set null")
    again = "insert into book (id, title) values ({}, 'again')"
    shop.owner("delete from book where id = 5", again.format(5))  # nothing refers to it
    shop.owner("delete from book where id = 1", again.format(1))
    shop.start(Care(Size.CHANGE, 1 << 62))
    until(lambda: bool(shop.pair.failed), "it stops")
    error = shop.pair.failed.pop()
    assert isinstance(error, CannotApply)
    assert str(error).startswith("book (1) goes and comes back in one transaction")
    assert shop.other("select id, title from book where title = 'again'") == [(5, "again")]
    assert shop.notes == ALL


def test_a_row_whose_key_changes_is_gone_under_the_old_one(ends: MakeEnds) -> None:
    shop = ends("set null")
    shop.start()
    shop.owner("update book set id = 7 where id = 1")
    until(lambda: shop.other("select id from book where id in (1, 7)") == [(7,)], "it has moved")
    long = "alter table book alter body set storage external"
    shop.owner(long, "update book set body = repeat('x', 9000) where id = 2")
    shop.owner("update book set id = 8 where id = 2")  # the source does not send its body again
    until(lambda: shop.other("select id, length(body) from book where id in (2, 8)") == [(8, 9000)], "it has moved")
    assert shop.notes == [(1, None), (2, None), (3, 3), (4, 4)]


@pytest.mark.parametrize("numbered", ["", " generated always as identity"])
@pytest.mark.parametrize("on_delete", ["set null", "restrict", "cascade"])
def test_a_row_takes_the_place_of_one_that_goes_and_keeps_who_refers_to_it(
    pair: Paired, on_delete: str, numbered: str
) -> None:
    """The source does not send its body again, and there never is a moment without a row of that key."""
    there = BOOK.replace("title text", "title text unique").replace("primary", f"{numbered} primary")
    shop = pair(
        f"{BOOK}; alter table book alter body set storage external",
        f"{there}; {NOTE.format(f'{REFERS} on delete cascade')}",
        book(referred(on_delete, Stack.SERVICE)),
    )
    shop.start()
    shop.source("insert into book select n, 'book ' || n, repeat(n::text, 9000) from generate_series(1, 2) n")
    until(lambda: shop.target("select count(*) from book") == [(2,)], "they have come")
    shop.target("insert into note values (1, 2)")
    shop.source("delete from book where id = 2", "update book set id = 2 where id = 1")
    whole = "select id, title, md5(body) from book"
    shop.equal(whole, whole)
    assert shop.target("select * from note") == [(1, 2)]


def test_a_numbered_row_takes_nothing_along_to_its_new_key(pair: Paired) -> None:
    """It is taken out and put in again, and the foreign key's own rule must find nothing that refers to it."""
    numbered = BOOK.replace("bigint primary", "bigint generated always as identity primary")
    refers = NOTE.format(f"{REFERS} on delete cascade")
    shop = pair(
        BOOK + "; alter table book alter body set storage external",
        f"{numbered}; {refers}",
        book(referred("set null", Stack.SERVICE)),
    )
    shop.start()
    shop.source("insert into book (id, body) select n, repeat('x', 9000) from generate_series(1, 2) n")
    until(lambda: shop.target("select count(*) from book") == [(2,)], "they have come")
    shop.target("insert into note values (1, 1), (2, 2)")
    shop.source("update book set id = 9 where id = 1")
    until(lambda: shop.target("select id, length(body) from book order by id") == [(2, 9000), (9, 9000)], "it moved")
    assert shop.target("select * from note order by id") == [(1, None), (2, 2)]


def test_a_row_that_the_mapping_leaves_is_gone(pair: Paired) -> None:
    shop = pair(
        f"{BOOK}; alter table book replica identity full; {ROWS}",
        f"{BOOK}; {NOTE.format(REFERS)}; {ROWS}; {NOTES}",
        book(referred("cascade", Stack.SERVICE), where="shown"),
    )
    shop.start()
    shop.source("update book set shown = false where id in (2, 3)")
    until(lambda: shop.target("select count(*) from book") == [(4,)], "they are gone")
    assert shop.target("select id from note order by id") == [(1,), (4,)]


def test_who_refers_within_the_capability_is_left_alone(pair: Paired) -> None:
    """Pages are mapped, and books refer to each other: their own changes come by the stream."""
    books = "create table book (id bigint primary key, after bigint references book deferrable initially deferred)"
    pages = "create table page (id bigint primary key, book_id bigint references book deferrable initially deferred)"
    shop = pair(
        f"{books}; {pages}",
        f"{books}; {pages}; {NOTE.format(REFERS)}",
        table("book", "book", {"id": "id"}, {"after": "after"}, referred_by=(referred("set null", Stack.SERVICE),)),
        table("page", "page", {"id": "id"}, {"book_id": "book_id"}),
    )
    shop.start()
    shop.source("insert into book values (1, null), (2, 1), (3, 2)", "insert into page values (1, 1), (2, 2)")
    until(lambda: shop.target("select count(*) from page") == [(2,)], "they have come")
    shop.target("insert into note values (1, 1), (2, 2)")
    shop.source(
        "delete from page where id = 1", "update book set after = null where id = 2", "delete from book where id = 1"
    )
    until(lambda: shop.target("select count(*) from book") == [(2,)], "it is gone")
    assert shop.target("select * from book order by id") == [(2, None), (3, 2)]
    assert shop.target("select * from page") == [(2, 2)]
    assert shop.target("select * from note order by id") == [(1, None), (2, 2)]


def test_what_is_written_there_bears_the_stream_s_origin(ends: MakeEnds) -> None:
    """So that no stream takes it along: why a table that has a stream is refused."""
    shop = ends("set null")
    shop.start()
    shop.owner("delete from book where id = 1")
    shop.gone(1)
    [(origin,)] = shop.other(
        "select roname from note, pg_xact_commit_timestamp_origin(note.xmin) as written"
        " join pg_replication_origin as origin on origin.roident = written.roident where id = 1"
    )
    assert origin == shop.direction.name


# --- while tables are copied ---


def test_a_row_that_makes_room_takes_nothing_along(pair: Paired) -> None:
    """Of two rows with one unique value, of which the stream brings one, the other goes until it is fetched."""
    unique = "create table book (id bigint primary key, title text unique, body text, shown boolean default true)"
    shop = pair(
        unique,
        f"{unique}; {NOTE.format(f'{REFERS} on delete cascade')}",
        book(referred("cascade", Stack.SERVICE)),
        begin=False,
    )
    shop.begin(copying=True)
    shop.target("insert into book (id, title) values (1, 'b')", "insert into note values (1, 1)")  # as a chunk has it
    shop.source("insert into book (id, title) values (2, 'b')")
    shop.start()
    until(lambda: shop.target("select id from book") == [(2,)], "it has come")
    assert shop.target("select * from note") == [(1, 1)]


@pytest.mark.parametrize("how", ["delete from book where id = 1", "update book set shown = false where id = 1"])
def test_a_row_that_made_room_and_then_goes_takes_along_who_refers(pair: Paired, how: str) -> None:
    unique = BOOK.replace("title text", "title text unique")
    shop = pair(
        f"{unique}; alter table book replica identity full; insert into book (id, title) values (1, 'a')",
        f"{unique}; {NOTE.format(REFERS)}",
        book(referred("cascade", Stack.SERVICE), where="shown"),
        begin=False,
    )
    shop.begin(copying=True)
    shop.target("insert into book (id, title) values (1, 'b')", "insert into note values (1, 1)")  # of a later time
    shop.source("insert into book (id, title) values (2, 'b')")
    shop.keep()
    until(lambda: shop.target("select id from book") == [(2,)], "it has come")
    shop.source(how)
    until(lambda: shop.target("select * from note") == [], "it is gone")
    ending.complete(shop.forward)
    assert shop.target("select id from book") == [(2,)]


@pytest.mark.parametrize(("on_delete", "left"), [("set null", [(1, None), (2, 2)]), ("cascade", [(2, 2)])])
def test_what_is_declared_is_done_while_tables_are_copied(
    pair: Paired, on_delete: str, left: list[tuple[object, ...]]
) -> None:
    """No foreign key looks then; those of the tables that are written along with it do."""
    words = "create table word (id bigint primary key, note_id bigint references note on delete cascade)"
    shop = pair(
        f"{BOOK}; {ROWS}",
        f"{BOOK}; {NOTE.format(REFERS)}; {words}; {ROWS}",
        book(referred(on_delete, Stack.SERVICE)),
        begin=False,
    )
    shop.begin(copying=True)
    shop.target("insert into note values (1, 1), (2, 2)", "insert into word values (1, 1), (2, 2)")
    shop.start()
    shop.source("delete from book where id = 1")
    shop.equal("select id from book order by id", "select id from book order by id")
    assert shop.target("select * from note order by id") == left
    assert shop.target("select count(*) from word") == [(len(left),)]
    ending.complete(shop.forward)


def test_a_delete_is_refused_while_tables_are_copied(pair: Paired) -> None:
    shop = pair(
        f"{BOOK}; {ROWS}",
        f"{BOOK}; {NOTE.format(REFERS)}; {ROWS}",
        book(referred("restrict", Stack.SERVICE)),
        begin=False,
    )
    shop.begin(copying=True)
    shop.target("insert into note values (1, 1)")
    shop.keep()
    shop.source("delete from book where id = 1")
    until(lambda: "book (1) is to go" in (status.of(shop.forward).problem or ""), "it says so")
    assert shop.target("select id from book where id = 1") == [(1,)]
    shop.target("delete from note")
    shop.equal("select id from book order by id", "select id from book order by id")


def test_the_copy_does_not_end_while_somebody_refers_to_nothing(pair: Paired) -> None:
    """Of a foreign key that has no answer, whose own rule did not act while rows were copied."""
    shop = pair(f"{BOOK}; {ROWS}", f"{BOOK}; {NOTE.format(REFERS)}; {ROWS}; {NOTES}", book(), begin=False)
    shop.begin(copying=True)
    shop.start()
    shop.source("delete from book where id = 1")
    shop.equal("select id from book order by id", "select id from book order by id")
    with pytest.raises(SyncError, match=r"public\.note refers under note_book_id_fkey to book \(1\), which has"):
        ending.complete(shop.forward)
    shop.target("delete from note where id = 1")
    ending.complete(shop.forward)


def test_the_copy_does_not_end_on_a_row_that_went_while_others_were_looked_at(pair: Paired) -> None:
    pages = "create table page (id bigint primary key, book_id bigint references book)"
    shop = pair(
        f"{BOOK}; {pages}; {ROWS}",
        f"{BOOK}; {pages}; {NOTE.format(REFERS)}; {ROWS}; {NOTES}",
        book(),
        table("page", "page", {"id": "id"}, {"book_id": "book_id"}),
        begin=False,
    )
    shop.begin(copying=True)
    shop.keep()
    since = catch_up(shop.forward)
    waiting = "select 1 from pg_locks where relation = 'page'::regclass and not granted"
    with psycopg.connect(shop.forward.target_url) as other, ThreadPoolExecutor(1) as hand:
        other.execute("lock table page")  # the books have been looked at, and the pages are yet to be
        ended = hand.submit(ending.finish, shop.forward, since)
        until(lambda: shop.target(waiting) == [(1,)], "it looks at the pages")
        shop.source("delete from book where id = 1")
        until(lambda: shop.target("select 1 from book where id = 1") == [], "it is gone")
        other.rollback()
        with pytest.raises(SyncError, match=r"public\.note refers under note_book_id_fkey to book \(1\), which has"):
            ended.result(20)
    assert ending.is_copying(shop.forward)


def test_what_referred_to_nothing_before_the_copy_does_not_keep_it_from_ending(pair: Paired) -> None:
    notes = f"{NOTE.format('')}; insert into note values (1, 99); alter table note add foreign key (book_id) {REFERS}"
    shop = pair(f"{BOOK}; {ROWS}", f"{BOOK}; {ROWS}; {notes} not valid", book(), begin=False)
    shop.begin(copying=True)
    shop.keep()
    ending.complete(shop.forward)
    assert not ending.is_copying(shop.forward)


def test_the_first_delete_after_the_copy_follows_the_foreign_key_s_own_rule(pair: Paired) -> None:
    shop = pair(
        f"{BOOK}; {ROWS}",
        f"{BOOK}; {NOTE.format(f'{REFERS} on delete cascade')}; {ROWS}; {NOTES}",
        book(),
        begin=False,
    )
    shop.begin(copying=True)
    shop.keep()
    ending.complete(shop.forward)
    shop.source("delete from book where id = 1")
    until(lambda: shop.target("select 1 from book where id = 1") == [], "it is gone")
    assert shop.target("select * from note order by id") == ALL[1:]


# --- a repair ---


@pytest.mark.parametrize(("on_delete", "left"), [("set null", [(1, 1), (2, None)]), ("cascade", [(1, 1)])])
def test_a_repair_does_what_is_declared(pair: Paired, on_delete: str, left: list[tuple[object, ...]]) -> None:
    shop = pair(f"{BOOK}; {ROWS}", f"{BOOK}; {NOTE.format(REFERS)}; {ROWS}", book(referred(on_delete, Stack.SERVICE)))
    shop.keep()
    spoil(shop, "insert into book (id) values (99)")
    shop.target("insert into note values (1, 1), (2, 99)")
    assert sum(rewrite(shop.forward, {"book": [("1",), ("99",)]}), Rewritten()) == Rewritten(updated=1, deleted=1)
    assert shop.target("select * from note order by id") == left


def test_a_repair_is_refused_where_a_delete_is(pair: Paired) -> None:
    shop = pair(
        f"{BOOK}; {ROWS}",
        f"{BOOK}; {NOTE.format(f'{REFERS} on delete cascade')}; {ROWS}",
        book(referred("restrict", Stack.SERVICE)),
    )
    shop.keep()
    spoil(shop, "insert into book (id) values (99)")
    shop.target("insert into note values (1, 99)")
    with pytest.raises(SyncError, match=r"^book \(99\) is to go, and public\.note \(book_id\) refers to it"):
        sum(rewrite(shop.forward, {"book": [("99",)]}), Rewritten())
    assert shop.target("select * from note") == [(1, 99)]


# --- what is refused ---


def test_a_check_tells_what_a_start_refuses_and_a_stream_too(pair: Paired, postgres: Postgres) -> None:
    shop = pair(
        f"{BOOK}; {NOTE.format(REFERS)}; {ROWS}",
        BOOK,
        book(referred("cascade", Stack.MONOLITH), referred("restrict", Stack.SERVICE, by="gone")),
    )
    missing = "there is no table gone, which is said to refer to public.book; mend its name"
    assert missing in [each.found for each in check(shop.forward) if each.level is Level.STOP]
    with shop.forward.open() as (source, target), pytest.raises(MappingInvalid, match="there is no table gone"):
        refuse_losses(shop.forward, source, target)
    shop.start()
    until(lambda: bool(shop.failed), "it stops")
    assert str(shop.failed.pop()) == f"mapping.toml: in the target, {missing}"


def test_a_right_is_given_by_the_statement_that_is_printed(pair: Paired, postgres: Postgres) -> None:
    """The notes belong to somebody else, in a schema of their own; each statement mends what it was printed for."""
    shop = pair(BOOK, BOOK, book(referred("set null", Stack.MONOLITH, by="desk.note")), begin=False)
    database = str(conninfo_to_dict(shop.forward.source_url)["dbname"])
    with psycopg.connect(postgres.url(database), autocommit=True) as admin:
        admin.execute("create schema desk")
        admin.execute(b"create table desk.note (id bigint, book_id bigint not null references book)")
        printed = []
        while stops := [each for each in check(shop.forward) if each.level is Level.STOP]:
            assert stops[0].statement is not None, stops
            admin.execute(stops[0].statement.encode())
            assert stops[0] not in check(shop.forward)
            printed.append(stops[0].statement.split('"')[0].strip())
        assert printed == ["alter table", "grant usage on schema", "grant select, update on"]
        shop.source(ROWS)
        shop.target(ROWS)
        admin.execute("insert into desk.note values (1, 1)")
        shop.begin()
        shop.open_back()
        shop.start(shop.back)
        shop.target("delete from book where id = 1")
        until(lambda: shop.source("select book_id from desk.note") == [(None,)], "it is emptied")


MAPPED = {Stack.MONOLITH: {"public.note": "notes", "word": "words", "book": "books"}}


@pytest.mark.parametrize(
    ("on_delete", "rule", "named"),
    [
        ("set null", "", ["public.note, which notes maps"]),
        ("cascade", "", ["public.note, which notes maps", "public.word, which words maps"]),
        (None, "on delete cascade", ["public.note, which notes maps", "public.word, which words maps"]),
        (None, "on delete set null", ["public.note, which notes maps"]),
        ("restrict", "on delete cascade", []),
        (None, "", []),
    ],
)
def test_a_table_that_has_another_stream_is_not_written_beside_it(
    pair: Paired, on_delete: str | None, rule: str, named: list[str]
) -> None:
    """That stream leaves out what bears an origin, so that its other side would keep the row for ever."""
    words = "create table word (id bigint primary key, page_id bigint references page on delete set null)"
    pages = "create table page (id bigint primary key, note_id bigint references note on delete cascade)"
    answers = [] if on_delete is None else [referred(on_delete, Stack.MONOLITH)]
    shop = pair(f"{BOOK}; {NOTE.format(f'{REFERS} {rule}')}; {pages}; {words}", BOOK, book(*answers), begin=False)
    forward = replace(shop.forward, mapped=MAPPED)
    stops = [each.found for each in check(forward) if each.level is Level.STOP]
    assert len(stops) == bool(named)
    assert all(each in stops[0] for each in named)
    assert sum("which" in each and " maps" in each for each in "".join(stops).split(",")) == len(named)
    back = inverted(forward)
    with back.open() as (source, target):
        if named:
            with pytest.raises(MappingInvalid, match="no stream would take it along"):
                refuse_losses(forward, target, source)
        else:
            refuse_losses(forward, target, source)


def test_keep_wants_the_foreign_key_away(pair: Paired) -> None:
    shop = pair(f"{BOOK}; {NOTE.format(REFERS)}", BOOK, book(referred("keep", Stack.MONOLITH)), begin=False)
    [stop] = [each for each in check(shop.forward) if each.level is Level.STOP]
    assert stop.statement == 'alter table "public"."note" drop constraint "note_book_id_fkey"'
    shop.source("alter table note alter constraint note_book_id_fkey not enforced")
    assert [each for each in check(shop.forward) if "note" in each.found] == []
    shop.source("alter table note alter constraint note_book_id_fkey enforced", stop.statement)
    assert [each for each in check(shop.forward) if "note" in each.found] == []


def test_who_is_copied_for_reading_refers_from_outside(pair: Paired) -> None:
    """Nothing of a reference goes back: when a book does, the monolith's users are in its way as any others."""
    user = "create table person (id bigint primary key, book_id bigint references book)"
    reads = table("person", "person", {"id": "id"}, {"book_id": "book_id"}, reference=True)
    shop = pair(f"{BOOK}; {user}", f"{BOOK}; {user}", book(), reads, begin=False)
    found = [(each.where, each.found) for each in check(shop.forward) if "refers to" in each.found]
    assert [(where, text.split(",")[0]) for where, text in found] == [("source", "public.person")]
