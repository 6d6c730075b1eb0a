"""``python -m tests.e2e.screenshots``: the shop through the proxy, for phone and desktop, into build/screenshots/."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from tests.e2e.family import Demo, copied, free_base
from tests.e2e.shopping import PRODUCT_API, administer, browse, buy, log_in, log_out, review, take_back, wish
from tests.fixtures.browser import DESKTOP, PHONE, chromium, visit

FOLDER: Final = Path("build/screenshots")


def photograph(browser: Browser, base: str, viewport: dict[str, int], folder: Path) -> None:
    """Visit every kind of page, assert on each, and write a picture of each into ``folder``."""
    visitor = visit(browser, base, viewport)

    def look(name: str) -> None:
        overflow = visitor.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert name.startswith("admin") or overflow <= 0, f"{name} is {overflow} px wider than the window"
        visitor.page.screenshot(path=folder / f"{name}.png", full_page=name not in ("search", "admin", "admin-orders"))

    path = browse(visitor, look)
    log_in(visitor, "ann", look)
    buy(visitor, path, look)
    review(visitor, path, "Photographed", look)
    take_back(visitor, path)
    wish(visitor, path, look)
    log_out(visitor)
    administer(visitor, look)
    assert visitor.go(PRODUCT_API).status == 200
    look("api")
    assert visitor.complaints == []


def main() -> int:
    program = chromium()
    if program is None:
        print("no Chromium on this machine; Debian: apt-get install chromium", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="strangler-pictures-") as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        with Demo(copied(Path(folder)), free_base()) as demo:
            for name, viewport in (("phone", PHONE), ("desktop", DESKTOP)):
                (FOLDER / name).mkdir(parents=True, exist_ok=True)
                photograph(browser, demo.url(""), viewport, FOLDER / name)
        browser.close()
    print(f"pictures are in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
