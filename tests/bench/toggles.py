"""How long a toggle takes from the command to the acknowledgement of the last live worker, under traffic.

A ledger in PostgreSQL, Valkey, and a real proxy with two workers in front of an origin that requests are sent to the
whole time. The command is ``Publisher.change``, as the command line calls it, on a connection that is open.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Final

import httpx
import psycopg

from strangler.capability import SetReads
from strangler.ledger import Change, Publisher
from strangler.local import Postgres, Valkey, ensure_database, ensure_role
from strangler.project import Project, load
from tests.bench.row import Row
from tests.chaos.traffic import Traffic
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until

TOGGLES: Final = 600
BOUND_MS: Final = 100.0
_WORD: Final = "a word for measurements only, 32 bytes and more"


def measure() -> list[Row]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="strangler-bench-")))
        project = stack.enter_context(_family(folder))
        port = int(project.proxy.listen[0].rpartition(":")[2])
        traffic = stack.enter_context(Traffic(port=port, kinds={"origin": "/search"}))
        publisher = stack.enter_context(Publisher.open(project))
        milliseconds = [_toggle(publisher, project, number) for number in range(TOGGLES)]
        failed = [outcome for outcome in traffic.outcomes if outcome.failure]
    assert not failed, f"{len(failed)} of {traffic.count()} requests failed: {failed[0]}"
    cuts = quantiles(milliseconds, n=100)
    figures = {"p50": cuts[49], "p99": cuts[98], "max": max(milliseconds)}
    return [_row(name, figure) for name, figure in figures.items()]


def _toggle(publisher: Publisher, project: Project, number: int) -> float:
    command = SetReads(share=1 + number % 9_999)
    change = Change(capability="search", command=command, who="bench", reason=f"toggle {number}")
    _, acknowledgement = publisher.change(change, project)
    assert acknowledgement.workers == 2
    return acknowledgement.ms


def _row(name: str, figure: float) -> Row:
    return Row(
        name=f"toggle to last acknowledgement, {name} of {TOGGLES}",
        unit="ms",
        ours=round(figure, 2),
        peer=BOUND_MS,
        peer_name="the bound for p99",
        ratio=round(BOUND_MS / figure, 2),
        target=1.0 if name == "p99" else 0.0,
        met=name != "p99" or figure < BOUND_MS,
    )


@contextmanager
def _family(folder: Path) -> Iterator[Project]:
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(folder=folder / "postgres", port=free_port()))
        valkey = stack.enter_context(Valkey(folder=folder / "valkey", port=free_port()))
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            ensure_role(connection, "strangler", _WORD)
            ensure_database(connection, "strangler", "strangler")
        origin = free_port()
        stack.enter_context(_process("-m", "tests.bench.servers", "origin", str(origin)))
        file = _project(folder, postgres.url("strangler", "strangler", _WORD), valkey.url, origin)
        project = load(file)
        with Publisher.open(project) as publisher:
            publisher.enrol(project, who="bench", reason="bench", wait_s=None)
        stack.enter_context(_process("-m", "strangler", "--project", str(file), "proxy"))
        until(lambda: _ready(project), "the proxy is ready", 20)
        yield project


def _project(folder: Path, database: str, redis: str, origin: int) -> Path:
    (folder / "env").write_text(f"DATABASE={database}\nREDIS={redis}\nSECRET={_WORD}\n")
    (folder / "migrations" / "search").mkdir(parents=True)
    (folder / "migrations" / "search" / "capability.toml").write_text(
        'service = "search"\n[[route]]\npath = "/search"\n'
    )
    file = folder / "strangler.toml"
    file.write_text(
        f'env_file = "env"\n[monolith]\nendpoints = ["http://127.0.0.1:{origin}"]\n'
        '[control]\ndatabase = "$DATABASE"\nredis = "$REDIS"\nsecret = "$SECRET"\n'
        f'[proxy]\nlisten = ["127.0.0.1:{free_port()}"]\nadmin = "127.0.0.1:{free_port()}"\nworkers = 2\n'
        f'[service.search]\nendpoints = ["http://127.0.0.1:{origin}"]\n'
    )
    return file


@contextmanager
def _process(*words: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(15)


def _ready(project: Project) -> bool:
    try:
        return httpx.get(f"http://{project.proxy.admin}/health/ready", timeout=1).is_success
    except httpx.HTTPError:
        return False
