from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from celery import Celery

from strangler import jobs
from strangler.capability import SetReads
from strangler.ledger import Change, Publisher
from strangler.local import dies_with_parent
from strangler.project import Secret
from strangler.sync import backfill
from strangler.sync.errors import ChunkFailed, Unreachable
from tests.fixtures.copying import Library
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until
from tests.integration.strangler.sync.test_backfill import COPIED, EXPECTED


@contextmanager
def worker(project_file: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        *dies_with_parent("KILL"),
        sys.executable,
        "-m",
        "celery",
        "--app",
        "strangler.jobs:celery_app",
        "worker",
    ]
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


def test_a_chunk_that_something_blocks_is_given_up_and_says_so(library: Library, project_file: Path) -> None:
    project = library.project
    run = backfill.prepare(library.files, project, replace=False)
    celery = jobs.app(project)

    def submit(run: int, number: int) -> None:
        celery.send_task(jobs.COPY_CHUNK, [run, number], queue=jobs.QUEUE, soft_time_limit=1)

    with psycopg.connect(library.target) as blocker, worker(project_file):
        blocker.execute("lock table section")
        with pytest.raises(ChunkFailed, match=r"chunk 0: not copied within \d+ s; see what blocks it"):
            for _ in backfill.follow(project, run, submit):
                pass
        blocker.rollback()
        for _ in backfill.follow(project, run, jobs.submitter(project)):
            pass
    backfill.prove(library.files, project, run)


def test_a_broker_that_is_down_is_said_at_once_and_without_its_password(library: Library) -> None:
    away = Secret(value=f"redis://:hidden@127.0.0.1:{free_port()}/0")
    project = replace(library.project, control=replace(library.project.control, redis=away))
    run = backfill.prepare(library.files, library.project, replace=False)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"the broker does not answer: .*; start it, or copy with --inline") as caught:
        list(backfill.follow(project, run, jobs.submitter(project)))
    assert time.monotonic() - began < 10
    assert "hidden" not in str(caught.value)


def test_its_tasks_are_no_other_application_s(library: Library) -> None:
    for _ in range(2):
        jobs.app(library.project)
    assert not {jobs.COPY_CHUNK, jobs.REPAIR} & set(Celery("another").tasks)
    assert {jobs.COPY_CHUNK, jobs.REPAIR} <= set(jobs.app(library.project).tasks)
