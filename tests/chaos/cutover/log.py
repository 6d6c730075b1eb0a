"""The file of what was sent and acknowledged: whole lines of JSON, from several processes, in the order of time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Log:
    """Appends to the file. What is written survives the death of who wrote it, not that of the machine."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(self, **words: object) -> None:
        os.write(self._file, json.dumps({"at": round(time.time(), 4), **words}).encode() + b"\n")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines; one that its writer was killed in has no end, and begins the next."""
    with path.open() as file:
        for line in file:
            yield json.loads(line)
