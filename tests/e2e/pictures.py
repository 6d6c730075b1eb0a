"""``make pictures``: every picture that the documentation shows, drawn anew; terminals and pages from a demo that runs.

What is drawn from code alone is compared by tests. What a demo shows differs from run to run, in times and process
numbers: it is drawn anew where what is shown has changed, and looked at before it is committed.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import httpx
from playwright.sync_api import ViewportSize, sync_playwright
from rich.text import Text

from strangler.cutover import diagram as move
from strangler.ledger import diagram as stages
from tests.bench import page
from tests.e2e.family import ROOT, Demo, copied, environment, free_base
from tests.fixtures import frames
from tests.fixtures.browser import chromium

DOCS: Final = ROOT / "docs"
STATUS: Final = DOCS / "tutorial" / "status.svg"
CUTOVER: Final = DOCS / "how-to" / "cutover.svg"
PLAYBOOK: Final = DOCS / "how-to" / "playbook.png"
COLUMNS: Final = 100
FROM_CODE: Final[Mapping[Path, Callable[[], str]]] = {
    ROOT / stages.PICTURE: stages.svg,
    ROOT / move.PICTURE: move.svg,
    frames.PICTURE: frames.drawn,
    page.PLOT: lambda: page.plot(page.rates(page.read(page.RAW))),
}
FROM_A_DEMO: Final = (STATUS, CUTOVER, PLAYBOOK)
FROM_CONTAINERS: Final = DOCS / "how-to" / "containers.png"
# The upper part of a page: what is next, what can go wrong, how to go back.
_SHEET: Final = ViewportSize(width=900, height=1000)
_SHOP: Final = ViewportSize(width=900, height=730)
# Pictures further down are fetched by whoever scrolls there.
_LOADED: Final = """[...document.images].every(image => image.getBoundingClientRect().top > innerHeight
  || image.complete && image.naturalWidth > 0)"""


def typed(demo: Demo, *words: str) -> str:
    """Return what a terminal shows of a verb, with its colours."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "strangler", *words],
        cwd=demo.folder,
        env={**environment(), "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "STRANGLER_WHO": "ann"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = _read(ours)
    assert process.wait(60) == 0, said
    return said


def _read(terminal: int) -> str:
    pieces = []
    try:
        while piece := os.read(terminal, 65_536):
            pieces.append(piece)
    except OSError:  # Linux says so when the last program has let go of it
        pass
    finally:
        os.close(terminal)
    return b"".join(pieces).decode()


def terminal(path: Path, command: str, said: str) -> None:
    """Draw a command and what was said to it."""
    shown = Text.assemble(("$ ", "dim"), (command, "bold"), "\n", Text.from_ansi(said.replace("\r", "").rstrip()))
    path.write_text(frames.picture(shown, title=command, width=COLUMNS, name=path.stem))


def sheet(demo: Demo) -> None:
    """Photograph the upper part of a playbook's page."""
    file = demo.folder / "playbook.html"
    done = demo.run("playbook", "reviews", "--html", str(file))
    assert done.returncode == 0, done.stderr
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        visitor = browser.new_page(viewport=_SHEET)
        visitor.goto(file.as_uri())
        visitor.screenshot(path=PLAYBOOK)
        browser.close()


def of_a_demo() -> None:
    """Draw what a demo shows: a share that was set, an owner that moves, and what a playbook says before that."""
    with (
        tempfile.TemporaryDirectory(prefix="strangler-pictures-") as folder,
        Demo(copied(Path(folder)), free_base()) as demo,
    ):
        typed(demo, "set", "catalog", "--reads", "25%", "--reason", "first readers")
        terminal(STATUS, "strangler status", typed(demo, "status"))
        typed(demo, "set", "reviews", "--reads", "100%", "--reason", "it answers well")
        sheet(demo)
        reason = "it answers every reader well"
        words = ("cutover", "reviews", "--unobserved", "--reason", reason)
        terminal(CUTOVER, f"strangler cutover reviews --unobserved --reason '{reason}'", typed(demo, *words))


def of_containers() -> bool:
    """Photograph the shop of ``make compose-up``; return whether it runs."""
    base = f"http://127.0.0.1:{os.environ.get('STRANGLER_PORT', '8000')}"
    try:
        there = "Fernweh" in httpx.get(f"{base}/en/", timeout=10).text  # and not somebody else at that port
    except httpx.TransportError:
        return False
    if not there:
        return False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        visitor = browser.new_page(viewport=_SHOP)
        visitor.goto(f"{base}/en/")
        visitor.wait_for_function(_LOADED)
        visitor.screenshot(path=FROM_CONTAINERS)
        browser.close()
    return True


def main() -> int:
    for path, draw in FROM_CODE.items():
        path.write_text(draw())
    if chromium() is None:
        print("no Chromium on this machine; Debian: apt-get install chromium", file=sys.stderr)
        return 1
    of_a_demo()
    if not of_containers():
        print(f"{FROM_CONTAINERS.relative_to(ROOT)} stays as it is: make compose-up before")
    for path in (*FROM_CODE, *FROM_A_DEMO, FROM_CONTAINERS):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
