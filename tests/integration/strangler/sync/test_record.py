from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from strangler.sync import backfill, record
from strangler.sync.errors import ChunkFailed, SyncError
from tests.fixtures.copying import Library
from tests.fixtures.waiting import until

WAITS = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%given_up%'"


def control(library: Library) -> psycopg.Connection:
    return psycopg.connect(library.project.control.database.reveal(), autocommit=True)


def test_a_table_is_handed_out_only_when_its_parents_are_done(library: Library) -> None:
    run = backfill.prepare(library.files, library.project, replace=False, chunk_rows=300)
    seen = []
    with control(library) as connection:
        while waiting := record.next_chunks(connection, run):
            query = "select distinct target from strangler.backfill_chunk where run = %s and number = any(%s)"
            [(target,)] = connection.execute(query, [run, waiting]).fetchall()
            seen.append(target)
            for number in waiting:
                backfill.copy_chunk(library.project, run, number)
    assert sorted(seen) == ["section", "sold", "title"]
    assert seen.index("section") < seen.index("title")


def test_giving_a_run_up_waits_for_whoever_copies_and_leaves_nothing_to_claim(library: Library) -> None:
    run = backfill.prepare(library.files, library.project, replace=False)
    with (
        control(library) as worker,
        control(library) as other,
        control(library) as watcher,
        ThreadPoolExecutor(1) as pool,
    ):
        with worker.transaction():
            assert record.claim(worker, run, 0) is not None
            given_up = pool.submit(record.abandon, other, "books")
            until(lambda: watcher.execute(WAITS).fetchone() == (1,), "it waits for the claim")
            record.done(worker, run, 0, 20)
        given_up.result(10)
        assert record.claim(worker, run, 1) is None
        with pytest.raises(SyncError, match=f"copy {run} was given up for a newer one"):
            record.progress(worker, run, 0, None)


def test_two_copies_begun_at_once_are_one(library: Library) -> None:
    with control(library) as connection:
        record.begin(connection, "books", "a digest", [])
        with pytest.raises(SyncError, match="a copy of books was begun just now by somebody else"):
            record.begin(connection, "books", "a digest", [])


def test_a_worker_with_an_older_mapping_copies_nothing(library: Library) -> None:
    first, *rest = library.files.tables
    newer = replace(library.files, tables=(replace(first, where=None), *rest))
    run = backfill.prepare(newer, library.project, replace=False)
    with pytest.raises(ChunkFailed, match=r"a worker holds an older books/mapping\.toml than the copy was planned for"):
        backfill.copy_chunk(library.project, run, 0)
    assert library.rows(library.target, "select count(*) from section") == [(0,)]
    with control(library) as connection, pytest.raises(ChunkFailed, match="start the workers again"):
        record.raise_failure(connection, run)
