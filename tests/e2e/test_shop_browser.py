"""A shopper in a real browser, while the catalog's readers are moved under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e.family import Demo, copied, free_base
from tests.e2e.screenshots import photograph
from tests.e2e.shopping import administer, browse, log_in, log_out, read_api, review
from tests.fixtures.browser import PHONE, Visit, visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def demo(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(copied(tmp_path_factory.mktemp("demo")), free_base()) as running:
        yield running


def unseen(name: str) -> None:
    return None


def set_reads(demo: Demo, share: str) -> None:
    done = demo.run("set", "catalog", "--reads", share, "--allow-stale", "--reason", "a shopper is there")
    assert done.returncode == 0, done.stderr


def test_a_shopper_notices_nothing_of_a_move(browser: Browser, demo: Demo) -> None:
    visitor: Visit = visit(browser, demo.url(""))
    path = browse(visitor, unseen)
    log_in(visitor, "ann", unseen)
    before = read_api(visitor, 3)
    for share in ("50%", "100%", "25%", "0%"):
        set_reads(demo, share)
        assert read_api(visitor, 10) == before
        review(visitor, path, f"As good at {share}", unseen)
        visitor.page.get_by_role("button", name="Delete my review").first.click()
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
    assert names == {"home", "search", "product", "login", "account", "review", "admin", "api"}
    assert all(path.stat().st_size > 5_000 for path in tmp_path.iterdir())
