"""What a monolith tells of how far its database has written, in front of a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from strangler.sync.pgoutput import Commit, Decoder, lsn_of
from tests.fixtures.fenced import Bed
from tests.integration.strangler_django.test_fence import posted


def told_by(answer: dict[str, Any]) -> str | None:
    position: str | None = answer["headers"].get("Strangler-Position")
    return position


@pytest.fixture
def committed(bed: Bed) -> Iterator[Callable[[], int]]:
    """Return where the last transaction that wrote a book ends, as a stream would have it."""
    with psycopg.connect(bed.superuser_url, autocommit=True) as connection:
        connection.execute("create publication causal for table book")
        connection.execute("select pg_create_logical_replication_slot('causal', 'pgoutput')")
        connection.execute("set synchronous_commit = on")

        def ask() -> int:
            # A slot gives what is flushed, and commits here are not waited for: with this one all before it are.
            connection.execute("select pg_logical_emit_message(true, 'tests', '')")
            rows = connection.execute(
                "select data from pg_logical_slot_get_binary_changes('causal', null, null, 'proto_version', '1',"
                " 'publication_names', 'causal')"
            ).fetchall()
            decoder = Decoder(1)
            events = [decoder.decode(bytes(data)) for (data,) in rows]
            return max(each.end_lsn for each in events if isinstance(each, Commit))

        yield ask
        connection.execute("select pg_drop_replication_slot('causal')")


@pytest.mark.parametrize(
    ("address", "atomic"), [("/books/3/", True), ("ASYNC /books/3/", True), ("/hand/", True), ("/hand/", False)]
)
def test_a_write_tells_a_position_past_its_commit(
    bed: Bed, committed: Callable[[], int], address: str, atomic: bool
) -> None:
    [answer] = posted(bed, address, atomic=atomic)
    position = told_by(answer)
    assert position is not None, answer
    now = lsn_of(bed.owner("select pg_current_wal_insert_lsn()::text")[0][0])
    assert committed() <= lsn_of(position) <= now


def test_what_wrote_nothing_tells_none_and_what_only_read_nothing(bed: Bed) -> None:
    answers = posted(bed, "GET /look/", "GET /count/", "/nothing/", "/look/", "ASYNC /nothing/")
    assert [each["status"] for each in answers] == [200] * 5
    look, count, nothing, looked, on_loop = [told_by(each) for each in answers]
    assert look is None
    assert count not in (None, "none")
    assert (nothing, on_loop) == ("none", "none")
    assert looked not in (None, "none")  # a function that it calls may have written


def test_a_refused_and_a_failed_write_tell_a_position_too(bed: Bed) -> None:
    bed.up()
    [refused] = posted(bed, "/books/3/")
    assert (refused["status"], told_by(refused)) != (503, "none")
    bed.down()
    failed = posted(bed, "/books/4/", "/books/4/")[1]
    assert (failed["status"], told_by(failed) in (None, "none")) == (500, False)
