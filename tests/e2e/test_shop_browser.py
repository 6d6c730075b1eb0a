"""A shopper in a real browser, while the catalog's readers are moved under way."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from threading import Event
from typing import Self

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.family import CATALOG, Demo, copied, free_base
from tests.e2e.screenshots import photograph
from tests.e2e.shopping import administer, browse, buy, log_in, log_out, read_api, review, take_back, wish
from tests.fixtures.browser import PHONE, Visit, visit
from tests.fixtures.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def demo(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(copied(tmp_path_factory.mktemp("demo"), scale=0.1), free_base()) as running:
        yield running


def unseen(name: str) -> None:
    return None


def set_reads(demo: Demo, share: str) -> None:
    done = demo.run("set", "catalog", "--reads", share, "--reason", "a shopper is there")
    assert done.returncode == 0, done.stderr


class Moves:
    """Moves the catalog's readers to and fro in the background, and restarts its service, until left."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._over = Event()
        self._pool = ThreadPoolExecutor(1)
        self.shares: list[str] = []
        self.restarts = 0

    def __enter__(self) -> Self:
        self._done = self._pool.submit(self._run)
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self._pool.shutdown()
        if problem[0] is None:
            self._done.result()

    def _run(self) -> None:
        for share in cycle(("40%", "100%", "70%", "0%")):
            if self._over.is_set() and self.restarts and len(self.shares) > 4:
                return
            set_reads(self._demo, share)
            self.shares.append(share)
            if share == "0%":
                self._restart()

    def _restart(self) -> None:
        """Replace the service by its successor while nobody is sent there, as a deployment does."""
        before = self._demo.member("catalog_service", "serve")
        before.terminate()
        until(lambda: not before.is_running(), "the service has ended", 20)
        until(lambda: self._demo.answers(CATALOG, "/health/ready"), "its successor answers", 30)
        self.restarts += 1


def test_a_shopping_trip_notices_nothing_of_moves_and_restarts(browser: Browser, demo: Demo) -> None:
    visitor: Visit = visit(browser, demo.url(""))
    with Moves(demo) as moves:
        path = browse(visitor, unseen)
        log_in(visitor, "ann", unseen)
        before = read_api(visitor, 3)
        buy(visitor, path, unseen)
        review(visitor, path, "As good as ever", unseen)
        wish(visitor, path, unseen)
        while not (moves.restarts and len(moves.shares) > 4):
            assert read_api(visitor, 5) == before
            visitor.go(path)
            expect(visitor.page.get_by_role("button", name="Log out")).to_be_visible()
        take_back(visitor, path)
    log_out(visitor)
    assert visitor.complaints == []


def test_the_visitor_cookie_outlives_a_login(browser: Browser, demo: Demo) -> None:
    set_reads(demo, "50%")
    visitor: Visit = visit(browser, demo.url(""))
    visitor.go("/en/")
    read_api(visitor, 1)
    first = {cookie["name"]: cookie["value"] for cookie in visitor.context.cookies()}
    log_in(visitor, "bob", unseen)
    read_api(visitor, 5)
    log_out(visitor)
    last = {cookie["name"]: cookie["value"] for cookie in visitor.context.cookies()}
    assert first["strangler_visitor"] == last["strangler_visitor"]
    assert visitor.complaints == []


def test_staff_administer_through_the_proxy(browser: Browser, demo: Demo) -> None:
    visitor: Visit = visit(browser, demo.url(""))
    administer(visitor, unseen)
    assert visitor.complaints == []


def test_every_page_can_be_photographed(browser: Browser, demo: Demo, tmp_path: Path) -> None:
    photograph(browser, demo.url(""), PHONE, tmp_path)
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {
        "home", "search", "product", "login", "account", "cart", "checkout", "pay", "order", "orders", "review-form",
        "review", "wishlist", "admin", "admin-orders", "api",
    }  # fmt: skip
    assert all(path.stat().st_size > 5_000 for path in tmp_path.iterdir())
