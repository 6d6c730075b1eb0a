"""What the sync is compared with: two psql in a pipe, PostgreSQL's own subscription, and reladiff.

psql, pgbench and the subscription are those of the servers' own release. reladiff is installed into an environment of
its own, ``build/peers-sync``, when it is first asked for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from strangler.local import Postgres, dies_with_parent
from tests.bench.sync_bed import Bed

ROOT: Final = Path(__file__).parents[2]
_VENV: Final = ROOT / "build" / "peers-sync"
_LOCK: Final = ROOT / "requirements-bench.lock"
_PATIENCE_S: Final = 300
SLOT: Final = "peer"
"""Of the subscription, and its publication's name, too."""


def surroundings(server: Postgres) -> dict[str, str]:
    """Return the environment in which PostgreSQL's programs find ``server``: no password is in a command line."""
    at = conninfo_to_dict(server.url("shop"))
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    return {**os.environ, **{name: str(at[key]) for key, name in names.items()}}


# --- psql ---


def pipe(bed: Bed) -> float:
    """Copy all orders as they are, by one psql into another; return the seconds."""
    psql = [bed.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c"]
    began = time.perf_counter()
    with subprocess.Popen(
        [*psql, r"\copy purchase to pstdout"], stdout=subprocess.PIPE, env=surroundings(bed.source)
    ) as out:
        command = [*psql, r"\copy purchase from pstdin"]
        done = subprocess.run(command, stdin=out.stdout, env=surroundings(bed.target), check=True, timeout=_PATIENCE_S)
    seconds = time.perf_counter() - began
    assert (out.returncode, done.returncode) == (0, 0)
    return seconds


# --- the subscription ---


def subscribe(bed: Bed) -> None:
    """Make a subscription to the orders, as they are, that does not apply yet. Both sides must be equal."""
    bed.run(bed.source, "create publication peer for table purchase")
    statement = sql.SQL(
        "create subscription peer connection {} publication peer"
        " with (copy_data = false, create_slot = true, enabled = false)"
    ).format(sql.Literal(bed.source.url("shop")))
    with psycopg.connect(bed.target.url("shop"), autocommit=True) as connection:
        connection.execute(statement)


def unsubscribe(bed: Bed) -> None:
    bed.run(bed.target, "alter subscription peer disable")
    bed.run(bed.target, "drop subscription peer")
    bed.run(bed.source, "drop publication peer")


# --- a reader that does nothing with it ---


@contextmanager
def receiving(bed: Bed, core: int) -> Iterator[int]:
    """Have pg_recvlogical read the changes of the orders, on ``core``, and write them nowhere; yield its number."""
    bed.run(bed.source, "create publication peer for table purchase")
    bed.run(bed.source, "select pg_create_logical_replication_slot(%s, 'pgoutput')", SLOT)
    command = [bed.program("pg_recvlogical"), "--slot", SLOT, "--start", "--file", os.devnull]
    options = ["--option", "proto_version=1", "--option", f"publication_names={SLOT}", "--dbname", "shop"]
    try:
        with subprocess.Popen(
            [*dies_with_parent("TERM"), *command, *options],
            env=surroundings(bed.source),
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        ) as process:
            try:
                yield process.pid
                assert process.poll() is None, "pg_recvlogical has ended"
            finally:
                process.terminate()
    finally:
        bed.run(bed.source, "select pg_drop_replication_slot(%s)", SLOT)
        bed.run(bed.source, "drop publication peer")


# --- reladiff ---


def reladiff(bed: Bed, columns: tuple[str, ...]) -> float:
    """Compare the orders with the orders as the target has them; return the seconds."""
    command = [str(_installed()), str(Path(__file__).with_name("reladiff_peer.py")), "purchase", "id", *columns]
    env = {**os.environ, "SOURCE_URL": bed.source.url("shop"), "TARGET_URL": bed.target.url("shop")}
    done = subprocess.run(command, env=env, check=True, capture_output=True, timeout=_PATIENCE_S)
    found: Mapping[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert found["different"] == 0, f"reladiff finds {found['different']} rows to differ"
    return found["seconds"]


def _installed() -> Path:
    python = _VENV / "bin" / "python"
    if not (_VENV / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(_VENV)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "--requirement", str(_LOCK)], check=True)
        (_VENV / ".ready").touch()
    return python
