from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from strangler.capability import Data, Refused, SetReads
from strangler.ledger import Change, Publisher
from strangler.local import Postgres
from strangler.project import Project, Secret, TableMapping
from strangler.sync import backfill, load
from strangler.sync.copying import Copying, copy
from strangler.sync.errors import ChunkFailed, MappingInvalid, NotEmpty, SyncError, Unreachable
from strangler.sync.plan import Seen, Throttle
from tests.fixtures.copying import Library
from tests.fixtures.waiting import until

COPIED = """
select id, title, price_cents, tags, facts, cover, weight::text, printed::text, section, mark from title order by id
"""
EXPECTED = """
select id, name, (price * 100)::bigint, tags::text[], facts, cover, weight::text, printed::text, shelf, mark
from book where is_active order by id
"""


def run(project: Project, *, replace: bool = False, chunk_rows: int = 300) -> list[int]:
    asked = Copying(capability="books", who="ann", reason="trying", replace=replace, chunk_rows=chunk_rows)
    with Publisher.open(project) as publisher:
        return [progress.rows_done for progress in copy(asked, project, publisher)]


def state_data(project: Project) -> Data:
    with Publisher.open(project) as publisher:
        return publisher.ledger.state("books").data


def with_mappings(project: Project, *mappings: TableMapping) -> Project:
    books = replace(project.capabilities["books"], tables=mappings)
    return replace(project, capabilities={"books": books})


def test_every_row_arrives_as_the_projection_says(library: Library) -> None:
    seen = run(library.project)
    assert library.rows(library.target, COPIED) == library.rows(library.source, EXPECTED)
    assert library.rows(library.target, "select * from sold order by shop, number") == library.rows(
        library.source, "select * from sale order by shop, number"
    )
    assert seen == sorted(seen)
    assert seen[-1] == 2273 + 20 + 1200


def test_the_state_says_snapshot_with_the_time_of_the_start(library: Library) -> None:
    [(before,)] = library.rows(library.source, "select clock_timestamp()")
    run(library.project)
    with Publisher.open(library.project) as publisher:
        state = publisher.ledger.state("books")
        [entry] = publisher.ledger.history("books", limit=1)
    assert (state.data, entry.command) == (Data.SNAPSHOT, "snapshot")
    assert state.data_at is not None
    assert before <= state.data_at <= entry.at  # type: ignore[operator]  # a timestamptz


def test_a_run_that_was_cut_short_is_carried_on_and_copies_each_row_once(library: Library) -> None:
    project, files = library.project, library.project.capabilities["books"]
    number = backfill.prepare(files, project, replace=False, chunk_rows=300)
    for chunk in (0, 2, 5):
        assert backfill.copy_chunk(project, number, chunk) is not None
    assert backfill.prepare(files, project, replace=False) == number
    run(project)
    assert library.rows(library.target, COPIED) == library.rows(library.source, EXPECTED)


def test_a_chunk_that_was_written_but_not_recorded_is_not_doubled(library: Library) -> None:
    project, files = library.project, library.project.capabilities["books"]
    number = backfill.prepare(files, project, replace=False, chunk_rows=300)
    assert backfill.copy_chunk(project, number, 0) == 20
    with psycopg.connect(project.control.database.reveal()) as control:
        control.execute("update strangler.backfill_chunk set done_at = null, rows = null where number = 0")
    with psycopg.connect(library.target) as target:
        target.execute("delete from section where code like '%7'")
    assert backfill.copy_chunk(project, number, 0) == 20
    assert backfill.copy_chunk(project, number, 0) is None


def test_a_chunk_that_somebody_copies_is_left_to_them(library: Library) -> None:
    project, files = library.project, library.project.capabilities["books"]
    number = backfill.prepare(files, project, replace=False)
    with psycopg.connect(project.control.database.reveal()) as other:
        other.execute("select from strangler.backfill_chunk where run = %s and number = 0 for update", [number])
        assert backfill.copy_chunk(project, number, 0) is None
    assert backfill.copy_chunk(project, number, 0) == 20


def test_tables_that_hold_rows_are_not_touched_unless_told(library: Library) -> None:
    with psycopg.connect(library.target) as target:
        target.execute("insert into section values ('own', 'mine')")
    with pytest.raises(NotEmpty, match="section holds rows already; --replace empties"):
        run(library.project)
    assert library.rows(library.target, "select code from section") == [("own",)]
    run(library.project, replace=True)
    assert library.rows(library.target, COPIED) == library.rows(library.source, EXPECTED)


def test_a_second_copy_wants_to_be_told_and_is_absent_meanwhile(library: Library) -> None:
    run(library.project)
    with pytest.raises(NotEmpty, match="has a snapshot of"):
        run(library.project)
    asked = Copying(capability="books", who="ann", reason="again", replace=True, chunk_rows=300)
    with Publisher.open(library.project) as publisher:
        steps = copy(asked, library.project, publisher)
        next(steps)
        assert state_data(library.project) is Data.ABSENT
        for _ in steps:
            pass
    assert state_data(library.project) is Data.SNAPSHOT


