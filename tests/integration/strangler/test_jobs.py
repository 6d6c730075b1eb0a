from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from strangler import jobs
from strangler.capability import SetReads
from strangler.ledger import Change, Publisher
from strangler.sync import backfill
from tests.fixtures.copying import Library
from tests.fixtures.waiting import until
from tests.integration.strangler.sync.test_backfill import COPIED, EXPECTED


@contextmanager
def worker(project_file: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "celery", "--app", "strangler.jobs:celery_app", "worker"]
    log = project_file.parent / "worker.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, "--concurrency", "2", "--loglevel", "info", *options],
            env={**os.environ, "STRANGLER_PROJECT": str(project_file), "PYTHONWARNINGS": "ignore"},
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd=project_file.parent,
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_worker_that_is_killed_midway_costs_nothing(library: Library, project_file: Path) -> None:
    project, files = library.project, library.project.capabilities["books"]
    run = backfill.prepare(files, project, replace=False, chunk_rows=120)
    submit = jobs.submitter(project)
    with worker(project_file) as first:
        for progress in backfill.follow(project, run, submit):
            if 0 < progress.chunks_done < progress.chunks:
                os.killpg(first.pid, signal.SIGKILL)
                first.wait()
                break
    with worker(project_file):
        for progress in backfill.follow(project, run, submit):
            assert progress.rows_done <= progress.rows
    backfill.prove(files, project, run)
    assert library.rows(library.target, COPIED) == library.rows(library.source, EXPECTED)


def test_beat_repairs_a_push_that_was_lost(library: Library, project_file: Path) -> None:
    with Publisher.open(library.project) as publisher:
        with psycopg.connect(library.project.control.database.reveal()) as control:
            control.execute("update strangler.capability set state = jsonb_set(state, '{data}', '\"none\"')")
        lost = publisher.ledger.apply(Change(capability="books", command=SetReads(share=1), who="a", reason="b"))
        assert publisher.broker.version() < lost.version
        with worker(project_file, "--beat"):
            until(lambda: publisher.broker.version() == lost.version, "the broker is level again", seconds=30)
