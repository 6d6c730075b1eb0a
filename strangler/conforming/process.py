"""A service that the check starts itself: its process, what it writes, and how it ends."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PAUSE: Final = 0.02


class NotStarted(Exception):
    """The command cannot be run, or never answers; the message says which."""


class Process:
    """A running command; ``log`` is what it has written so far."""

    def __init__(self, running: subprocess.Popen[bytes], written: Path) -> None:
        self._running = running
        self._written = written

    def __repr__(self) -> str:
        return f"Process({self._running.pid}, code={self._running.poll()})"

    @property
    def log(self) -> str:
        return self._written.read_text(errors="replace")

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._running.poll()

    def ask_to_stop(self) -> None:
        self._running.send_signal(signal.SIGTERM)

    def wait_until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Return whether ``holds()`` became true within ``seconds``, while the process runs."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.code is None:
            if holds():
                return True
            time.sleep(_PAUSE)
        return False

    def ends(self, seconds: float) -> int | None:
        """Return the exit code, None when it does not end within ``seconds``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._running.wait(seconds)
        return None


@contextmanager
def started(command: str, folder: Path) -> Iterator[Process]:
    """Run ``command``, without a shell, in ``folder``; whatever is left of it in the end is killed.

    Raises ``NotStarted`` for one that cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="strangler-check-") as place:
        written = Path(place) / "log"
        with written.open("wb") as log:
            running = _popen(command, folder, log.fileno())
        try:
            yield Process(running, written)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def _popen(command: str, folder: Path, log: int) -> subprocess.Popen[bytes]:
    try:
        words = shlex.split(command)
        # A group of its own: what it starts ends with it.
        return subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    except (OSError, ValueError, IndexError) as exc:
        raise NotStarted(f"{command!r} cannot be run: {exc}") from exc
