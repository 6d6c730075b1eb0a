"""How often a stream applies what trickles in."""

from __future__ import annotations

import time

import psycopg
import pytest

from strangler.sync import stream
from strangler.sync.intake import MARKER
from tests.fixtures.streams import Pair, Paired, table
from tests.fixtures.waiting import until

pytestmark = pytest.mark.interpreted  # what is compiled goes by its own constants

NOTES = "create table note (id bigint primary key, line text not null)"
NOTE = table("note", "note", {"id": "id"}, {"line": "line"}, reverse={"line": "line"})
LONG_S = 3_600.0
SHORT_S = 0.5


@pytest.fixture
def notes(pair: Paired) -> Pair:
    return pair(NOTES, NOTES, NOTE)


def test_a_first_change_comes_at_once_and_a_marker_does_not_wait_for_the_pace(
    notes: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_PACE_S", LONG_S)
    notes.start()
    until(lambda: beats(notes), "a heartbeat has come")
    notes.source("insert into note values (1, 'first')")
    until(lambda: ids(notes) == [1], "the first change has come")
    notes.source("insert into note values (2, 'second')")
    notes.source(f"select pg_logical_emit_message(true, '{MARKER}', '{notes.forward.capability} 5')")
    until(lambda: ids(notes) == [1, 2], "the marker has come, and what is before it")
    notes.stop()


def test_what_trickles_in_is_applied_in_few_transactions(notes: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PACE_S", SHORT_S)
    notes.start()
    until(lambda: beats(notes), "a heartbeat has come")
    began = time.monotonic()
    with psycopg.connect(notes.forward.source_url, autocommit=True) as source:
        for number in range(100):
            source.execute("insert into note values (%s, '')", [number])
    until(lambda: len(ids(notes)) == 100, "all have come")
    transactions = notes.target("select count(distinct xmin::text) from note")[0][0]
    assert transactions <= (time.monotonic() - began) / SHORT_S + 2
    notes.stop()


def beats(pair: Pair) -> list[tuple[int]]:
    query = f"select 1 from strangler_sync.stream where name = '{pair.forward.name}' and heartbeat_at is not null"
    return pair.target(query)


def ids(pair: Pair) -> list[int]:
    return [number for (number,) in pair.target("select id from note order by id")]
