"""A demo of the worked example, in a copy of its files, on ports of its own."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import psutil

from tests.fixtures.ports import hold, is_free
from tests.fixtures.waiting import until

ROOT: Final = Path(__file__).parents[2]
# Offsets of demo.toml's ports.
OFFSETS: Final = (0, 1, 101, 102, 103, 104, 900, 910, 432, 379)
PROXY, ADMIN, MONOLITH, CATALOG, POSTGRES, VALKEY, SYNC = 0, 900, 1, 101, 432, 379, 910
# Below what the kernel and tests/fixtures/ports.py deal, and so far apart that no two families meet.
_BASES: Final = range(10_000, 24_000, 1_000)
_LAST: Final = 999  # of a family's thousand; whoever is bound to it has the family
_held: Final[list[int]] = []
_WHOLE: Final = '"seed", "--scale", "1"'
# Some 30 s of a core beside whatever else runs: two that started side by side on a busy machine took more than 90.
_START_S: Final = 300.0
_STOP_S: Final = 60.0  # they end in order: in 8 s where as much else ran
_GONE_S: Final = 15.0
_RUN_S: Final = 300  # a copy of all rows is the longest of them


def copied(folder: Path, *, scale: float = 1) -> Path:
    """Copy what a clone has of the example, without anything that a run has left.

    ``scale`` is how much of the shop's rows is made. A tenth is enough for whoever does not count them: 26 s of a core
    until all is ready, instead of 30.
    """
    left = shutil.ignore_patterns(".local", "__pycache__", "*.pyc", ".pytest_cache")
    for name in ("legacy_monolith", "extracted", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=left)
    for name in ("strangler.toml", "demo.toml"):
        shutil.copy(ROOT / name, folder / name)
    script = folder / "demo.toml"
    whole = script.read_text()
    assert whole.count(_WHOLE) == 1
    script.write_text(whole.replace(_WHOLE, f'"seed", "--scale", "{scale:g}"'))
    return folder


def free_base() -> int:
    """Return a base whose whole family of ports is free and no other process's; one is given again once it is free."""
    for base in _held:
        if _is_free(base):
            return base
    for base in random.sample(_BASES, len(_BASES)):
        if base not in _held and _is_free(base) and hold(base + _LAST):
            _held.append(base)
            return base
    raise AssertionError("no family of ports is free")


def _is_free(base: int) -> bool:
    return all(is_free(base + offset) for offset in OFFSETS)


class Demo:
    """``strangler demo`` in ``folder``; what it says goes to a file."""

    def __init__(self, folder: Path, base: int) -> None:
        self.folder, self.base = folder, base
        self.said = folder / "said.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *words: str) -> None:
        """Start it and wait until it says that it is ready."""
        self.begin(*words)
        until(lambda: "ready after" in self.text() or self.ended(), "the demo is ready", _START_S)
        assert not self.ended(), self.text()

    def begin(self, *words: str) -> None:
        """Start it, and wait for nothing."""
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                self._command("demo", "--port-base", str(self.base), *words),
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def stop(self, number: signal.Signals = signal.SIGINT) -> int | None:
        """End it with a signal, and return its exit code; None when it does not run."""
        if self.process is None or self.ended():
            return None
        self.process.send_signal(number)
        return self.process.wait(_STOP_S)

    def kill(self) -> None:
        """End it as the kernel would, when memory runs out."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb as another terminal would: in the same folder, with nothing exported."""
        return subprocess.run(
            self._command(*words),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=_RUN_S,
        )

    def status(self) -> Any:
        done = self.run("status", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def text(self) -> str:
        return self.said.read_text(errors="replace")

    def requests(self, stack: str) -> int:
        """Return how many requests for categories a stack has logged."""
        log = self.folder / ".local" / "log" / f"{stack}.access.log"
        return log.read_bytes().count(b"/api/catalog/categories/") if log.exists() else 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.base + PROXY}{path}"

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url(path), headers=headers, timeout=10)

    def answers(self, offset: int, path: str) -> bool:
        """Return whether the member of the family at a port answers 200."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.base + offset}{path}", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def family(self) -> list[psutil.Process]:
        assert self.process is not None
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def member(self, *words: str) -> psutil.Process:
        """Return the first process of the family whose command line has all of ``words``."""
        found = next((each for each in self.family() if _has(each, words)), None)
        assert found is not None, f"no process with {words}"
        return found

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "strangler", *words]


def _has(process: psutil.Process, words: tuple[str, ...]) -> bool:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return all(word in line for word in words)


def environment() -> dict[str, str]:
    """Return an environment in which nothing of the demo is set."""
    return {name: value for name, value in os.environ.items() if not name.endswith(("_URL", "_PORT", "_SECRET"))}


def gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Wait for processes to end, and return those that did not."""
    alive: list[psutil.Process] = psutil.wait_procs(processes, timeout=_GONE_S)[1]
    return alive
