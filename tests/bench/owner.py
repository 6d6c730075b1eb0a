"""What a stream costs whoever writes the rows: pgbench on the owner's server, with the sync on and off.

The owner's server and pgbench have a core for themselves, the one that the disk's interrupts come to; the target and
the sync have the other one, and the target is in memory: elsewhere they have machines and disks of their own. The
walsender is on the other core, as where a server has one to spare, or on the owner's one, where it takes a part of what
there is. Every write is of the streamed table, which is the worst case.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

import psutil

from strangler.local import Postgres
from tests.bench.rounds import goes_on, percentile, tails
from tests.bench.sync_bed import Bed
from tests.bench.sync_peers import surroundings

SHARE: Final = 0.6
"""Of what the owner can do at most, by itself: at that rate times are taken."""
_CLIENTS: Final = 4
_WARM_S: Final = 2
# Twice as long is more than the 5 s after which the sync looks at what it keeps: one look is counted in each.
_SPAN_S: Final = 3.0
_COUNTED_S: Final = (0.5, 2.75)  # who was stopped catches up first, and what is due last runs into the next span
_PATIENCE_S: Final = 60
_FILES: Final = 200  # of 16 MB: more than all rounds write
_PROBES: Final = 100
_BLOCK: Final = 4096
# A customer looks at an order and pays it, and another one is placed: what a shop does all day, in one transaction.
_SCRIPT: Final = r"""
\set id random({low}, {high})
begin;
select status, price from purchase where id = :id;
update purchase set status = 'paid', paid = true, updated = now() where id = :id;
insert into purchase select nextval('placed'), :id % 50000, md5(:id::text)::uuid, 'open', 10.5, 1, 'as before', false,
  now(), now();
commit;
"""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core is the owner's, and which is for everything else."""

    owner: int
    other: int

    @classmethod
    def of(cls, folder: Path) -> Cores:
        """Give the owner the core that interrupts of the disk under ``folder`` come to.

        On the other one they would wait for what is busy there, and the owner with them, as on no server of its own.
        """
        before = _interrupts()
        with tempfile.TemporaryFile(dir=folder) as file:
            for _ in range(_PROBES):
                file.write(bytes(_BLOCK))
                file.flush()
                os.fsync(file.fileno())
        came = [after - earlier for after, earlier in zip(_interrupts(), before, strict=True)]
        chosen = sorted(os.sched_getaffinity(0), key=lambda core: -came[core])
        return cls(chosen[0], chosen[1])


def _interrupts() -> list[int]:
    """Return how many interrupts of devices each core had (proc_interrupts(5)); others have a word for a number."""
    head, *lines = Path("/proc/interrupts").read_text().splitlines()
    cores = len(head.split())
    devices = [line.split()[1 : 1 + cores] for line in lines if line.split()[0].rstrip(":").isdigit()]
    return [sum(map(int, each)) for each in zip(*devices, strict=True)]


