from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from strangler import jobs
from strangler.capability import SetReads
from strangler.ledger import Change, Publisher
from strangler.sync import backfill
from tests.fixtures.copying import MAPPINGS, Library
from tests.fixtures.waiting import until
from tests.integration.strangler.sync.test_backfill import COPIED, EXPECTED


@pytest.fixture
def project_file(library: Library, tmp_path: Path) -> Path:
    """The library's project as the files that a worker reads."""
    control = library.project.control
    folder = tmp_path / "migrations" / "books"
    folder.mkdir(parents=True)
    (folder / "capability.toml").write_text('service = "books"\n[[route]]\npath = "/books"\n')
    (folder / "mapping.toml").write_text("".join(map(_table, MAPPINGS)))
    (tmp_path / "env").write_text(
        f"SOURCE={library.source}\nTARGET={library.target}\nCONTROL={control.database.reveal()}\n"
        f"REDIS={control.redis.reveal()}\nSECRET={control.secret.reveal()}\n"
    )
    file = tmp_path / "strangler.toml"
    file.write_text(
        'env_file = "env"\n[monolith]\nendpoints = ["http://127.0.0.1:1"]\ndatabase = "$SOURCE"\n'
        '[control]\ndatabase = "$CONTROL"\nredis = "$REDIS"\nsecret = "$SECRET"\n[proxy]\nstate = "proxy"\n'
        '[service.books]\nendpoints = ["http://127.0.0.1:2"]\ndatabase = "$TARGET"\n'
    )
    (tmp_path / "proxy").mkdir()
    return file


def _table(mapping: object) -> str:
    from strangler.project import TableMapping

    assert isinstance(mapping, TableMapping)
    pairs = "\n".join(f"{column} = '''{expression}'''" for column, expression in mapping.forward.items())
    key = ", ".join(f'{target} = "{source}"' for target, source in mapping.key.items())
    where = f"where = '''{mapping.where}'''\n" if mapping.where else ""
    return (
        f'[[table]]\nsource = "{mapping.source}"\ntarget = "{mapping.target}"\nkey = {{ {key} }}\n{where}'
        f"[table.forward]\n{pairs}\n"
    )


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
    run = backfill.prepare(files, project, replace=False, chunk_rows=40)
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
