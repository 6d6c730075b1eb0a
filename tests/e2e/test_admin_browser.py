"""Staff and a customer of the shop in a real browser, on the monolith's side, while a service owns the reviews."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest
from playwright.sync_api import Browser, expect

from strangler.capability import Stack
from strangler.local import Postgres
from strangler.project import load
from strangler.sync import fence, fencing, install, transfer
from strangler.sync.fencing import Fence
from tests.e2e.shopping import fill_in, log_in
from tests.fixtures.browser import PHONE, Visit, visit
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import making
from tests.fixtures.shop import MONOLITH, ROOT
from tests.fixtures.split import answers_at, plain, spawned

pytestmark = [pytest.mark.browser, pytest.mark.slow]

THERE: Final = "https://reviews.internal/admin/"
OWNED: Final = "The service “reviews” owns these now: they are shown here as they are there."
TITLE: Final = "Typed before the owner moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """The shop without a proxy or a service, and the fence in its database by which it knows who owns the reviews."""

    base: str
    database: str
    fence: Fence

    @contextmanager
    def owned_elsewhere(self) -> Iterator[None]:
        """Fence the reviews as a cutover does, and let the shop write them again."""
        with transfer.open_database(self.database, "monolith", "strangler tests") as connection:
            fence.raise_fence(connection, self.fence, epoch=1, owner=Stack.SERVICE, budget_s=10)
            yield
            fence.lower_fence(connection, self.fence, epoch=1, budget_s=10)

    def titled(self, words: str) -> int:
        with psycopg.connect(self.database) as connection:
            row = connection.execute("select count(*) from reviews_review where title = %s", [words]).fetchone()
        return row[0] if row else 0


@pytest.fixture(scope="module")
def alone(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp("alone")
    moved = load(ROOT / "strangler.toml", {}).capabilities["reviews"].tables
    tables = tuple(dict.fromkeys(each.source for each in moved if not each.reference))
    with making(postgres) as make:
        around = Fence(capability="reviews", stack=Stack.MONOLITH, tables=tables)
        found = Alone(base=f"http://127.0.0.1:{free_port()}", database=make(), fence=around)
        environment = {
            **plain(),
            "DATABASE_URL": found.database,
            "SECRET_KEY": "for tests only, and long enough for Django",
            "STRANGLER_IDENTITY_SECRET": "only for tests, and at least thirty-two bytes",
            "REVIEWS_ADMIN_URL": THERE,
            "MEDIA_ROOT": str(folder / "media"),
        }
        for command in (["migrate", "--verbosity=0"], ["seed", "--scale=0.01", "--no-progress"]):
            subprocess.run([sys.executable, "manage.py", *command], cwd=MONOLITH, env=environment, check=True)
        with transfer.open_database(found.database, "monolith", "strangler tests") as connection:
            install.prepare(connection)
            fencing.install(connection, found.fence)
            fence.claim(connection, found.fence.capability, 1)
        serving = [sys.executable, "-m", "gunicorn", "--bind", found.base.removeprefix("http://")]
        with spawned(serving, MONOLITH, environment, folder / "shop.log"):
            answers_at(f"{found.base}/robots.txt", folder / "shop.log")
            yield found


def staff(browser: Browser, base: str) -> Visit:
    """Return a visitor who is logged in to the administration."""
    visitor = visit(browser, base)
    visitor.go("/admin/")
    visitor.page.fill("#id_username", "admin")
    visitor.page.fill("#id_password", "demo")
    visitor.page.get_by_role("button", name="Log in").click()
    expect(visitor.page.get_by_text("Site administration").first).to_be_visible()
    return visitor


def expect_banner(visitor: Visit) -> None:
    banner = visitor.page.locator(".messagelist .warning")
    expect(banner).to_have_count(1)
    expect(banner).to_contain_text(OWNED)
    expect(banner.get_by_role("link", name="Change them there.")).to_have_attribute("href", THERE)


def expect_to_be_changed(visitor: Visit, *, here: bool) -> None:
    expect(visitor.page.locator("input[name=_save]")).to_have_count(1 if here else 0)
    expect(visitor.page.locator("input[name=_continue]")).to_have_count(1 if here else 0)
    expect(visitor.page.locator(".deletelink")).to_have_count(1 if here else 0)
    expect(visitor.page.locator("#content-main input[type=text], #content-main textarea")).to_have_count(
        2 if here else 0
    )


def refused(visitor: Visit, status: int) -> None:
    """Expect that the browser was told once, and of nothing else, that a request was refused."""
    told, visitor.complaints = visitor.complaints, []
    assert {each.partition(": http")[0] for each in told if not each.startswith("console:")} == {f"status {status}"}


def test_the_administration_shows_what_a_service_owns_and_refuses_a_form_from_before(
    browser: Browser, alone: Alone, tmp_path: Path
) -> None:
    visitor = staff(browser, alone.base)
    page = visitor.page
    visitor.go("/admin/reviews/review/")
    expect(page.locator(".messagelist")).to_have_count(0)
    page.locator("#result_list tbody th a").first.click()
    page.wait_for_url("**/change/*")
    form = page.url.removeprefix(alone.base).partition("?")[0]
    expect_to_be_changed(visitor, here=True)
    page.fill("#id_title", TITLE)
    page.fill("#id_body", "More of it,\nin two lines.")

    with alone.owned_elsewhere():
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("heading", name="Not changed here")).to_be_visible()
        expect(page.locator("dl.typed dd").filter(has_text=TITLE)).to_be_visible()
        expect(page.get_by_role("link", name="Change them there")).to_have_attribute("href", THERE)
        page.screenshot(path=tmp_path / "refused.png")
        assert alone.titled(TITLE) == 0
        refused(visitor, 403)

        page.get_by_role("link", name="See them as they are now").click()
        page.wait_for_url("**/admin/reviews/review/")
        expect_banner(visitor)
        expect(page.locator("#result_list")).to_be_visible()
        expect(page.get_by_role("link", name="Add review")).to_have_count(0)
        assert page.locator("select[name=action] option").all_inner_texts()[1:] == [
            "Publish the selected reviews",
            "Hide the selected reviews",
        ]
        page.screenshot(path=tmp_path / "list.png")

        visitor.go(form)
        expect_banner(visitor)
        expect_to_be_changed(visitor, here=False)
        page.screenshot(path=tmp_path / "change.png")
        assert visitor.complaints == []

        for path in ("/admin/reviews/review/add/", f"{form.removesuffix('change/')}delete/"):
            assert visitor.go(path).status == 403
            expect(page.get_by_text("Nothing was changed here.")).to_be_visible()
            refused(visitor, 403)

    visitor.go(form)
    expect(page.locator(".messagelist")).to_have_count(0)
    expect_to_be_changed(visitor, here=True)
    assert visitor.complaints == []


def test_a_customer_whose_write_meets_the_fence_reads_that_it_was_not_saved_and_sends_it_again(
    browser: Browser, alone: Alone, tmp_path: Path
) -> None:
    with psycopg.connect(alone.database) as connection:
        found = connection.execute(
            "select slug from catalog_product as product where is_active and not exists (select from reviews_review"
            " join accounts_user on accounts_user.id = author_id where product_id = product.id and username = 'ann')"
            " order by id limit 1"
        ).fetchone()
    assert found is not None
    visitor = visit(browser, alone.base)
    page = visitor.page
    log_in(visitor, "ann", lambda _: None)
    with alone.owned_elsewhere():
        form = fill_in(visitor, f"/en/products/{found[0]}/", TITLE)
        form.locator("input[type=file]").set_input_files([])  # what a script chose from nowhere is not read again
        form.get_by_role("button", name="Send").click()
        expect(page.get_by_role("heading", name="Not saved yet")).to_be_visible()
        expect(page.get_by_text("reload this page in a few seconds to send it again.")).to_be_visible()
        page.screenshot(path=tmp_path / "fenced.png")
        page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.screenshot(path=tmp_path / "fenced-phone.png")
        assert alone.titled(TITLE) == 0
        refused(visitor, 503)
    page.reload()  # which sends the form once more
    expect(page.get_by_role("heading", name=TITLE)).to_be_visible()
    assert (alone.titled(TITLE), visitor.complaints) == (1, [])