@dataclass(frozen=True, slots=True)
class Owner:
    """The source of a bed as pgbench loads it."""

    bed: Bed
    cores: Cores
    script: Path
    seconds: int

    def most(self) -> float:
        """Return how many transactions a second there are, as fast as they go."""
        return _rate(self._pgbench(self.seconds))

    def tail(self, rate: float) -> float:
        """Return the 99th percentile at ``rate`` transactions a second, in ms, counted from when each was due.

        Where so many cannot be done they wait for each other, and it shows.
        """
        return percentile((took for _, took in self._timed(rate, self.seconds)), 0.99)

    def tails(self, rate: float, reading: Sequence[int], pairs: int) -> list[tuple[float, float]]:
        """Return so many pairs of the 99th percentile at ``rate``, in ms: processes go on, and they are stopped.

        They take turns under one load: a machine that others use is another one a minute later, and a stopped reader
        costs nothing, while its slot keeps what it is to send.
        """
        with turns(reading, 2 * pairs, _SPAN_S) as began:
            found = self._timed(rate, ceil(2 * pairs * _SPAN_S))
        assert len(began) == 2 * pairs, f"there were {len(began)} spans"
        return tails(found, began, _COUNTED_S)

    def _timed(self, rate: float, seconds: int) -> list[tuple[float, float]]:
        with tempfile.TemporaryDirectory() as folder:
            prefix = str(Path(folder) / "log")
            self._pgbench(seconds, "-R", f"{rate:.0f}", "-l", f"--log-prefix={prefix}")
            return list(timed(line for file in Path(folder).iterdir() for line in file.read_text().splitlines()))

    def _pgbench(self, seconds: int, *options: str) -> str:
        command = [self.bed.program("pgbench"), "-T", str(seconds), "-n", "-M", "prepared", "-c", str(_CLIENTS), "-j1"]
        done = subprocess.run(
            [*command, *options, "-f", str(self.script)],
            env=surroundings(self.bed.source),
            check=True,
            capture_output=True,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {self.cores.owner}),
            timeout=_PATIENCE_S + 2 * seconds,
        )
        return done.stdout


@contextmanager
def owner(bed: Bed, seconds: int) -> Iterator[Owner]:
    """Give the owner's server a core of its own meanwhile, and everything else the other one."""
    bed.run(bed.source, "drop sequence if exists placed")
    [(low, high)] = bed.run(bed.source, "select min(id), max(id) from purchase where id > 1")
    bed.run(bed.source, f"create sequence placed start {high + 1}")
    bed.ready_wal(bed.source, _FILES)
    every, cores = sorted(os.sched_getaffinity(0)), Cores.of(bed.source.folder.parent)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_SCRIPT.format(low=low, high=high))
        script.flush()
        _pin(bed.source, [cores.owner])
        _pin(bed.target, [cores.other])
        try:
            Owner(bed, cores, Path(script.name), _WARM_S).most()
            yield Owner(bed, cores, Path(script.name), seconds)
        finally:
            _pin(bed.source, every)
            _pin(bed.target, every)


@contextmanager
def turns(processes: Sequence[int], spans: int, span: float) -> Iterator[list[float]]:
    """Stop processes and have them go on in turns meanwhile; yield when each span began, in seconds of the epoch.

    Raises what came of it when one of them is gone.
    """
    chosen = [psutil.Process(each) for each in processes]
    began, over = list[float](), threading.Event()

    def take_turns() -> None:
        due = time.monotonic()
        while len(began) < spans and not over.wait(due - time.monotonic()):
            for each in chosen:
                each.resume() if goes_on(len(began)) else each.suspend()
            began.append(time.time())
            due += span

    with going_on_at_last(processes), ThreadPoolExecutor(1) as hand:
        taking = hand.submit(take_turns)
        try:
            yield began
        finally:
            over.set()
        taking.result()


@contextmanager
def going_on_at_last(processes: Sequence[int]) -> Iterator[None]:
    """Have processes go on at the end, also when this one is killed: who is stopped hears of nothing else."""
    command = ["sh", "-c", 'cat; for each; do kill -CONT "$each"; done 2>&-', "sh", *map(str, processes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):  # at the end its input is closed
        yield


def timed(lines: Iterable[str]) -> Iterator[tuple[float, float]]:
    """Yield when each transaction of pgbench's log was due, in seconds of the epoch, and its milliseconds from then.

    So they are counted with ``-R``; without it, from its beginning.
    """
    for line in lines:
        _, _, microseconds, _, seconds, more, *_ = line.split()
        took = int(microseconds)
        yield int(seconds) + (int(more) - took) / 1e6, took / 1000


def _rate(said: str) -> float:
    found = re.search(r"tps = ([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


def _pin(server: Postgres, cores: Sequence[int]) -> None:
    assert server.process is not None
    postmaster = psutil.Process(server.process.pid)
    for each in (postmaster, *postmaster.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # a session that has just ended
            each.cpu_affinity(list(cores))
