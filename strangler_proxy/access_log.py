"""The access log: a line of JSON a request, written in large pieces and never waited for.

Lines gather in memory and go out when there are 64 kB of them, or with the worker's next beat. Several workers append
to one file; each write is whole lines, and appending is atomic (O_APPEND).
"""

from __future__ import annotations

import json
import os
from typing import Final

_PIECE: Final = 64 * 1024


class AccessLog:
    """Appends to the file ``path``, or to standard output for ``-``."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._path = path
        self._fd = os.dup(1) if path == "-" else os.open(path, flags, 0o640)
        self._lines: list[str] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"AccessLog({self._path!r})"

    def line(self, **fields: str | int | float | None) -> None:
        """Add a line."""
        text = json.dumps(fields, separators=(",", ":"))
        self._lines.append(text)
        self._size += len(text)
        if self._size > _PIECE:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered; on a full disk or a closed pipe it is lost, the requests are not."""
        if not self._lines:
            return
        piece = ("\n".join(self._lines) + "\n").encode()
        self._lines.clear()
        self._size = 0
        try:
            os.write(self._fd, piece)
        except OSError:
            return

    def close(self) -> None:
        self.flush()
        os.close(self._fd)
