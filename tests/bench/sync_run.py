"""``strangler sync run`` in a process of its own, and how much memory it and its source's walsender take."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import psycopg

from strangler.local import Postgres, dies_with_parent
from tests.bench.sync_bed import Bed
from tests.fixtures.waiting import until

ROOT: Final = Path(__file__).parents[2]
COMPILED: Final = ROOT / "build" / "compiled"  # by make bench
_MB: Final = 1e6
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Ours:
    """The project's own commands, as ``source`` has them; ``peaks`` are the most that each ``sync run`` took, in MB."""

    bed: Bed
    source: Path = COMPILED
    peaks: list[float] = field(default_factory=list)

    @property
    def project(self) -> str:
        return str(self.bed.project.root / "strangler.toml")

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.source)}

    @contextmanager
    def running(self, cores: Sequence[int] = ()) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``sync run``, on ``cores`` where some are given, and end it afterwards."""
        log = self.bed.project.root / "sync.log"
        command = [*dies_with_parent("TERM"), sys.executable, "-P", "-m", "strangler", "--project", self.project]
        with log.open("wb") as said:
            process = subprocess.Popen(
                [*command, "sync", "run"],
                env=self.environment(),
                stdout=said,
                stderr=said,
                preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
            )
            try:
                yield process
                assert process.poll() is None, log.read_text()
                self.peaks.append(peak(process.pid))
            finally:
                process.terminate()
                process.wait(30)


def peak(process: int) -> float:
    """Return the most that a process ever had in memory, pages of files included, in MB (``VmHWM`` of proc(5))."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / _MB


def private(process: int) -> float:
    """Return what a process has written to of its own, in MB: shared buffers are not in it."""
    found = re.search(r"Private_Dirty:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text())
    assert found is not None
    return int(found[1]) * 1024 / _MB


@contextmanager
def watched(server: Postgres, slot: str) -> Iterator[list[float]]:
    """Look at the memory of the walsender of ``slot`` meanwhile; yield what it had, in MB."""
    over, seen = threading.Event(), list[float]()

    def look() -> None:
        while not over.wait(_LOOK_S):
            number = reader(server, slot)
            if number is not None and psutil.pid_exists(number):
                seen.append(private(number))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def reader(server: Postgres, slot: str) -> int | None:
    """Return the number of the server's process that sends what ``slot`` has; None while nobody reads it."""
    with psycopg.connect(server.url("shop")) as connection:
        row = connection.execute("select active_pid from pg_replication_slots where slot_name = %s", [slot]).fetchone()
    return row[0] if row else None


def pin_reader(server: Postgres, slot: str, core: int) -> int:
    """Have the process that sends what ``slot`` has run on ``core`` alone; return its number."""
    number = reader(server, slot)
    assert number is not None, f"nobody reads {slot}"
    psutil.Process(number).cpu_affinity([core])
    return number


def await_reader(server: Postgres, slot: str, *, gone: bool = False) -> None:
    """Wait until somebody reads ``slot``, or until nobody does."""
    with psycopg.connect(server.url("shop"), autocommit=True) as connection:
        query = "select active from pg_replication_slots where slot_name = %s"

        def holds() -> bool:
            row = connection.execute(query, [slot]).fetchone()
            return row is not None and row[0] is not gone

        until(holds, f"slot {slot} is {'free' if gone else 'read'}", 60)
