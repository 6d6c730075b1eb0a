"""Servers to measure, each in a process of its own on a core of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from tests.fixtures.waiting import until

# Whatever is measured has one core for itself; load and origin share the other.
PROXY_CORE: Final = 0
LOAD_CORE: Final = 1


@contextlib.contextmanager
def process(
    core: int, command: Sequence[str], port: int, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` on ``core`` until it listens on ``port``, and end it afterwards."""
    started = subprocess.Popen(
        command,
        preexec_fn=_pin(core),
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: listens(port) or started.poll() is not None, f"port {port} listens")
        assert started.poll() is None, command
        yield started
    finally:
        started.terminate()
        started.wait(20)


def _pin(core: int) -> Callable[[], None]:
    cores = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cores[core % len(cores)]})


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
