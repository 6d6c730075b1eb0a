"""A shopper at work while both capabilities' streams are begun anew, and while the owner of the reviews moves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any, Final

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, Locator, expect

from strangler.capability import Stack
from strangler.cli.verify import warn, watched
from strangler.cutover import moving
from strangler.cutover.conductor import Moved, Performed
from strangler.cutover.protocol import End, Step
from strangler.ledger import Publisher
from strangler.project import load
from strangler.sync.syncing import Asked
from tests.chaos.traffic import Traffic
from tests.e2e.family import ADMIN, PROXY, Demo, copied, environment, free_base
from tests.e2e.shopping import browse, buy, fill_in, log_in, read_api, review, take_back
from tests.fixtures.browser import Visit, visit
from tests.fixtures.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MOVED: Final = ("catalog", "reviews")
WORDS: Final = "Written while it streams"
READS: Final = {"a product": "/api/catalog/products/77/", "its reviews": "/api/reviews/?product=77&page_size=1"}
WRITTEN: Final = "select id, body, deleted_at from reviews_review where title = %s order by id"
ENDED_S: Final = 10
WAITING_S: Final = 8.0
PAUSE_S: Final = 9.5
LOOK_MS: Final = 20
ANEW_S: Final = 300
MOVED_S: Final = 60


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
    """End and begin the streams of both capabilities, and copy their tables; nobody reads at their services then."""
    for name in MOVED:
        said(demo, "set", name, "--reads", "0%", "--reason", "anew")
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

        def at_work() -> bool:
            review(visitor, path, WORDS, seen.add)
            read_api(visitor, 1)
            assert {each["capability"] for each in streams(demo)} == set(MOVED)
            return done.done()

        until(at_work, "both are begun anew", ANEW_S)
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
    assert kept(demo, "REVIEWS_OWNER_DATABASE_URL", WORDS) == 1, "the last review stands, those before are taken back"


def kept(demo: Demo, database: str, words: str) -> int:
    """Return how many of a shopper's reviews stand in a database."""
    return [deleted for _, _, deleted in written(demo, database, words)].count(None)


def written(demo: Demo, database: str, words: str = WORDS) -> list[Any]:
    """Return what a database has of the shopper's reviews."""
    with psycopg.connect(variables(demo)[database]) as connection:
        return connection.execute(WRITTEN, [words]).fetchall()


class Mover:
    """Moves the owner of the reviews in a thread, and waits in the pause until a write waits at the proxy."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self.paused = Event()
        self.write_waited = False

    def move(self, to: Stack) -> Moved:
        project = load(self._demo.folder / "strangler.toml")
        asked = Asked(capability="reviews", who="test", reason="a shopper writes")
        with Publisher.open(project) as publisher:
            return moving.move(
                asked,
                to,
                project,
                publisher,
                told=self._told,
                measured=lambda found: None,
                tell=warn,
                watch=watched,
                pause_s=PAUSE_S,
                unobserved=True,
            )

    def _told(self, step: Performed) -> None:
        if step.step is Step.HOLD:
            self.paused.set()
            until(self._holds_one, "the shopper's write waits at the proxy", WAITING_S)
            self.write_waited = True

    def _holds_one(self) -> bool:
        metrics = httpx.get(f"http://127.0.0.1:{self._demo.base + ADMIN}/metrics").text
        return 'strangler_proxy_held{capability="reviews"} 1.0' in metrics


def send_during_a_move(demo: Demo, to: Stack, visitor: Visit, path: str, words: str) -> None:
    """Fill in a review of the product at ``path``, and send it while writes wait for the owner to move."""
    take_back(visitor, path)
    form = fill_in(visitor, path, words)
    mover = Mover(demo)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(mover.move, to)
        until(lambda: mover.paused.is_set() or done.done(), "writes wait", 30)
        send(form)

        def looked() -> bool:
            visitor.page.wait_for_timeout(LOOK_MS)  # of each of its requests the browser asks this thread
            return done.done()

        until(looked, "the owner has moved", MOVED_S)
        moved = done.result()
    assert moved.end is End.MOVED
    assert moved.owner is to
    assert mover.write_waited


def send(form: Locator) -> None:
    """Send a form as a click on its button does, without waiting for what comes of it."""
    form.evaluate("form => form.requestSubmit()")


def test_a_review_that_is_sent_while_the_owner_moves_is_saved_once_and_seen_at_once(
    browser: Browser, demo: Demo
) -> None:
    begin_anew(demo)
    visitor = visit(browser, demo.url(""))
    path = browse(visitor, lambda what: None)
    log_in(visitor, "bob", lambda what: None)
    for number, to in enumerate((Stack.SERVICE, Stack.MONOLITH)):
        words = f"{WORDS} {number}"
        send_during_a_move(demo, to, visitor, path, words)
        visitor.page.wait_for_url("**/en/reviews/of/**")
        seen = visitor.page.locator("article.review", has=visitor.page.get_by_role("heading", name=words))
        expect(seen).to_have_count(1)
        expect(seen.locator("img").first).to_have_js_property("naturalWidth", 64)
        databases = ("SHOP_DATABASE_URL", "REVIEWS_OWNER_DATABASE_URL")
        for name in databases:
            until(lambda: kept(demo, name, words) == 1, f"it is in {name} once", 10)  # noqa: B023
        # Who wrote it sees it with its photo whichever side owns: after the rollback what the service saved is there.
        visitor.page.reload()
        expect(seen.locator("img").first).to_have_js_property("naturalWidth", 64)
    assert visitor.complaints == []
