"""A fence on a real server: who is locked out by it, whoever they are and however they write, and who is not."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest

from strangler.capability import Stack
from strangler.sync import fence, fencing
from strangler.sync.errors import RightMissing, StaleEpoch
from strangler.sync.fencing import STATE
from tests.fixtures.fenced import Bed, run

WRITES = {
    "insert": ["insert into author values (3, 'Cid')"],
    "update": ["update book set title = 'x' where id = 1"],
    "update of no row": ["update book set title = 'x' where false"],
    "delete": ["delete from book where id = 1"],
    "delete of no row": ["delete from book where id = 999"],
    "truncate": ["truncate book"],
    "truncate cascade": ["truncate author cascade"],
    "on conflict do nothing": ["insert into author values (1, 'Ann') on conflict do nothing"],
    "on conflict do update": ["insert into author values (1, 'x') on conflict (id) do update set name = excluded.name"],
    "merge": [
        "merge into author a using (values (1)) as v (id) on a.id = v.id when matched then update set name = 'x'"
        " when not matched then insert values (9, 'x')"
    ],
    "within a with": ["with gone as (delete from book returning id) select count(*) from gone"],
    "function of its owner": ["select sneak()"],
    "partitioned table": ["insert into event values (3, 3, 'x') on conflict do nothing"],
    "partitioned table of no row": ["update event set note = 'x' where false"],
    "part": ["insert into event_1 values (99, 3, 'x')"],
    "part of no row": ["delete from event_1 where false"],
    "part of a part": ["update event_2a set note = 'x'"],
    "part with parts": ["insert into event_2 values (99, 12, 'x')"],
    "truncate of a partitioned table": ["truncate event"],
    "truncate of a part": ["truncate event_1"],
    "truncate of a part of a part": ["truncate event_2a"],
    "from part to part": ["update event set at = 12 where id = 3"],
}
FROM_OUTSIDE = {
    "cascading delete": ["delete from publisher where id = 1"],
    "cascading truncate": ["truncate publisher cascade"],
}
OWNERS = {
    "as a replica": ["set session_replication_role = replica", "insert into author values (3, 'Cid')"],
    "part made since": [
        "create table event_3 partition of event for values from (20) to (30)",
        "insert into event values (25, 25, 'x')",
    ],
    "part made since, itself": [
        "create table event_3 partition of event for values from (20) to (30)",
        "insert into event_3 values (25, 25, 'x')",
    ],
    "empty part attached since": [
        "create table event_3 (like event)",
        "alter table event attach partition event_3 for values from (20) to (30)",
        "insert into event_3 values (25, 25, 'x')",
    ],
}


def refused(url: str, statements: Sequence[str]) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught:
        run(url, statements)
    assert caught.value.sqlstate == STATE, caught.value
    return caught.value


@pytest.mark.parametrize("statements", [*WRITES.values(), *FROM_OUTSIDE.values()], ids=[*WRITES, *FROM_OUTSIDE])
def test_a_statement_that_writes_is_refused_whoever_it_comes_from(bed: Bed, statements: list[str]) -> None:
    before = bed.rows
    bed.up()
    for url in (bed.application_url, bed.owner_url, bed.superuser_url, bed.sync_url):
        refused(url, statements)
    assert bed.rows == before


@pytest.mark.parametrize("statements", OWNERS.values(), ids=OWNERS)
def test_who_owns_the_tables_is_refused_whatever_is_tried(bed: Bed, statements: list[str]) -> None:
    before = bed.rows
    bed.up()
    refused(bed.owner_url, statements)
    refused(bed.superuser_url, statements)
    assert bed.rows == before


@pytest.mark.parametrize("into", ["author (id, name)", "event (id, at)", "event_1 (id, at)", "event_2a (id, at)"])
def test_a_copy_is_refused(bed: Bed, into: str) -> None:
    before = bed.rows
    bed.up()
    for url in (bed.application_url, bed.owner_url, bed.superuser_url):
        with (
            psycopg.connect(url) as connection,
            pytest.raises(psycopg.Error) as caught,
            connection.cursor() as cursor,
            cursor.copy(f"copy {into} from stdin".encode()) as copy,
        ):
            copy.write(b"33\t3\n")
        assert caught.value.sqlstate == STATE
    assert bed.rows == before


def test_a_plan_and_a_cursor_made_before_are_refused(bed: Bed) -> None:
    with psycopg.connect(bed.application_url, autocommit=True) as connection:
        connection.execute("prepare plan as update author set name = name where id = 1")
        for _ in range(8):  # past these a generic plan is kept
            connection.execute("execute plan")
        connection.execute("do $$ begin update author set name = name; end $$")
        bed.up()
        for statement in ("execute plan", "do $$ begin update author set name = name; end $$"):
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(statement.encode())
            assert caught.value.sqlstate == STATE


def test_the_error_says_what_is_fenced_who_owns_it_and_since_when(bed: Bed) -> None:
    bed.up(owner=Stack.SERVICE)
    error = refused(bed.application_url, ["update book set title = 'x'"])
    assert error.diag.message_primary == 'capability "shop-books" is fenced here: its owner is the service, epoch 7'
    role = bed.application("select quote_ident(session_user)")[0][0]
    assert error.diag.message_detail == (
        f"capability=shop-books owner=service epoch=7 operation=UPDATE table=public.book role={role}"
    )
    assert "Write through the service" in str(error.diag.message_hint)
    assert (error.diag.schema_name, error.diag.table_name) == ("public", "book")


def test_the_state_is_none_of_postgresql_s() -> None:
    known = [str(getattr(each, "sqlstate", "")) for each in vars(psycopg.errors).values()]
    assert not [each for each in known if each.startswith(STATE[:2])]


def test_the_sync_passes_by_its_role_and_its_setting_and_by_neither_alone(bed: Bed) -> None:
    bed.up()
    with bed.sync() as connection:
        connection.execute(f'set role "{bed.owner("select current_user")[0][0]}"')
        connection.execute("insert into author values (3, 'Cid')")
        connection.execute("insert into event values (3, 4, 'x'), (4, 13, 'x')")
        connection.execute("update event set at = 14 where id = 3 and at = 4")
        connection.execute("delete from event where id = 3 and at = 14")
        connection.execute("truncate book")
        connection.execute("set strangler.fence = ''")
        with pytest.raises(psycopg.Error, match="is fenced here"):
            connection.execute("insert into author values (4, 'Dan')")
    for url in (bed.application_url, bed.owner_url, bed.superuser_url):
        refused(url, ["set strangler.fence = 'passes'", "insert into author values (4, 'Dan')"])
    with bed.sync() as connection:
        connection.execute("create schema mine")  # operators of one's own do not open it
        connection.execute("create function mine.same(name, text) returns bool language sql as 'select true'")
        connection.execute("create operator mine.= (function = mine.same, leftarg = name, rightarg = text)")
        connection.execute("grant usage on schema mine to public")
    mine = ["set search_path = mine, public, pg_catalog", "set strangler.fence = 'passes'"]
    refused(bed.application_url, [*mine, "insert into author values (4, 'Dan')"])
    with bed.sync() as connection:
        connection.execute("drop schema mine cascade")


def test_what_is_not_fenced_is_written_and_what_is_fenced_is_read(bed: Bed) -> None:
    bed.up()
    bed.application("insert into other values (1, 'x')", "insert into publisher values (3)")
    assert bed.application("select count(*) from book") == [(20,)]
    assert bed.application("select id from author where id = 1 for update") == [(1,)]


def test_nobody_is_refused_while_it_is_not_raised_and_after_it_is_lowered(bed: Bed) -> None:
    writing = [each for statements in WRITES.values() for each in statements if "truncate" not in each]
    bed.application("begin", *writing, "rollback")
    bed.up()
    moved = bed.down()
    assert moved.marker is None
    assert moved.ms >= moved.locked_ms > 0
    bed.application(*(each for each in writing if "sneak" not in each and "delete" not in each))


def test_raising_writes_a_marker_and_tells_where(bed: Bed) -> None:
    with bed.sync() as connection:
        connection.execute("select pg_create_logical_replication_slot('of_fence', 'pgoutput')")
        connection.execute("create publication of_fence")
    bed.application("insert into other values (1, 'before')")
    try:
        moved = bed.up()
        changes = "pg_logical_slot_get_changes('of_fence', null, null, 'proto_version', '1', 'publication_names',"
        assert moved.marker is not None
        assert moved.marker < moved.position
        found = bed.superuser(
            changes.replace("pg_logical_slot_get_changes", "select lsn, data from pg_logical_slot_get_binary_changes")
            + " 'of_fence', 'messages', 'true')"
        )
        [(_, message)] = [(lsn, data) for lsn, data in found if data[:1] == b"M"]
        assert b"strangler_fence\0" in message
        assert message.endswith(b"shop-books 7")
    finally:
        bed.superuser("select pg_drop_replication_slot('of_fence')")
        with bed.sync() as connection:
            connection.execute("drop publication of_fence")


def test_who_acts_on_an_older_epoch_is_refused(bed: Bed) -> None:
    bed.up(epoch=7)
    with bed.sync() as connection:
        fence.claim(connection, bed.fence.capability, 9)
        fence.claim(connection, bed.fence.capability, 9)
        with pytest.raises(StaleEpoch, match="of shop-books stands at epoch 9, and may not be touched on epoch 8"):
            fence.claim(connection, bed.fence.capability, 8)
    for stale in (7, 10):
        with pytest.raises(StaleEpoch, match=f"stands at epoch 9, and may not be touched on epoch {stale}"):
            bed.down(epoch=stale)
        with pytest.raises(StaleEpoch):
            bed.up(epoch=stale)
    refused(bed.application_url, ["delete from book"])
    bed.down(epoch=9)
    bed.application("delete from book")


def test_what_is_raised_is_raised_again_at_its_epoch_and_told_by_the_next(bed: Bed) -> None:
    first = bed.up()
    since = bed.superuser("select raised_at from strangler_sync.claim")
    second = bed.up()
    assert second.marker is not None
    assert first.position <= second.marker
    assert bed.superuser("select raised_at from strangler_sync.claim") == since
    with bed.sync() as connection:
        fence.claim(connection, bed.fence.capability, 8)
    bed.up(epoch=8, owner=Stack.MONOLITH)
    error = refused(bed.application_url, ["delete from book"])
    assert "its owner is the monolith, epoch 8" in str(error)
    with bed.sync() as connection:
        found = fence.standing(connection, bed.fence.capability)
    assert found is not None
    assert (found.epoch, found.owner, found.raised) == (8, Stack.MONOLITH, True)
    assert bed.drift() == []
    bed.down(epoch=8)
    bed.down(epoch=8)
    bed.application("delete from book")


def test_a_fence_of_another_capability_is_not_touched(bed: Bed) -> None:
    other = fencing.Fence(capability="others", stack=Stack.MONOLITH, tables=("other",))
    with bed.sync() as connection:
        fencing.install(connection, other)
        fence.claim(connection, "others", 3)
        fence.raise_fence(connection, other, epoch=3, owner=Stack.SERVICE, budget_s=5)
    bed.application("delete from book")
    assert 'capability "others"' in str(refused(bed.application_url, ["delete from other"]))
    bed.remove()
    refused(bed.application_url, ["delete from other"])
    with bed.sync() as connection:
        fencing.remove(connection, "others")
    bed.application("delete from other")


def test_a_right_is_given_by_the_statement_that_is_told(bare_bed: Bed) -> None:
    owner, sync = (bare_bed.superuser(f"select '{each}'")[0][0] for each in names(bare_bed))
    bare_bed.superuser(f'revoke "{owner}" from "{sync}"')
    with pytest.raises(RightMissing) as caught:
        bare_bed.begin()
    bare_bed.superuser(str(caught.value).partition("run there: ")[2])
    bare_bed.begin()
    bare_bed.up()


def names(bed: Bed) -> tuple[str, str]:
    [(owner,)] = bed.owner("select current_user::text")
    with bed.sync() as connection:
        return str(owner), str(connection.info.user)


CATALOGUES = """
select 'relation', c.oid::text, c.relname::text, c.relacl::text, c.reloptions::text from pg_class c
where c.relnamespace <> 'pg_toast'::regnamespace
union all select 'function', p.oid::text, p.proname::text, p.proacl::text, null from pg_proc p
union all select 'schema', n.oid::text, nspname::text, nspacl::text, null from pg_namespace n
  where nspname !~ '^pg_(toast_)?temp'
union all select 'trigger', t.oid::text, tgname::text, tgrelid::text, tgenabled::text from pg_trigger t
union all select 'type', t.oid::text, t.typname::text, null, null from pg_type t
  where t.typnamespace <> 'pg_toast'::regnamespace
order by 1, 2
"""


def test_nothing_is_left_of_it(bare_bed: Bed) -> None:
    before = bare_bed.superuser(CATALOGUES)
    bare_bed.begin()
    bare_bed.up()
    bare_bed.owner("create table event_3 partition of event for values from (20) to (30)")
    bare_bed.owner("alter table event detach partition event_1", "alter table book rename to tome")
    bare_bed.remove()
    bare_bed.owner("alter table event attach partition event_1 for values from (0) to (10)", "drop table event_3")
    bare_bed.owner("alter table tome rename to book")
    assert [each[2:] for each in bare_bed.superuser(CATALOGUES)] == [each[2:] for each in before]
