"""What goes wrong while the owner moves: parts are killed or stopped, transactions and locks stay."""

from __future__ import annotations

import random
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import psutil
import psycopg

from strangler.local import Postgres, Valkey
from tests.chaos.cutover.bed import SYNCS, Bed, end_all
from tests.chaos.cutover.log import Log
from tests.chaos.cutover.tables import TABLES

_CLIENT: Final = 700
_values = iter(range(_CLIENT * 1_000_000, (_CLIENT + 1) * 1_000_000))

Trouble = Callable[[Bed, random.Random, subprocess.Popen[bytes]], bool]
"""Does it, mends it as a supervisor would, and returns whether there was anybody whom it could befall.

The process is the conductor of the move that is under way.
"""


def _stop(processes: list[psutil.Process], seconds: float) -> bool:
    for how in (signal.SIGSTOP, signal.SIGCONT):
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(how)
        if how is signal.SIGSTOP and processes:
            time.sleep(seconds)
    return bool(processes)


def _family(process: subprocess.Popen[bytes] | None) -> list[psutil.Process]:
    assert process is not None
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(process.pid)
        return [first, *first.children(recursive=True)]
    return []


def _conductor_dies(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> bool:
    if conductor.poll() is not None:
        return False
    end_all(conductor, signal.SIGKILL)
    return True


def _conductor_stops(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> bool:
    """Stop it for longer than anybody waits for it, often; then it wakes, and somebody else has gone on."""
    return _stop(_family(conductor), draw.uniform(0.2, 8.0))


def _dies(victim: str) -> Trouble:
    return lambda bed, draw, _: bed.kill(victim)


def _stops(victim: str) -> Trouble:
    return lambda bed, draw, _: _stop(_family(bed.children[victim]), draw.uniform(0.2, 4.0))


def _sync_dies(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> bool:
    return bed.kill(draw.choice(SYNCS))


def _both_die(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> bool:
    return bed.kill(*SYNCS)


def _sync_stops(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> bool:
    return _stop(_family(bed.children[draw.choice(SYNCS)]), draw.uniform(0.2, 4.0))


def _worker_dies(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> bool:
    workers = bed.proxy_workers()
    with suppress(psutil.NoSuchProcess, IndexError):
        draw.choice(workers).kill()
        return True
    return False


def _worker_stops(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> bool:
    workers = bed.proxy_workers()
    return _stop([draw.choice(workers)] if workers else [], draw.uniform(0.2, 5.0))


def _engine(bed: Bed, name: str) -> Postgres | Valkey:
    return bed.valkey if name == "Valkey" else bed.servers[name]


def _engine_dies(name: str) -> Trouble:
    return lambda bed, draw, _: bed.kill_engine(_engine(bed, name))


def _engine_stops(name: str) -> Trouble:
    return lambda bed, draw, _: _stop(_family(_engine(bed, name).process), draw.uniform(0.2, 3.0))


def _lock_stays(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> bool:
    side = draw.choice(list(TABLES))
    mode = draw.choice(("access share", "row exclusive", "share", "share row exclusive", "access exclusive"))
    with suppress(psycopg.Error), psycopg.connect(bed.url(side), connect_timeout=2) as connection:
        connection.execute(f"lock table {draw.choice(TABLES[side].names)} in {mode} mode".encode())
        time.sleep(draw.uniform(0.2, 4.0))
        return True
    return False


def _transaction_stays(bed: Bed, draw: random.Random, conductor: subprocess.Popen[bytes]) -> bool:
    """Write a purchase, and commit it long after."""
    side, log = draw.choice(list(TABLES)), Log(bed.acknowledgements)
    words = {"ref": str(uuid.UUID(int=draw.getrandbits(128), version=4)), "client": _CLIENT, "value": next(_values)}
    log.tell(what="sent", **words)
    with suppress(psycopg.Error):
        with psycopg.connect(bed.url(side), connect_timeout=2) as connection:
            connection.execute(f"set transaction isolation level {draw.choice(_LEVELS)}".encode())
            connection.execute(TABLES[side].buy.encode(), words)
            time.sleep(draw.uniform(0.2, 4.0))
        log.tell(what="acknowledged", stack=side, **words)
        return True
    return False


_LEVELS: Final = ("read committed", "repeatable read", "serializable")
KILLS: Final[Mapping[str, Trouble]] = {
    "conductor killed": _conductor_dies,
    "sync killed": _sync_dies,
    "both syncs killed": _both_die,
    "proxy worker killed": _worker_dies,
    "Celery killed": _dies("Celery"),
    "Valkey killed": _engine_dies("Valkey"),
    "source killed": _engine_dies("source"),
    "target killed": _engine_dies("target"),
    "control database killed": _engine_dies("control"),
}
STOPS: Final[Mapping[str, Trouble]] = {
    "conductor stopped": _conductor_stops,
    "sync stopped": _sync_stops,
    "proxy worker stopped": _worker_stops,
    "Celery stopped": _stops("Celery"),
    "Valkey stopped": _engine_stops("Valkey"),
    "source stopped": _engine_stops("source"),
    "target stopped": _engine_stops("target"),
    "control database stopped": _engine_stops("control"),
}
STAYS: Final[Mapping[str, Trouble]] = {"a lock stays": _lock_stays, "a transaction stays": _transaction_stays}
TROUBLES: Final[Mapping[str, Trouble]] = {**KILLS, **STOPS, **STAYS}
# So often of ten: kills are what is counted.
_KINDS: Final = ((KILLS, 6), (STOPS, 2), (STAYS, 2))


def drawn(draw: random.Random) -> str:
    """Return the name of a trouble."""
    kind = draw.choices([kind for kind, _ in _KINDS], [weight for _, weight in _KINDS])[0]
    return draw.choice(list(kind))
