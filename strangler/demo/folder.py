"""The folder that a demo keeps its things in: data, secrets, logs, and what other terminals need to know."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

_LOCK: Final = "demo.lock"
ENV_FILE: Final = "demo.env"
LOCAL_ENV_FILE: Final = "local.env"
# Engines are started by root as somebody else where namespaces are not allowed: they must get through, no more.
_THROUGH: Final = 0o711


class FolderTaken(Exception):
    """Another demo runs in the same folder. End that one first."""


@dataclass(slots=True)
class Folder:
    """One folder, held by one demo at a time."""

    path: Path
    env_file: str = ENV_FILE
    _lock: int | None = field(default=None, init=False, repr=False)

    @property
    def env_path(self) -> Path:
        return self.path / self.env_file

    @property
    def logs(self) -> Path:
        return self.path / "log"

    def hold(self) -> None:
        """Take the folder for this process until it ends. Raises ``FolderTaken``."""
        self.path.mkdir(mode=_THROUGH, parents=True, exist_ok=True)
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(lock, 20, 0).decode().strip() or "unknown"
            os.close(lock)
            raise FolderTaken(
                f"a demo, or strangler local, runs in {self.path} already, pid {holder}; end that one first"
            ) from exc
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def reset(self) -> None:
        """Forget everything that earlier runs kept."""
        for each in self.path.iterdir():
            if each.name == _LOCK:
                continue
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()

    def start_logs(self) -> None:
        """Begin with empty logs: those of the last run are of no use, and they would grow for ever."""
        self.logs.mkdir(mode=0o700, exist_ok=True)
        for each in self.logs.iterdir():
            with suppress(IsADirectoryError):
                each.unlink()

    def log(self, name: str) -> Path:
        return self.logs / f"{name.replace(' ', '-')}.log"

    def secret(self, name: str) -> str:
        """Return the secret called ``name``: made once, kept where only this user reads it."""
        path = self.path / "secrets" / name.replace(" ", "-").lower()
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            _write_private(path, secrets.token_urlsafe(48))
        return path.read_text().strip()

    def write_env(self, variables: Mapping[str, str]) -> None:
        """Write what ``env_file`` of strangler.toml names, for every verb in every terminal."""
        lines = "".join(f"{name}={value}\n" for name, value in sorted(variables.items()))
        _write_private(self.env_path, lines)

    def was_done(self, *words: str) -> bool:
        """Whether what ``words`` describe was noted as done, since the last reset."""
        return self._note(words).exists()

    def note_done(self, *words: str) -> None:
        note = self._note(words)
        note.parent.mkdir(mode=0o700, exist_ok=True)
        note.touch()

    def _note(self, words: tuple[str, ...]) -> Path:
        return self.path / "done" / sha256("\0".join(words).encode()).hexdigest()[:16]


def _write_private(path: Path, text: str) -> None:
    # Whole or not at all: another terminal may be reading it.
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    beside.replace(path)
