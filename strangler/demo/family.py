"""Members of one family of processes: started, waited for, healed, and stopped in order, with nothing left behind.

Everything is started by the main thread: the kernel tells a member of its parent's death when the THREAD that
started it ends (prctl(2), PR_SET_PDEATHSIG). So nothing here runs in threads; what waits yields instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import httpx

from strangler.local import EngineError, Postgres, Valkey, dies_with_parent

READY_S: Final = 60.0
# A member that ends at once is not started at once again: 0.2 s, doubled up to this.
_LONGEST_PAUSE_S: Final = 10.0
# One that has run this long has recovered; its next end counts as a first.
_RECOVERED_S: Final = 30.0
# Ten seconds in all for whoever pressed Ctrl-C: each wave is ended by force when its part is over.
_WAVE_S: Final = 3.0
LOOK_S: Final = 0.05

Event = Callable[[str], None]


class ChildFailed(Exception):
    """A process of the family did not come up. The message has its name and the last lines of its log."""


class Member(Protocol):
    """What the family needs to know of one of its own. ``wave`` says when it is stopped: the lowest first."""

    name: str
    wave: int

    @property
    def address(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def log(self) -> Path: ...
    @property
    def exit_code(self) -> int | None:
        """None while it runs, or before it was started."""

    def start(self) -> None:
        """Start it. Raises ``ChildFailed``."""

    def ask_to_stop(self) -> None: ...
    def end(self) -> None:
        """End it by force, with whatever it started."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One process: how to start it, and how to see that it is ready."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    address: str = ""
    ready: str = ""
    wave: int = 1
    process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def exit_code(self) -> int | None:
        return self.process.poll() if self.process else None

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

    def is_ready(self) -> bool:
        if not self.ready:
            return self.exit_code is None
        try:
            return httpx.get(self.ready, timeout=2.0).is_success
        except httpx.HTTPError:
            return False

    def ask_to_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # its session's: nobody else is in it
            self.process.wait()

    def until_ready(self, seconds: float = READY_S) -> Iterator[None]:
        """Yield until it is ready. Raises ``ChildFailed`` when it ends, or the time is over."""
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if self.exit_code is not None:
                raise ChildFailed(f"{self.name} ended while starting ({how(self.exit_code)}); {last_words(self.log)}")
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} was not ready within {seconds:.0f} s; {last_words(self.log)}")
            yield

    def until_done(self) -> Iterator[None]:
        """Yield until it has done its work and ended. Raises ``ChildFailed`` when it did not succeed."""
        while self.exit_code is None:
            yield
        if self.exit_code != 0:
            raise ChildFailed(f"{self.name} failed ({how(self.exit_code)}); {last_words(self.log)}")


@dataclass(slots=True, kw_only=True)
class Engine:
    """PostgreSQL or Valkey out of a wheel, as a member; stopped when nobody is left who uses it."""

    name: str
    server: Postgres | Valkey
    wave: int = 2

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    @property
    def pid(self) -> int | None:
        return self.server.process.pid if self.server.process else None

    @property
    def log(self) -> Path:
        return self.server.log

    @property
    def exit_code(self) -> int | None:
        return self.server.process.poll() if self.server.process else None

    def start(self) -> None:
        try:
            self.server.start()
        except EngineError as exc:
            raise ChildFailed(str(exc)) from exc

    def ask_to_stop(self) -> None:
        if self.server.process is not None and self.server.process.poll() is None:
            # PostgreSQL takes SIGTERM for: wait until every session has ended; SIGINT ends them (its "fast" mode).
            self.server.process.send_signal(signal.SIGINT if isinstance(self.server, Postgres) else signal.SIGTERM)

    def end(self) -> None:
        if self.server.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.server.process.pid, signal.SIGKILL)
            self.server.process.wait()


@dataclass(slots=True)
class _Fate:
    """How often a member has failed in a row, and when it is started again."""

    started_at: float
    failures: int = 0
    again_at: float | None = None


@dataclass(slots=True)
class Family:
    """Everyone that was started. ``heal`` starts again whoever has ended by itself."""

    members: list[Member] = field(default_factory=list)
    hurry: bool = False
    _fates: dict[str, _Fate] = field(default_factory=dict)

    def add(self, member: Member) -> None:
        """Start a member and keep it. Raises ``ChildFailed``; then, too, it is stopped with the others."""
        self.members.append(member)
        self._fates[member.name] = _Fate(time.monotonic())
        member.start()

    def run(self, child: Child) -> Iterator[None]:
        """Run a command to its end, yielding meanwhile. Raises ``ChildFailed`` when it does not succeed."""
        self.members.append(child)
        child.start()
        yield from child.until_done()
        self.members.remove(child)

    def heal(self, say: Event) -> None:
        """Start again what ended, each with a pause of its own; called every now and then."""
        for member in self.members:
            fate = self._fates[member.name]
            if fate.again_at is not None:
                self._try_again(member, fate, say)
            elif member.exit_code is not None:
                self._mourn(member, fate, say)

    def _mourn(self, member: Member, fate: _Fate, say: Event) -> None:
        code = member.exit_code or 0
        words = "" if code < 0 else f"; {last_words(member.log)}"
        pause = self._put_off(fate)
        member.end()  # what it had started may live on, and hold its port
        say(f"{member.name} ended ({how(code)}); it is started again in {pause:.1f} s{words}")

    def _try_again(self, member: Member, fate: _Fate, say: Event) -> None:
        if fate.again_at is None or time.monotonic() < fate.again_at:
            return
        fate.again_at, fate.started_at = None, time.monotonic()
        try:
            member.start()
        except ChildFailed as exc:
            pause = self._put_off(fate)
            say(f"{exc}; the next try is in {pause:.1f} s")
        else:
            say(f"{member.name} runs again, pid {member.pid}")

    def _put_off(self, fate: _Fate) -> float:
        now = time.monotonic()
        fate.failures = 1 if now - fate.started_at > _RECOVERED_S else fate.failures + 1
        pause = min(_LONGEST_PAUSE_S, 0.1 * (1 << fate.failures))
        fate.again_at = now + pause
        return pause

    def stop(self) -> None:
        """Stop everyone, wave by wave; by force when a wave's time is over, or at once when in a hurry."""
        for wave in sorted({member.wave for member in self.members}):
            leaving = [member for member in self.members if member.wave == wave]
            for member in leaving:
                member.ask_to_stop()
            deadline = time.monotonic() + _WAVE_S
            while any(member.exit_code is None and member.pid for member in leaving):
                if self.hurry or time.monotonic() > deadline:
                    break
                time.sleep(LOOK_S / 2)
            for member in leaving:
                member.end()


def together(lanes: Sequence[Iterator[None]]) -> None:
    """Follow several lanes of work at once, until all are done."""
    going = list(lanes)
    while going:
        going = [lane for lane in going if _goes_on(lane)]
        if going:
            time.sleep(LOOK_S)


def _goes_on(lane: Iterator[None]) -> bool:
    try:
        next(lane)
    except StopIteration:
        return False
    return True


def last_words(log: Path, lines: int = 8) -> str:
    """Return where a log is and how it ends, as the end of a sentence."""
    try:
        words = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        words = []
    return f"the end of {log}:\n" + "\n".join(words) if words else f"its log is {log}"


def how(code: int) -> str:
    """Return how a process ended, for a person."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