def test_no_copy_is_made_under_readers(library: Library) -> None:
    run(library.project)
    with Publisher.open(library.project) as publisher:
        command = SetReads(share=100, allow_stale=True)
        publisher.change(Change(capability="books", command=command, who="a", reason="b"), library.project)
    with pytest.raises(Refused, match="set reads to 0 first"):
        run(library.project, replace=True)


def test_rows_that_somebody_else_wrote_are_noticed(library: Library) -> None:
    project, files = library.project, library.project.capabilities["books"]
    number = backfill.prepare(files, project, replace=False)
    list(backfill.copy_here(project, number))
    with psycopg.connect(library.target) as target:
        target.execute("insert into section values ('own', 'mine')")
    with pytest.raises(SyncError, match="section holds 21 rows where 20 were copied"):
        backfill.prove(files, project, number)


def test_a_value_that_does_not_fit_is_not_told(library: Library) -> None:
    first, section, *rest = library.project.capabilities["books"].tables
    numbered = replace(section, forward={"title": "label::integer::text"})
    with pytest.raises(ChunkFailed, match=r'section, .*: invalid input syntax for type integer: "…"$'):
        run(with_mappings(library.project, first, numbered, *rest))


def test_a_row_that_does_not_fit_is_named_by_its_table_and_range(library: Library) -> None:
    with psycopg.connect(library.source) as source:
        source.execute("update shelf set label = null where code = 'shelf 7'")
    with pytest.raises(ChunkFailed, match='section, the first key up to the last: null value in column "title"'):
        run(library.project)
    with psycopg.connect(library.source) as source:
        source.execute("update shelf set label = 'again' where code = 'shelf 7'")
    run(library.project)
    assert state_data(library.project) is Data.SNAPSHOT


def test_a_mapping_that_does_not_fit_is_told_whole_before_anything_is_copied(library: Library) -> None:
    broken = with_mappings(
        library.project,
        TableMapping(
            source="shelf",
            target="section",
            key={"code": "label"},
            forward={"title": "label", "colour": "'red'"},
            reverse={"name": "title"},
        ),
        TableMapping(
            source="book",
            target="title",
            key={"id": "id"},
            forward={
                "title": "nome",
                "price_cents": "jsonb_build_array(price)",
                "tags": "tags",
                "facts": "facts",
                "search": "name",
            },
            reverse={},
            where="activ",
        ),
        TableMapping(source="vanished", target="nowhere", key={"id": "id"}, forward={}, reverse={}),
    )
    with pytest.raises(MappingInvalid) as caught:
        run(broken)
    text = [problem.removeprefix("mapping.toml: ") for problem in caught.value.problems]
    assert text == [
        "shelf → section: forward column colour is not in section (it has code, title)",
        "shelf → section: reverse column name is not in shelf (it has code, label)",
        "shelf → section: key label is not unique and NOT NULL in shelf; use its primary key",
        "book → title: forward column search is generated by title itself; leave it out",
        "book → title: title.mark must have a value and gets none; add it to the mapping",
        "vanished → nowhere: the source has no table vanished that this role may see; mend its name or grant SELECT",
        "vanished → nowhere: the target has no table nowhere that this role may see; run the service's SQL files",
    ]
    assert library.rows(library.target, "select count(*) from section") == [(0,)]


def test_expressions_that_the_source_refuses_are_all_named(library: Library) -> None:
    forward = {**library.project.capabilities["books"].tables[0].forward, "title": "nome", "printed": "price"}
    broken = with_mappings(
        library.project, replace(library.project.capabilities["books"].tables[0], forward=forward, where="activ")
    )
    with pytest.raises(MappingInvalid) as caught:
        run(broken)
    assert [problem.removeprefix("mapping.toml: public.book → title: ") for problem in caught.value.problems] == [
        "forward title = 'nome' does not give text: column \"nome\" does not exist",
        "forward printed = 'price' does not give date: cannot cast type numeric to date",
        "where = 'activ' is no condition: column \"activ\" does not exist",
    ]


def test_a_mapping_that_changed_since_is_not_carried_on(library: Library) -> None:
    backfill.prepare(library.project.capabilities["books"], library.project, replace=False)
    first, *rest = library.project.capabilities["books"].tables
    changed = with_mappings(library.project, replace(first, where=None), *rest)
    with pytest.raises(SyncError, match="planned for another mapping"):
        backfill.prepare(changed.capabilities["books"], changed, replace=False)


def test_a_database_that_does_not_answer_is_named_without_its_password(library: Library) -> None:
    away = Secret(value="postgresql://someone:hidden@127.0.0.1:1/gone")
    project = replace(library.project, monolith=replace(library.project.monolith, database=away))
    with pytest.raises(Unreachable, match="the monolith's database does not answer") as caught:
        run(project)
    assert "hidden" not in str(caught.value)


