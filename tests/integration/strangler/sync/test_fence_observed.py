"""Statements that are observed: all pass, and each that is not the sync's is told in the WAL, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from strangler.sync import fence
from strangler.sync.errors import SyncError
from strangler.sync.fencing import OBSERVED, STATEMENT_MOST
from strangler.sync.intake import HEARTBEAT, PREFIX
from strangler.sync.pgoutput import Decoder, Message
from tests.fixtures.fenced import Bed
from tests.integration.strangler.sync.test_fence import refused

Told = Callable[[], list[dict[str, Any]]]
SLOT = "of_observed"


@pytest.fixture
def told(bed: Bed) -> Iterator[Told]:
    """Return what was told since it was asked last, as a slot of the sync's gives it to a decoder."""
    with bed.sync() as connection:
        connection.execute(f"select pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
        connection.execute(f"create publication {SLOT}")

    def ask() -> list[dict[str, Any]]:
        with bed.sync() as connection:
            connection.execute(HEARTBEAT, [PREFIX])  # what was written before is flushed with it
            rows = connection.execute(
                "select data from pg_logical_slot_get_binary_changes(%s, null, null, 'proto_version', '1',"
                " 'publication_names', %s, 'messages', 'true')",
                [SLOT, SLOT],
            ).fetchall()
        decoder = Decoder(1)
        events = [decoder.decode(bytes(data)) for (data,) in rows]
        return [
            json.loads(each.content)
            for each in events
            if isinstance(each, Message) and each.prefix == OBSERVED and not each.transactional
        ]

    yield ask
    with bed.sync() as connection:
        connection.execute("select pg_drop_replication_slot(%s)", [SLOT])
        connection.execute(f"drop publication {SLOT}")


def observe(bed: Bed, *, on: bool = True) -> None:
    with bed.sync() as connection:
        fence.observe(connection, bed.fence, on=on, budget_s=5)


def test_each_statement_is_told_once_with_who_ran_it(bed: Bed, told: Told) -> None:
    observe(bed)
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
        "statement": "update book set title = title where id > 3",
    }


def test_whoever_writes_is_told_however_it_is_done(bed: Bed, told: Told) -> None:
    observe(bed)
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
    observe(bed)
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
    observe(bed)
    bed.application(f"update book set title = '{'é' * 3 * STATEMENT_MOST}' where id = 1")
    [found] = told()
    assert len(found["statement"]) == STATEMENT_MOST
    assert bed.owner("select length(title) from book where id = 1") == [(3 * STATEMENT_MOST,)]


def test_nothing_is_told_any_more_once_it_ends(bed: Bed, told: Told) -> None:
    observe(bed)
    observe(bed)
    observe(bed, on=False)
    bed.application("update book set title = title")
    assert told() == []
    observe(bed)
    bed.up()
    refused(bed.application_url, ["update book set title = title"])
    with pytest.raises(SyncError, match="the fence of shop-books is raised: nobody passes it"):
        observe(bed)
    bed.down()
    bed.application("update book set title = title")
    assert told() == []


def test_who_may_not_write_messages_is_not_observed(bed: Bed, told: Told) -> None:
    function = "select format('%s on function %s from', 'revoke execute', oid::regprocedure) from pg_proc"
    named = [text for (text,) in bed.superuser(f"{function} where proname = 'pg_logical_emit_message'")]
    bed.superuser(*(f"{each} public" for each in named))
    try:
        with pytest.raises(SyncError, match="grant execute on all functions named pg_logical_emit_message to public"):
            observe(bed)
        bed.application("update book set title = title")
    finally:
        bed.superuser(*(each.replace("revoke", "grant").replace(" from", " to public") for each in named))
