"""The monolith's manage.py asked for its pending migrations: run without a shell, for a bounded time and output."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from strangler.project import Manage
from strangler.project.section import mask
from strangler.project.values import printable
from strangler.sync.errors import NotListed
from strangler.sync.pending import Listing, parse

_ASKED: Final = ("strangler_migrations", "--json")
TIME_S: Final = 60.0
"""A Django project of some hundred models starts in seconds."""
_MOST_BYTES: Final = 16 << 20  # a migration of some thousand operations is a megabyte
_BLOCK: Final = 1 << 16
_SHOWN: Final = 300
_CONFIGURED: Final = "mend [monolith.manage] in strangler.toml"


def ask(manage: Manage, root: Path, seconds: float = TIME_S, most: int = _MOST_BYTES) -> Listing:
    """Return what is pending, as manage.py says it in the folder ``root``.

    Raises ``NotListed`` when it cannot be run, fails, or takes longer than ``seconds`` or prints more than ``most``
    bytes, and ``ProjectInvalid`` when a variable is not set.
    """
    given = {name: value.reveal() for name, value in manage.environment.items()}
    words = " ".join([*manage.command, *_ASKED])
    code, said, complaint = _ran([*manage.command, *_ASKED], root, {**os.environ, **given}, seconds, most)
    if code:
        raise NotListed(f"{words} failed ({_ended(code)}): {_why(complaint or said, [*given.values()])}")
    return parse(said, words)


def _ran(
    command: list[str], root: Path, environment: dict[str, str], seconds: float, most: int
) -> tuple[int, str, str]:
    try:
        # A group of its own: what it has started ends with it.
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as exc:
        raise NotListed(f"{command[0]} cannot be run in {root}: {os.strerror(exc.errno or 0)}; {_CONFIGURED}") from exc
    until = time.monotonic() + seconds
    with process:
        try:
            said, complaint = _output(process, until, seconds, most)
            return _waited(process, until, seconds), said, complaint
        except _TooMuch as exc:
            raise NotListed(f"{' '.join(command)} {exc}; it was ended") from exc
        finally:
            _end(process)


class _TooMuch(Exception):
    """A command took more time than it has, or said more than is read."""


def _output(process: subprocess.Popen[bytes], until: float, seconds: float, most: int) -> tuple[str, str]:
    """Return what ``process`` says on both of its outputs, until it closes them. Raises ``_TooMuch``."""
    said: dict[IO[bytes] | None, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for each in filter(None, said):
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map():
            left = until - time.monotonic()
            if left <= 0:
                raise _TooMuch(_late(seconds))
            for key, _ in selector.select(left):
                block = os.read(key.fd, _BLOCK)
                said[key.fileobj] += block  # type: ignore[index]
                if not block:
                    selector.unregister(key.fileobj)
            if sum(map(len, said.values())) > most:
                raise _TooMuch(f"has printed more than {most:,} bytes")
    return said[process.stdout].decode(errors="replace"), said[process.stderr].decode(errors="replace")


def _waited(process: subprocess.Popen[bytes], until: float, seconds: float) -> int:
    """Return the exit code: a process may close its outputs and go on. Raises ``_TooMuch``."""
    try:
        return process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired as exc:
        raise _TooMuch(_late(seconds)) from exc


def _late(seconds: float) -> str:
    return f"has not ended within {seconds:.0f} s"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it has begun, which may live on when it has ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _ended(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"ended by signal {-code}"


def _why(said: str, secrets: list[str]) -> str:
    """Return the last line of what a command said, without the values that it was given."""
    if "Unknown command" in said and _ASKED[0] in said:
        return "its monolith has no such command; add strangler_django, of this release, to its INSTALLED_APPS"
    lines = [each.strip() for each in said.splitlines() if each.strip()]
    last = lines[-1] if lines else "it said nothing"
    for each in sorted(filter(None, secrets), key=len, reverse=True):
        last = last.replace(each, "***")
    return printable(mask(last))[:_SHOWN]