def test_rows_written_while_it_runs_do_not_disturb_it(library: Library) -> None:
    project, files = library.project, library.project.capabilities["books"]
    number = backfill.prepare(files, project, replace=False, chunk_rows=300)
    with psycopg.connect(library.source, autocommit=True) as source:
        for progress in backfill.copy_here(project, number):
            source.execute(
                "insert into book (name, price, tags, facts, is_active) values (%s, 1, '{}', '{}', true)",
                [f"late {progress.chunks_done}"],
            )
    backfill.prove(files, project, number)


def test_a_throttled_copy_takes_its_time_and_copies_all(library: Library) -> None:
    throttle = Throttle(rows_per_s=3_000)
    asked = Copying(capability="books", who="ann", reason="trying", chunk_rows=300, throttle=throttle)
    began = time.monotonic()
    with Publisher.open(library.project) as publisher:
        *_, last = copy(asked, library.project, publisher)
    assert last.rows_done == 2273 + 20 + 1200
    assert time.monotonic() - began > 0.9 * (last.rows_done - 2 * 300) / 3_000


@contextmanager
def at_work(postgres: Postgres, sessions: int) -> Iterator[None]:
    """So many sessions of somebody else have written, and not committed yet."""
    with ExitStack() as stack:
        for number in range(sessions):
            other = stack.enter_context(psycopg.connect(postgres.url()))
            other.execute(f"create table at_work_{number} (id int)".encode())
            stack.callback(other.rollback)
        yield


def test_a_copy_waits_while_more_sessions_are_at_work_on_the_source(library: Library, postgres: Postgres) -> None:
    asked = Copying(capability="books", who="ann", reason="trying", chunk_rows=300, throttle=Throttle(busy=1))
    with Publisher.open(library.project) as publisher, ExitStack() as stack:
        stack.enter_context(at_work(postgres, 2))
        waits = 0
        for progress in copy(asked, library.project, publisher):
            if progress.waits is not None:
                assert (progress.waits, progress.rows_done) == ("source has 2 active sessions, at most 1", 0)
                waits += 1
            if waits == 3:
                stack.close()
    assert waits >= 3
    assert progress.rows_done == 2273 + 20 + 1200


def test_what_is_handed_out_under_a_throttle_that_looks_is_little(library: Library) -> None:
    number = backfill.prepare(library.files, library.project, replace=False, chunk_rows=100)
    pace = backfill.Pace(throttle=Throttle(busy=8), look=lambda: Seen(busy=8))
    handed: list[int] = []
    most = 0
    for progress in backfill.follow(library.project, number, lambda _, chunk: handed.append(chunk), pace):
        most = max(most, len(handed) - progress.chunks_done)
        if len(handed) > progress.chunks_done:
            backfill.copy_chunk(library.project, number, handed[progress.chunks_done])
    assert (most, len(handed)) == (4, progress.chunks)


def test_anybody_sees_who_is_at_work_and_the_sync_does_not_count(library: Library, postgres: Postgres) -> None:
    with psycopg.connect(library.source, autocommit=True) as looking:
        assert load.busy(looking) == 0
        with at_work(postgres, 1), psycopg.connect(postgres.url(), application_name="strangler books forward") as ours:
            ours.execute("create table ours (id int)")
            assert load.busy(looking) == 1
            ours.rollback()
        with psycopg.connect(postgres.url(), autocommit=True) as other:

            def read() -> None:
                with suppress(psycopg.errors.QueryCanceled):
                    other.execute("select pg_sleep(30)")

            reading = threading.Thread(target=read)
            reading.start()
            until(lambda: load.busy(looking) == 1, "who only reads is at work, too")
            other.cancel_safe()
            reading.join(20)
        with psycopg.connect(postgres.url()) as idle:
            idle.execute("select 1")
            assert load.busy(looking) == 0


def test_ctrl_c_pauses_a_copy_and_the_same_command_goes_on(library: Library, project_file: Path) -> None:
    words = [sys.executable, "-m", "strangler", "--project", str(project_file), "sync", "backfill", "books", "--inline"]
    slow = subprocess.Popen(
        [*words, "--rows-per-second", "300"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A shell has what runs in its background ignore it, and so would all that this starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until(lambda: library.rows(library.target, "select count(*) > 0 from title") == [(True,)], "some are copied", 30)
    slow.send_signal(signal.SIGINT)
    _, said = slow.communicate(timeout=30)
    assert slow.returncode == 130, said
    paused = re.search(r"books: paused, ([0-9,]+) of 3,493 rows are copied; the same command goes on from there", said)
    assert paused is not None, said
    assert "books waits: at most 300 rows/s" in said
    assert 0 < int(paused[1].replace(",", "")) < 3_493
    rest = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (rest.returncode, "3,493 rows copied; the service holds a snapshot" in rest.stdout) == (0, True), rest
    assert library.rows(library.target, "select count(*) from title") == [(2273,)]
