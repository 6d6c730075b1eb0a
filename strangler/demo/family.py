"""Children of one parent: started, waited for, healed, and stopped in order, with nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from strangler.local import Postgres, Valkey, dies_with_parent

READY_S: Final = 60.0
# A child that ends at once is not started at once again: 0.2 s, doubled up to this.
_LONGEST_PAUSE_S: Final = 10.0
# One that has run this long has recovered; its next end counts as a first.
_RECOVERED_S: Final = 30.0

Event = Callable[[str], None]


class ChildFailed(Exception):
    """A process of the family did not come up. The message has its name and the last lines of its log."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One process: how to start it, how to see that it is ready, and how long it may take to stop."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    address: str = ""
    ready: str = ""
    stop_s: float = 10.0
    process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    failures: int = field(default=0, init=False)
    started_at: float = field(default=0.0, init=False)
    again_at: float = field(default=0.0, init=False)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*dies_with_parent("TERM"), *self.command],
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the parent alone, who stops the family in order
            )
        self.started_at = time.monotonic()

    def is_ready(self) -> bool:
        if not self.ready:
            return not self.ended
        try:
            return httpx.get(self.ready, timeout=2.0).is_success
        except httpx.HTTPError:
            return False

    def ask_to_stop(self) -> None:
        if self.process is not None and not self.ended:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop the process and whatever it started; by force when its time is over."""
        if self.process is None:
            return
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(self.stop_s)
        _end_group(self.process.pid)
        self.process.wait()

    def last_words(self, lines: int = 8) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def await_ready(children: Sequence[Child], seconds: float = READY_S) -> None:
    """Wait until every child is ready. Raises ``ChildFailed`` when one ends, or the time is over."""
    deadline = time.monotonic() + seconds
    waiting = list(children)
    while waiting:
        for child in waiting:
            if child.ended:
                raise ChildFailed(f"{child.name} ended while starting; the end of {child.log}:\n{child.last_words()}")
        waiting = [child for child in waiting if not child.is_ready()]
        if waiting and time.monotonic() > deadline:
            child = waiting[0]
            raise ChildFailed(
                f"{child.name} was not ready within {seconds:.0f} s; the end of {child.log}:\n{child.last_words()}"
            )
        if waiting:
            time.sleep(0.05)


def run_once(name: str, commands: Sequence[Child]) -> None:
    """Run commands one after the other to their end. Raises ``ChildFailed`` when one does not succeed."""
    for child in commands:
        child.start()
        if child.process is not None and child.process.wait() != 0:
            words = " ".join(child.command)
            raise ChildFailed(f"{name}: {words} failed; the end of {child.log}:\n{child.last_words()}")


@dataclass(slots=True, kw_only=True)
class Family:
    """Engines first, then children in order. ``heal`` starts again whatever has ended by itself."""

    postgres: Postgres | None = None
    valkey: Valkey | None = None
    children: list[Child] = field(default_factory=list)

    def heal(self, say: Event) -> None:
        """Start again what ended, each with its own backoff; called every now and then."""
        for engine, name in ((self.postgres, "PostgreSQL"), (self.valkey, "Valkey")):
            if engine is not None and engine.process is not None and engine.process.poll() is not None:
                say(f"{name} ended ({_how(engine.process.returncode)}); starting it again")
                engine.start()
        for child in self.children:
            if child.ended:
                self._heal(child, say)

    def _heal(self, child: Child, say: Event) -> None:
        now = time.monotonic()
        if not child.again_at:
            recovered = now - child.started_at > _RECOVERED_S
            child.failures = 1 if recovered else child.failures + 1
            pause = min(_LONGEST_PAUSE_S, 0.1 * 2**child.failures)
            child.again_at = now + pause
            code = child.process.returncode if child.process else 0
            words = "" if code < 0 else f"\n{child.last_words()}"
            say(f"{child.name} ended ({_how(code)}); starting it again in {pause:.1f} s{words}")
        elif now >= child.again_at:
            child.again_at = 0.0
            child.start()

    def stop(self) -> None:
        """Stop everything that was started, the last first; engines at the end."""
        for child in reversed(self.children):
            child.stop()
        for engine in (self.valkey, self.postgres):
            if engine is not None:
                engine.stop()


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
