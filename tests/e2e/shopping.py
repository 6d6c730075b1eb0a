"""A visit to the shop through the proxy, as steps that assert on the page and can be photographed."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from typing import Final

from playwright.sync_api import Locator, expect

from tests.fixtures.browser import Visit

Look = Callable[[str], None]
"""Takes the name of what is on the page now."""

PRODUCT_API: Final = "/api/catalog/products/?search=wool&page_size=3"
CARD: Final = "4242 4242 4242 4242"


def browse(visit: Visit, look: Look) -> str:
    """Look at the storefront, search, and open a product that is in stock; return its path."""
    visit.go("/en/")
    expect(visit.page.locator("main")).to_be_visible()
    look("home")
    visit.page.locator("header").get_by_role("searchbox").fill("wool")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/en/products/?q=wool")
    cards = visit.page.locator("li.card:not(:has(.out)) a[href^='/en/products/']")
    expect(cards.first).to_be_visible()
    look("search")
    path = cards.first.get_attribute("href")
    assert path is not None
    cards.first.click()
    visit.page.wait_for_url(f"**{path}")
    expect(visit.page.get_by_role("button", name="Add to cart")).to_be_visible()
    # Reviews and bar are fetched into the page.
    expect(visit.page.locator("#reviews").get_by_text(re.compile("review|written about"))).not_to_have_count(0)
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


def buy(visit: Visit, path: str, look: Look) -> None:
    """Put the product at ``path`` into the cart, check out and pay; see the paid order."""
    visit.go(path)
    expect(visit.page.get_by_role("button", name="Log out")).to_be_visible()  # the bar has come, and the token with it
    visit.page.get_by_label("Quantity").fill("1")
    visit.page.get_by_role("button", name="Add to cart").click()
    visit.page.wait_for_url("**/en/cart/")
    expect(visit.page.get_by_text("is in your cart.").first).to_be_visible()
    look("cart")
    visit.page.get_by_role("link", name="Check out").click()
    for label, words in (("Name", "Ann"), ("Street", "Gasse 1"), ("Postcode", "10115"), ("City", "Berlin")):
        visit.page.locator("#checkout").get_by_label(label, exact=True).fill(words)
    look("checkout")
    visit.page.get_by_role("button", name="Place the order").click()
    visit.page.get_by_label("Card number").fill(CARD)
    visit.page.get_by_label("Name on the card").fill("Ann")
    look("pay")
    visit.page.get_by_role("button", name="Pay now").click()
    expect(visit.page.get_by_text("Thank you! Your order is paid.")).to_be_visible()
    expect(visit.page.locator(".status.paid").first).to_be_visible()
    look("order")
    visit.go("/en/orders/")
    expect(visit.page.locator(".orders .status.paid").first).to_be_visible()
    look("orders")


def review(visit: Visit, path: str, words: str, look: Look) -> None:
    """Write a review with a photo of the product at ``path`` and see both there."""
    take_back(visit, path)
    form = fill_in(visit, path, words)
    look("review-form")
    form.get_by_role("button", name="Send").click()
    visit.page.wait_for_url(f"**/en/reviews/of/{slug_of(path)}/*")
    article = visit.page.locator("article.review", has=visit.page.get_by_role("heading", name=words))
    expect(article).to_be_visible()
    expect(article.locator("img").first).to_have_js_property("naturalWidth", 64)
    look("review")


def fill_in(visit: Visit, path: str, words: str) -> Locator:
    """Fill in the form for a review with a photo of the product at ``path``, and return it."""
    visit.go(f"/en/reviews/write/{slug_of(path)}/")
    form = visit.page.locator("main form")
    form.locator("[name=rating]").select_option("4")
    form.locator("[name=title]").fill(words)
    form.locator("[name=body]").fill(f"{words}, and more of it.")
    form.locator("input[type=file]").set_input_files({"name": "cup.png", "mimeType": "image/png", "buffer": photo()})
    return form


def slug_of(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def take_back(visit: Visit, path: str) -> None:
    """Delete this reader's review of the product at ``path``, if there is one."""
    visit.go(f"/en/reviews/of/{slug_of(path)}/")
    mine = visit.page.get_by_role("button", name="Delete my review")
    if mine.count():
        mine.first.click()
        expect(visit.page.get_by_text("Your review is deleted.")).to_be_visible()


def photo() -> bytes:
    """Return a picture of 64 by 48 points as a PNG."""
    rows = b"".join(b"\0" + b"".join(bytes((x * 4, y * 5, 120)) for x in range(64)) for y in range(48))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def wish(visit: Visit, path: str, look: Look) -> None:
    """Keep the product at ``path`` on the wish list, see it there, and take it off again."""
    visit.go(path)
    visit.page.get_by_role("link", name="Keep on my wish list").click()
    visit.page.locator("main").get_by_role("button").click()
    visit.page.wait_for_url("**/en/wishlist/")
    kept = visit.page.locator("main li", has=visit.page.locator(f"a[href='{path}']"))
    expect(kept).to_be_visible()
    look("wishlist")
    kept.get_by_role("button").click()
    expect(kept).to_have_count(0)


def log_out(visit: Visit) -> None:
    visit.go("/en/")
    visit.page.get_by_role("button", name="Log out").click()
    expect(visit.page.get_by_role("link", name="Log in").first).to_be_visible()


def administer(visit: Visit, look: Look) -> None:
    """Log in to the admin and open the lists of products and of orders."""
    visit.go("/admin/")
    visit.page.fill("#id_username", "admin")
    visit.page.fill("#id_password", "demo")
    visit.page.get_by_role("button", name="Log in").click()
    expect(visit.page.get_by_text("Site administration").first).to_be_visible()
    visit.go("/admin/catalog/product/")
    expect(visit.page.locator("#result_list")).to_be_visible()
    look("admin")
    visit.go("/admin/orders/order/")
    expect(visit.page.locator("#result_list")).to_be_visible()
    look("admin-orders")


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
