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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from strangler.local import Postgres
from tests.bench.rounds import percentile
from tests.bench.sync_bed import Bed
from tests.bench.sync_peers import surroundings

SHARE: Final = 0.6
"""Of what the owner can do at most, by itself: at that rate times are taken."""
_CLIENTS: Final = 4
_WARM_S: Final = 2
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
        return _rate(self._pgbench("-T", str(self.seconds)))

    def tail(self, rate: float) -> float:
        """Return the 99th percentile at ``rate`` transactions a second, in ms, counted from when each was due.

        Where so many cannot be done they wait for each other, and it shows.
        """
        with tempfile.TemporaryDirectory() as folder:
            prefix = str(Path(folder) / "log")
            self._pgbench("-T", str(self.seconds), "-R", f"{rate:.0f}", "-l", f"--log-prefix={prefix}")
            lines = [line for file in Path(folder).iterdir() for line in file.read_text().splitlines()]
        return percentile(durations(lines), 0.99)

    def _pgbench(self, *options: str) -> str:
        command = [self.bed.program("pgbench"), "-n", "-M", "prepared", "-c", str(_CLIENTS), "-j", "1"]
        done = subprocess.run(
            [*command, *options, "-f", str(self.script)],
            env=surroundings(self.bed.source),
            check=True,
            capture_output=True,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {self.cores.owner}),
            timeout=20 * self.seconds,
        )
        return done.stdout


@contextmanager
def owner(bed: Bed, seconds: int) -> Iterator[Owner]:
    """Give the owner's server a core of its own meanwhile, and everything else the other one."""
    bed.run(bed.source, "drop sequence if exists placed")
    [(low, high)] = bed.run(bed.source, "select min(id), max(id) from purchase where id > 1")
    bed.run(bed.source, f"create sequence placed start {high + 1}")
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


def durations(lines: Sequence[str]) -> Iterator[float]:
    """Yield the milliseconds of each transaction of pgbench's log; with ``-R`` they begin when it was due."""
    for line in lines:
        _, _, microseconds, *_ = line.split()
        yield int(microseconds) / 1000


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
