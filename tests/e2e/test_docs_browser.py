"""The documentation as it is built, each page of it in a browser: on a phone and on a desk."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page

from tests.fixtures.browser import DESKTOP, PHONE, visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT: Final = Path(__file__).parents[2]
_OVERFLOW: Final = "document.documentElement.scrollWidth - window.innerWidth"
_BLANK: Final = "[...document.querySelectorAll('article img')].filter(each => !each.naturalWidth).map(each => each.src)"
_WIDE: Final = """[...document.querySelectorAll('article table')].map(each => each.parentElement)
  .filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.innerText.split("\\n")[0])"""

_CUT: Final = """[...document.querySelectorAll('article .highlight:not(.drawn) pre > code')]
  .filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.innerText.split("\\n")[0])"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any, **__: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built from a copy."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    build = [str(Path(sys.executable).parent / "zensical"), "build", "--strict"]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "docs"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the documentation is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def test_every_page_fits_its_window_and_is_whole(browser: Browser, site: Path, address: str) -> None:
    reader = visit(browser, address)
    asked: set[str] = set()
    reader.page.on("request", lambda request: asked.add(request.url))
    wrong: list[str] = []
    pages = [str(page.parent.relative_to(site)) for page in sorted(site.rglob("index.html"))]
    assert len(pages) > 50
    for name in pages:
        reader.go(f"/{name}/")
        wrong += [f"{name}: {found}" for found in _looked_at(reader.page)]
    assert wrong == []
    assert reader.complaints == []
    assert [url for url in sorted(asked) if not url.startswith((address, "data:", "blob:"))] == []


def _looked_at(page: Page) -> Iterator[str]:
    """Yield what is wrong with a page: on a desk every table fits, on a phone those that are wide are moved aside.

    Commands go on in the next line there; what is drawn by characters (``drawn``) is moved aside, too.
    """
    for name, size in (("phone", PHONE), ("desktop", DESKTOP)):
        page.set_viewport_size({"width": size["width"], "height": size["height"]})
        if (overflow := page.evaluate(_OVERFLOW)) > 0:
            yield f"{overflow} px wider than a {name}"
        if size == PHONE:
            yield from (f"a command is cut on a phone: {first}" for first in page.evaluate(_CUT))
    yield from (f"a table is wider than the page: {first}" for first in page.evaluate(_WIDE))
    yield from (f"a picture is not there: {source}" for source in page.evaluate(_BLANK))
