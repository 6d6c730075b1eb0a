"""A demo of its own, traffic through its proxy, and one part killed after the other.

The control database stands in a cluster of its own, so that its death can be told from that of the stacks' database.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg

from strangler.local import Postgres, ensure_database, ensure_role
from tests.chaos.kills import Kill, kill
from tests.chaos.traffic import Traffic
from tests.e2e.family import ADMIN, Demo, copied, free_base
from tests.fixtures.ports import free_port

CATALOG, REVIEWS, ROBOTS = "catalog (service)", "reviews (monolith)", "robots.txt (monolith, no database)"
KINDS = {
    CATALOG: "/api/catalog/products/7/",
    REVIEWS: "/api/reviews/?product=7&page_size=1",
    ROBOTS: "/robots.txt",
}


def kills() -> Iterator[Kill]:
    """Start a family, kill its parts one after the other under traffic, and yield what each did."""
    folder = Path(tempfile.mkdtemp(prefix="strangler-chaos-"))
    try:
        with ExitStack() as stack:
            control = stack.enter_context(Postgres(folder=folder / "control", port=free_port()))
            stack.enter_context(_environment("STRANGLER_DATABASE_URL", _control_url(control)))
            demo = stack.enter_context(Demo(copied(folder / "demo", scale=0.1), free_base()))
            done = demo.run("set", "catalog", "--reads", "100%", "--allow-stale", "--reason", "chaos")
            assert done.returncode == 0, done.stderr
            yield from _kills(demo, control, stack.enter_context(Traffic(port=demo.base, kinds=KINDS)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kills(demo: Demo, control: Postgres, traffic: Traffic) -> Iterator[Kill]:
    for victim, words in (
        ("a proxy worker", ("strangler_proxy.worker",)),
        ("Valkey", ("valkey-server",)),
        ("the service", ("catalog_service", "serve")),
        ("the monolith", ("gunicorn",)),
        ("the stacks' PostgreSQL", ("bin/postgres", "-D")),
    ):
        process = demo.member(*words)
        yield from kill(victim, process, traffic, _replaced(demo, process, words))
    assert control.process is not None
    process = psutil.Process(control.process.pid)
    yield from kill("the ledger's PostgreSQL", process, traffic, _started_again(control))


def _replaced(demo: Demo, victim: psutil.Process, words: tuple[str, ...]) -> Callable[[], bool]:
    def replaced() -> bool:
        try:
            return demo.member(*words).pid != victim.pid and _is_ready(demo)
        except (AssertionError, psutil.Error):
            return False

    return replaced


def _started_again(control: Postgres) -> Callable[[], bool]:
    def again() -> bool:
        if control.process is not None and control.process.poll() is not None:
            control.start()
        return True

    return again


def _is_ready(demo: Demo) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{demo.base + ADMIN}/health/ready", timeout=2).is_success
    except httpx.HTTPError:
        return False


def _control_url(control: Postgres) -> str:
    word = secrets.token_urlsafe(16)
    with psycopg.connect(control.url(), autocommit=True) as connection:
        ensure_role(connection, "strangler", word)
        ensure_database(connection, "strangler", "strangler")
    return control.url("strangler", "strangler", word)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
