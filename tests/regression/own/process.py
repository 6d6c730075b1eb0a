"""A server of a stack, started for tests and stopped after them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection

from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that answers at ``url``."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    @contextmanager
    def started(
        cls, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
    ) -> Iterator[Process]:
        """Run Python with ``arguments``, ``{port}`` in them being a free one, until the context ends."""
        port = free_port()
        command = [sys.executable, *(each.format(port=port) for each in arguments)]
        with log.open("w") as output:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            until(lambda: process.poll() is not None or _accepts(port), f"{arguments[1]} listens", seconds=30)
            assert process.poll() is None, log.read_text()
            yield cls(port=port, process=process)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and then not to wait for whoever might still come: nobody does."""
    process.terminate()
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def _accepts(port: int) -> bool:
    try:
        with create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
