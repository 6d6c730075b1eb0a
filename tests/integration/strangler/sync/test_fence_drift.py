"""What no trigger stops, done under a fence on a real server: each is found, with the name of its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import pytest

from strangler.sync import fence, fencing
from strangler.sync.errors import Unfenced
from tests.fixtures.fenced import Bed
from tests.integration.strangler.sync.test_fence import refused


@dataclass(frozen=True, slots=True)
class Done:
    """What its owner does to a fenced table, and all that is found."""

    statements: Sequence[str]
    found: Sequence[str]


FILLED = ["create table filled (like event)", "insert into filled values (25, 25, 'x')"]
STATEMENT, TRUNCATE, ROWS = "strangler_fence", "strangler_fence_truncate", "strangler_fence_rows"
PASSED = {
    "filled part attached": Done(
        [*FILLED, "alter table event attach partition filled for values from (20) to (30)"],
        ["public.filled was attached to public.event"],
    ),
    "filled part attached to a part": Done(
        [
            *FILLED, "update filled set id = 2000, at = 12",
            "alter table event_2 attach partition filled for values from (1000) to (3000)"],
        ["public.filled was attached to public.event_2"],
    ),
    "part made": Done(
        ["create table event_3 partition of event for values from (20) to (30)"],
        ["public.event_3 was attached to public.event"],
    ),
    "part detached": Done(
        ["alter table event detach partition event_1"],
        [
            "public.event_1 was detached from public.event",
            f"the trigger {ROWS} of public.event_1 is gone",
        ],
    ),
    "part detached, written and attached": Done(
        ["alter table event detach partition event_1", "alter table event_1 disable trigger user",
            "insert into event_1 values (99, 9, 'x')", "alter table event_1 enable always trigger strangler_fence",
            "alter table event_1 enable always trigger strangler_fence_truncate",
            "alter table event attach partition event_1 for values from (0) to (10)"],
        [
            f"the trigger {STATEMENT} of public.event_1 was altered, and may have been disabled for a while",
            f"the trigger {TRUNCATE} of public.event_1 was altered, and may have been disabled for a while",
            f"the trigger {ROWS} of public.event_1 was made anew, and was not there for a while",
        ],
    ),
    "child that inherits": Done(
        ["create table child () inherits (author)", "insert into child values (99, 'x')"],
        ["public.child inherits from public.author, and no trigger sees what is written to it"],
    ),
    "table that inherits now": Done(
        ["create table child (like author)", "insert into child values (99, 'x')",
            "alter table child add unique (id), inherit author"],
        ["public.child inherits from public.author, and no trigger sees what is written to it"],
    ),
    "column of another type": Done(
        ["alter table book alter column title type varchar(40) using 'x' || title"],
        [
            "public.book.title is character varying(40) now, and was text",
            "public.book was written anew: by ALTER TABLE, TRUNCATE, CLUSTER or VACUUM FULL",
        ],
    ),
    "column written anew with the same type": Done(
        ["alter table book alter column title type text using 'x' || title"],
        ["public.book was written anew: by ALTER TABLE, TRUNCATE, CLUSTER or VACUUM FULL"],
    ),
    "part's column written anew": Done(
        ["alter table event alter column note type text using 'x' || note"],
        [
            f"public.{part} was written anew: by ALTER TABLE, TRUNCATE, CLUSTER or VACUUM FULL"
            for part in ("event_1", "event_2a")
        ],
    ),
    "column with a default": Done(
        ["alter table book add column more text default 'x'"], ["public.book.more is new"]
    ),
    "column dropped": Done(
        ["alter table book drop column body"], ["public.book.body is not there any more"]
    ),
    "triggers disabled": Done(
        ["alter table book disable trigger user", "update book set title = 'x' || title"],
        [
            f"the trigger {STATEMENT} of public.book is disabled",
            f"the trigger {TRUNCATE} of public.book is disabled",
        ],
    ),
    "trigger enabled, but not for replicas": Done(
        ["alter table book enable trigger strangler_fence"],
        [f"the trigger {STATEMENT} of public.book is enabled, but not for replicas"],
    ),
    "trigger disabled and enabled again": Done(
        ["alter table book disable trigger strangler_fence", "update book set title = 'x' || title",
            "alter table book enable always trigger strangler_fence"],
        [f"the trigger {STATEMENT} of public.book was altered, and may have been disabled for a while"],
    ),
    "trigger dropped": Done(
        ["drop trigger strangler_fence on book", "update book set title = 'x' || title"],
        [f"the trigger {STATEMENT} of public.book is gone"],
    ),
    "table dropped": Done(["drop table book"], ["public.book was dropped"]),
    "part dropped": Done(["drop table event_1"], ["public.event_1 was dropped"]),
    "table renamed": Done(["alter table book rename to tome"], ["public.book is called public.tome now"]),
    "table in another schema": Done(
        ["create schema attic", "alter table book set schema attic"], ["public.book is called attic.book now"]
    ),
    "table swapped": Done(
        ["alter table book rename to tome", "create table book (like tome)", "insert into book select * from tome"],
        [
            "book is another table now; the one that was fenced is called public.tome",
            "public.book is called public.tome now",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("done", PASSED.values(), ids=PASSED)
def test_what_no_trigger_stops_is_found(bed: Bed, done: Done) -> None:
    bed.up()
    assert bed.drift() == []
    bed.owner(*done.statements)
    assert sorted(bed.drift()) == sorted(done.found)


def test_nothing_is_found_where_nothing_is_done(bed: Bed) -> None:
    assert bed.drift() == []
    bed.up()
    bed.application("insert into other values (1, 'x')", "select * from book for update")
    with bed.sync() as connection:
        connection.execute(f'set role "{bed.owner("select current_user")[0][0]}"')
        connection.execute("insert into author values (3, 'Cid')")
        connection.execute("delete from event")
    with psycopg.connect(bed.owner_url, autocommit=True) as connection:
        connection.execute("analyze book")
        connection.execute("vacuum (freeze) book")
        connection.execute("create index on book (author_id)")
        connection.execute("grant select on book to public")
        connection.execute("create index concurrently on author (name)")
        connection.execute("vacuum freeze pg_trigger")
    assert bed.drift() == []
    bed.down()
    bed.owner("alter table book rename to tome")
    assert bed.drift() == []


def test_a_function_that_was_replaced_is_found(bed: Bed) -> None:
    bed.up()
    replaced = "create or replace function {} returns trigger language plpgsql as 'begin return new; end'"
    bed.superuser(replaced.format("strangler_sync.fence_shop_books()"))
    assert bed.drift() == ["the fence's function was replaced"]
    bed.down()
    bed.up()
    assert bed.drift() == []
    refused(bed.application_url, ["delete from book"])
    bed.superuser("alter function strangler_sync.fence_shop_books() security definer set search_path = public")
    assert bed.drift() == ["the fence's function was replaced"]


def test_what_has_not_held_is_not_raised_on_the_same_epoch_again(bed: Bed) -> None:
    bed.up()
    bed.owner("alter table book disable trigger user", "update book set title = 'x' || title")
    bed.owner("alter table book enable always trigger strangler_fence")
    with pytest.raises(Unfenced, match="the fence of shop-books has not held: the trigger strangler_fence of "):
        bed.up()
    with bed.sync() as connection:
        fence.claim(connection, bed.fence.capability, 8)
    bed.up(epoch=8)
    assert bed.drift() == []


def test_a_part_that_is_detached_bears_the_fence_until_it_is_lowered(bed: Bed) -> None:
    bed.up()
    bed.owner("alter table event detach partition event_1")
    refused(bed.application_url, ["insert into event_1 values (99, 9, 'x')"])
    bed.down()
    bed.application("insert into event_1 values (99, 9, 'x')")


def test_a_part_made_since_is_fenced_as_the_others_are_once_somebody_looks(bed: Bed) -> None:
    bed.up()
    bed.owner("create table event_3 partition of event for values from (20) to (30)")
    bed.owner("truncate event_3")
    with bed.sync() as connection:
        fencing.install(connection, bed.fence)
    refused(bed.owner_url, ["truncate event_3"])
    assert bed.drift() == ["public.event_3 was attached to public.event"]
    bed.down()
    bed.owner("truncate event_3")


def test_who_owns_a_table_may_not_disable_all_its_triggers(bed: Bed) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        bed.owner("alter table book disable trigger all")


def test_a_part_made_before_is_fenced_with_the_others(bed: Bed) -> None:
    bed.owner("create table event_3 partition of event for values from (20) to (30)")
    bed.owner("create table event_2b partition of event_2 for values from (1000) to (2000)")
    bed.up()
    for part in ("event_3", "event_2b"):
        refused(bed.owner_url, [f"truncate {part}"])
        refused(bed.owner_url, [f"delete from {part} where false"])
    assert bed.drift() == []
    bed.down()
    bed.owner("truncate event_3, event_2b")


UNFIT = {
    "child that inherits": (
        "create table child () inherits (author)",
        "public.child inherits from public.author, and no trigger sees what is written to it",
    ),
    "no table": ("alter table book rename to tome", "there is no table book"),
    "a view": ("alter table book rename to tome; create view book as select * from tome", "book is no table"),
    "another trigger of that name": (
        "drop trigger strangler_fence on book; grant usage on schema strangler_sync to public; create trigger"
        " strangler_fence before insert on book execute function strangler_sync.fence_shop_books()",
        "the trigger strangler_fence of public.book is another one",
    ),
    "a trigger with a condition": (
        "drop trigger strangler_fence on book; create trigger strangler_fence before insert or update or delete on book"
        " when (false) execute function strangler_sync.fence_shop_books()",
        "the trigger strangler_fence of public.book is another one",
    ),
    "a trigger of some columns": (
        "drop trigger strangler_fence on book; create trigger strangler_fence before insert or delete"
        " or update of title on book execute function strangler_sync.fence_shop_books()",
        "the trigger strangler_fence of public.book is another one",
    ),
}


@pytest.mark.parametrize(("statements", "says"), UNFIT.values(), ids=UNFIT)
def test_a_fence_that_would_not_hold_is_not_raised(bed: Bed, statements: str, says: str) -> None:
    bed.superuser(statements)
    with pytest.raises(Unfenced) as caught:
        bed.up()
    assert says in str(caught.value)
    bed.application("insert into author values (3, 'Cid')")
