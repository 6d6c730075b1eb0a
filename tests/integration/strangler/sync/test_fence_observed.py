"""Statements that are observed: all pass, and each that is not the sync's is told in the WAL, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from strangler.sync.errors import SyncError
from strangler.sync.fencing import STATEMENT_MOST
from tests.fixtures.fenced import Bed, Told
from tests.integration.strangler.sync.test_fence import refused


def test_each_statement_is_told_once_with_who_ran_it(bed: Bed, told: Told) -> None:
    bed.observe()
    assert told() == []
    with psycopg.connect(bed.application_url, application_name="web /books") as connection:
        connection.execute("update book set title = title where id > 3")
        connection.execute("insert into event values (3, 4, 'x'), (3, 13, 'x')")
        number = connection.execute("select pg_current_xact_id()::text").fetchone()
        process, role = connection.info.backend_pid, connection.info.user
    found = told()
    assert [(each["table"], each["operation"]) for each in found] == [
        ("public.book", "UPDATE"),
        ("public.event", "INSERT"),
    ]
    assert found[0] == {
        "capability": "shop-books",
        "table": "public.book",
        "operation": "UPDATE",
        "application": "web /books",
        "session_user": role,
        "user": role,
        "process": process,
        "transaction": number[0] if number else "",
        "depth": 1,
        "at": found[0]["at"],
        "statement": "update book set title = title where id > 3",
    }
    assert abs(datetime.fromisoformat(found[0]["at"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_whoever_writes_is_told_however_it_is_done(bed: Bed, told: Told) -> None:
    bed.observe()
    bed.application("select sneak()")
    [(owner,)] = bed.owner("select current_user::text")
    [found] = told()
    assert (found["user"], found["table"]) == (owner, "public.author")
    assert found["session_user"] != owner
    bed.owner("set session_replication_role = replica", "delete from book where false")
    bed.superuser("truncate event")
    with psycopg.connect(bed.owner_url) as connection:
        with connection.cursor() as cursor, cursor.copy("copy author (id, name) from stdin") as copy:
            copy.write(b"33\tCid\n")
        connection.rollback()
    tables = ["public.book", *["public.event", "public.event_1", "public.event_2", "public.event_2a"], "public.author"]
    assert sorted(each["table"] for each in told()) == sorted(tables)
    bed.owner("delete from publisher where id = 2")
    cascaded = told()
    assert {each["table"] for each in cascaded} == {"public.author"}
    assert {each["statement"] for each in cascaded} == {"delete from publisher where id = 2"}


def test_what_the_sync_writes_is_not_told_and_what_its_role_does_else_is(bed: Bed, told: Told) -> None:
    bed.observe()
    [(owner,)] = bed.owner("select current_user::text")
    with bed.sync() as connection:
        connection.execute(f'set role "{owner}"')
        connection.execute("update book set title = title")
        assert told() == []
        connection.execute("reset strangler.fence")
        connection.execute("set strangler.fence = ''")
        connection.execute("update book set title = title")
    assert len(told()) == 1


def test_a_long_statement_is_cut(bed: Bed, told: Told) -> None:
    bed.observe()
    bed.application(f"update book set title = '{'é' * 3 * STATEMENT_MOST}' where id = 1")
    [found] = told()
    assert len(found["statement"]) == STATEMENT_MOST
    assert bed.owner("select length(title) from book where id = 1") == [(3 * STATEMENT_MOST,)]


def test_nothing_is_told_any_more_once_it_ends(bed: Bed, told: Told) -> None:
    bed.observe()
    bed.observe()
    bed.observe(on=False)
    bed.application("update book set title = title")
    assert told() == []
    bed.observe()
    bed.up()
    refused(bed.application_url, ["update book set title = title"])
    with pytest.raises(SyncError, match="the fence of shop-books is raised: nobody passes it"):
        bed.observe()
    bed.down()
    bed.application("update book set title = title")
    assert told() == []


def test_who_may_not_write_messages_is_not_observed(bed: Bed, told: Told) -> None:
    function = "select format('%s on function %s from', 'revoke execute', oid::regprocedure) from pg_proc"
    named = [text for (text,) in bed.superuser(f"{function} where proname = 'pg_logical_emit_message'")]
    bed.superuser(*(f"{each} public" for each in named))
    try:
        with pytest.raises(SyncError, match="grant execute on all functions named pg_logical_emit_message to public"):
            bed.observe()
        bed.application("update book set title = title")
    finally:
        bed.superuser(*(each.replace("revoke", "grant").replace(" from", " to public") for each in named))
