"""The access log: a line of JSON a request, written by a thread and never waited for.

Lines gather in memory and go to the thread when there are 64 kB of them, or with the worker's next beat. What is
read slowly (a pipe to a shipper, a terminal that was stopped) holds up the thread alone; when more than 1 MB waits,
lines are dropped and counted. Several workers append to one file: each write is whole lines, and appending is atomic
(O_APPEND). To a pipe only 4 kB at once are (PIPE_BUF), so there it is written in such pieces.
"""

from __future__ import annotations

import json
import os
import select
import stat
import threading
from collections import deque
from typing import Final

_PIECE: Final = 64 * 1024
_MOST: Final = 1024 * 1024
_LAST: Final = 2.0  # seconds for what waits when the worker ends


class AccessLog:
    """Appends to the file ``path``, or to standard output for ``-``. ``dropped`` counts the lines that were not."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.dropped = 0
        self._lines: list[str] = []
        self._size = 0
        self._waiting: deque[list[str]] = deque()
        self._unwritten = 0  # characters that the thread has not written yet
        self._counting = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._renewing = False
        self._fd = self._open()
        self._thread = threading.Thread(target=self._write_all, name="access log", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"AccessLog({self._path!r}, dropped={self.dropped})"

    def _open(self) -> int:
        if self._path == "-":
            return os.dup(1)
        # A pipe that nobody reads would have the worker wait before it serves anybody; so it is an error.
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        log = os.open(self._path, how, 0o640)
        os.set_blocking(log, True)
        return log

    def line(self, **fields: str | int | float | None) -> None:
        """Add a line."""
        text = json.dumps(fields, separators=(",", ":"))
        self._lines.append(text)
        self._size += len(text)
        if self._size > _PIECE:
            self.flush()

    def flush(self) -> None:
        """Give what has gathered to the thread; what does not fit there any more is dropped."""
        if not self._lines:
            return
        if self._unwritten + self._size > _MOST:
            self._drop(self._lines)
        else:
            self._note(self._size)
            self._waiting.append(self._lines)
            self._wake.set()
        self._lines = []
        self._size = 0

    def _note(self, size: int) -> None:
        with self._counting:  # held for an addition
            self._unwritten += size

    def _drop(self, lines: list[str]) -> None:
        with self._counting:
            self.dropped += len(lines)

    def reopen(self) -> None:
        """Write to the file that has the name now: the one from before was moved away."""
        self._renewing = True
        self._wake.set()

    def close(self) -> None:
        """Write what waits, for two seconds at most."""
        self.flush()
        self._ending = True
        self._wake.set()
        self._thread.join(_LAST)

    # --- the thread ---

    def _write_all(self) -> None:
        while not self._ending or self._waiting:
            self._wake.wait()
            self._wake.clear()
            if self._renewing:
                self._renew()
            while self._waiting:
                lines = self._waiting.popleft()
                self._write(lines)
                self._note(-sum(map(len, lines)))
        os.close(self._fd)

    def _renew(self) -> None:
        self._renewing = False
        try:
            fresh = self._open()
        except OSError:  # it cannot be made there: what is open goes on
            return
        os.close(self._fd)
        self._fd = fresh

    def _write(self, lines: list[str]) -> None:
        """Write ``lines``; on a full disk or a closed pipe they are lost, the requests are not."""
        try:
            for piece in self._pieces(lines):
                while piece:
                    piece = piece[os.write(self._fd, piece) :]
        except OSError:
            self._drop(lines)

    def _pieces(self, lines: list[str]) -> list[bytes]:
        if not stat.S_ISFIFO(os.fstat(self._fd).st_mode):
            return [("\n".join(lines) + "\n").encode()]
        pieces = [b""]
        for line in lines:
            data = line.encode() + b"\n"
            if len(pieces[-1]) + len(data) > select.PIPE_BUF:
                pieces.append(b"")
            pieces[-1] += data
        return pieces
