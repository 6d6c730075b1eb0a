"""A visit to the shop through the proxy, as steps that assert on the page and can be photographed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from playwright.sync_api import expect

from tests.fixtures.browser import Visit

Look = Callable[[str], None]
"""Takes the name of what is on the page now."""

PRODUCT_API: Final = "/api/catalog/products/?search=wool&page_size=3"


def browse(visit: Visit, look: Look) -> str:
    """Look at the storefront, search, and open a product; return its path."""
    visit.go("/en/")
    expect(visit.page.locator("main")).to_be_visible()
    look("home")
    visit.go("/en/products/?q=wool")
    cards = visit.page.locator("main a[href^='/en/products/'][href$='/']")
    expect(cards.first).to_be_visible()
    look("search")
    path = cards.first.get_attribute("href")
    assert path is not None
    assert visit.go(path).status == 200
    expect(visit.page.locator("h1")).to_be_visible()
    look("product")
    return path


def log_in(visit: Visit, name: str, look: Look) -> None:
    visit.go("/en/account/login/")
    look("login")
    visit.page.fill("input[name=username]", name)
    visit.page.fill("input[name=password]", "demo")
    visit.page.locator("main").get_by_role("button", name="Log in").click()
    visit.page.wait_for_url("**/en/account/")
    look("account")


def review(visit: Visit, path: str, words: str, look: Look) -> None:
    """Write a review of the product at ``path`` and see it there."""
    visit.go(path)
    form = visit.page.locator("form[action*='/reviews/write/']")
    if not form.count():  # the seed has given this reader a review of it already
        visit.page.get_by_role("button", name="Delete my review").first.click()
        visit.go(path)
    form.locator("[name=rating]").select_option("4")
    form.locator("[name=title]").fill(words)
    form.locator("[name=body]").fill(f"{words}, and more of it.")
    form.get_by_role("button", name="Send").click()
    expect(visit.page.get_by_role("heading", name=words)).to_be_visible()
    look("review")


def log_out(visit: Visit) -> None:
    visit.go("/en/")
    visit.page.get_by_role("button", name="Log out").click()
    expect(visit.page.get_by_role("link", name="Log in").first).to_be_visible()


def administer(visit: Visit, look: Look) -> None:
    """Log in to the admin and open the list of products."""
    visit.go("/admin/")
    visit.page.fill("#id_username", "admin")
    visit.page.fill("#id_password", "demo")
    visit.page.get_by_role("button", name="Log in").click()
    expect(visit.page.get_by_text("Site administration").first).to_be_visible()
    visit.go("/admin/catalog/product/")
    expect(visit.page.locator("#result_list")).to_be_visible()
    look("admin")


def read_api(visit: Visit, times: int) -> list[str]:
    """Ask the catalog's API from within the page, and return the distinct bodies that came."""
    bodies = visit.page.evaluate(
        """async ([path, times]) => {
            const bodies = new Set();
            for (let n = 0; n < times; n++) {
                const answer = await fetch(path);
                if (!answer.ok) throw new Error(`status ${answer.status}`);
                bodies.add(await answer.text());
            }
            return [...bodies];
        }""",
        [PRODUCT_API, times],
    )
    return list(bodies)
