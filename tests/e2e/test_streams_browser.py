"""Both capabilities' streams are begun anew while a shopper, readers and the shop's own work go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import pytest
from playwright.sync_api import Browser

from tests.chaos.traffic import Traffic
from tests.e2e.family import PROXY, Demo, copied, environment, free_base
from tests.e2e.shopping import browse, buy, log_in, read_api, review
from tests.fixtures.browser import visit
from tests.fixtures.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MOVED: Final = ("catalog", "reviews")
WORDS: Final = "Written while it streams"
READS: Final = {"a product": "/api/catalog/products/77/", "its reviews": "/api/reviews/?product=77&page_size=1"}
WRITTEN: Final = "select id, body, deleted_at from reviews_review where title = %s order by id"
ENDED_S: Final = 10


@pytest.fixture(scope="module")
def demo(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(copied(tmp_path_factory.mktemp("demo")), free_base()) as running:
        yield running


def variables(demo: Demo) -> dict[str, str]:
    """Return what the demo has written down for whoever stands beside it."""
    lines = (demo.folder / ".local" / "demo.env").read_text().splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines) if value}


@contextmanager
def working(demo: Demo) -> Iterator[None]:
    """Have the shop's own work go on: prices, stock, names, reviews and votes change."""
    known = variables(demo)
    settings = {
        "DATABASE_URL": known["SHOP_DATABASE_URL"],
        "SECRET_KEY": known["DJANGO_SECRET_KEY"],
        "STRANGLER_IDENTITY_SECRET": known["IDENTITY_SECRET"],
        "MESSAGES_KEY": known["MESSAGES_KEY"],
    }
    writer = subprocess.Popen(
        [sys.executable, "manage.py", "bustle", "--rate", "20"],
        cwd=demo.folder / "legacy_monolith",
        env={**environment(), **settings},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
        assert writer.poll() is None, "the shop's work has ended before its time"
        writer.send_signal(signal.SIGTERM)
        assert writer.wait(ENDED_S) == 0
    finally:
        writer.kill()
        writer.wait()


def said(demo: Demo, *words: str) -> str:
    done = demo.run(*words)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def begin_anew(demo: Demo) -> None:
    """End and begin the streams of both capabilities, and copy their tables."""
    for name in MOVED:
        said(demo, "sync", "remove", name, "--reason", "anew")
        said(demo, "sync", "start", name, "--replace", "--reason", "anew")
        said(demo, "sync", "backfill", name)


def streams(demo: Demo) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said(demo, "sync", "status", "--json"))
    return found


def test_streams_begin_anew_unnoticed_and_bring_what_the_shopper_wrote(browser: Browser, demo: Demo) -> None:
    seen: set[str] = set()
    visitor = visit(browser, demo.url(""))
    with Traffic(port=demo.base + PROXY, kinds=READS) as readers, ThreadPoolExecutor(1) as pool, working(demo):
        done: Future[None] = pool.submit(begin_anew, demo)
        path = browse(visitor, seen.add)
        log_in(visitor, "ann", seen.add)
        buy(visitor, path, seen.add)
        while not done.done():
            review(visitor, path, WORDS, seen.add)
            read_api(visitor, 1)
            assert {each["capability"] for each in streams(demo)} == set(MOVED)
        done.result()
        until(lambda: all(each["forward"]["follows"] for each in streams(demo)), "both follow", 20)
        assert all(each["reverse"]["follows"] for each in streams(demo)), "the way back is open"
        for name in MOVED:
            said(demo, "sync", "verify", name)
        said(demo, "set", "catalog", "--reads", "100%", "--reason", "streamed")
        assert len(read_api(visitor, 5)) == 1
        visitor.go(path)
    assert visitor.complaints == []
    assert [each for each in readers.outcomes if each.failure is not None] == []
    assert {each.kind for each in readers.outcomes} == READS.keys()
    here, there = (written(demo, name) for name in ("SHOP_DATABASE_URL", "REVIEWS_OWNER_DATABASE_URL"))
    assert here == there
    assert [deleted for _, _, deleted in there].count(None) == 1, "the last review stands, those before are taken back"


def written(demo: Demo, database: str) -> list[Any]:
    """Return what a database has of the shopper's reviews."""
    with psycopg.connect(variables(demo)[database]) as connection:
        return connection.execute(WRITTEN, [WORDS]).fetchall()
