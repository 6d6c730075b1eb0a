"""An application that nobody here wrote, untouched, with nothing configured but the origin."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.fixtures.browser import visit
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until

PASSWORD = "a word for this test"
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@contextmanager
def process(folder: Path, log: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / log).open("wb") as out:
        started = subprocess.Popen([sys.executable, *words], cwd=folder, env=environment(), stdout=out, stderr=out)
        try:
            yield started
        finally:
            started.send_signal(signal.SIGTERM)
            started.wait(20)


def environment() -> dict[str, str]:
    return {**os.environ, "DJANGO_SUPERUSER_PASSWORD": PASSWORD, "PYTHONWARNINGS": "ignore"}


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``wagtail start``'s site, as it comes out of the box."""
    folder = tmp_path_factory.mktemp("portal")
    start = "from wagtail.bin.wagtail import main; main()"
    for command in (
        ["-c", start, "start", "portal", str(folder)],
        ["manage.py", "migrate", "--verbosity", "0"],
        ["manage.py", "createsuperuser", "--noinput", "--username", "editor", "--email", "editor@example.com"],
    ):
        subprocess.run([sys.executable, *command], cwd=folder, env=environment(), check=True, capture_output=True)
    address = f"127.0.0.1:{free_port()}"
    with process(folder, "site.log", "manage.py", "runserver", "--noreload", address):
        until(lambda: answers(f"http://{address}/"), "the site answers", 40)
        yield f"http://{address}"


@pytest.fixture(scope="module")
def proxied(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The proxy's address and its admin address."""
    folder = tmp_path_factory.mktemp("proxy")
    listen, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    words = ["-m", "strangler", "proxy", "--origin", site, "--listen", listen, "--admin", admin]
    with process(folder, "proxy.log", *words):
        until(lambda: answers(f"http://{admin}/health/ready"), "the proxy is ready", 30)
        yield f"http://{listen}", f"http://{admin}"


def test_an_editor_works_through_the_proxy_as_without_it(
    browser: Browser, proxied: tuple[str, str], tmp_path: Path
) -> None:
    base, admin = proxied
    visitor = visit(browser, base)
    page = visitor.page

    visitor.go("/admin/")
    page.fill("#id_username", "editor")
    page.fill("#id_password", PASSWORD)
    page.click("button[type=submit]")
    expect(page).to_have_title("Dashboard - Wagtail")

    picture = tmp_path / "red.png"
    Image.new("RGB", (640, 480), (200, 30, 30)).save(picture)
    visitor.go("/admin/images/add/")
    page.set_input_files("input[name=file]", picture)
    expect(page.locator("input[name=title]")).to_have_value("red")  # by Wagtail's script, from the file's name
    page.fill("input[name=title]", "A red picture")
    page.locator("form[action*='images/add'] button[type=submit]").first.click()
    expect(page.get_by_text("Image 'A red picture' added.")).to_be_visible()
    shown = page.locator("img[src*='/media/images/']").first
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.naturalWidth") > 0

    visitor.go("/admin/pages/3/edit/")
    page.fill("#id_title", "Hello through the proxy")
    page.get_by_role("button", name="Toggle preview").click()
    page.wait_for_function(
        "document.querySelector('#w-preview-iframe')?.contentDocument?.title.trim() === 'Hello through the proxy'"
    )
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_text(re.compile("Page 'Hello through the proxy' .*published"))).to_be_visible()

    assert visitor.go("/").status == 200
    expect(page).to_have_title("Hello through the proxy")
    assert visitor.complaints == []

    metrics = httpx.get(f"{admin}/metrics").text
    counted = [line for line in metrics.splitlines() if line.startswith("strangler_proxy_requests_total{")]
    assert any('stack="monolith"' in line and 'method="POST"' in line for line in counted)
