"""Holds the listening sockets, keeps the workers alive, sums what they report, and answers the admin port.

Each worker has sockets of its own on the same addresses (``SO_REUSEPORT``), so that the kernel spreads connections and
no worker waits for another. They are bound and listening here, before any worker starts and while one is replaced.

To stop, new connections are turned away first; then each worker takes those that its sockets still hold, closes
them, and finishes what is under way, telling clients with each answer that the connection ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from strangler_proxy.errors import WorkersFail
from strangler_proxy.exposition import Total
from strangler_proxy.listening import bind, turn_away
from strangler_proxy.settings import Settings
from strangler_proxy.worker import Orders

_LOG: Final = logging.getLogger("strangler_proxy")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
# A worker that lived this long did not die of how it was started.
_SETTLED: Final = 10.0
# So many deaths before the first report, and starting it again will not help.
_HOPELESS: Final = 5
_ASK: Final = 0.5
# Three beats missed, as the ledger counts who lives (LIVE_S); after ten times that a worker will not wake up.
_SILENT: Final = 3.0
_HUNG: Final = 30.0
_WATCH: Final = 1.0
# What a worker needs to end after its drain: two seconds at most to take its name out of Valkey and Postgres.
_FAREWELL: Final = 4.0


@dataclass(slots=True, eq=False)
class Slot:
    """A worker's place: its sockets, and whichever process fills it now. ``report`` is the last that came."""

    settings: Settings
    listeners: list[socket.socket]
    process: subprocess.Popen[bytes] | None = None
    writer: asyncio.StreamWriter | None = None
    report: dict[str, Any] | None = None
    reported: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = 0.0  # on the monotonic clock

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def silence(self) -> float:
        """Return for how many seconds nothing came from the worker."""
        return time.monotonic() - self.heard_at


class Supervisor:
    """Runs one worker a slot until told to stop."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = tuple(slots)
        self.restarts = 0
        self.started_at = time.time()
        self.stopping = False
        self._served = False
        self._gone = Total()
        self._hopeless: WorkersFail | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Supervisor workers={[slot.pid for slot in self.slots]} restarts={self.restarts}>"

    @property
    def ready(self) -> bool:
        """Whether every worker serves, and says so."""
        return not self.stopping and all(slot.report is not None and slot.silence() < _SILENT for slot in self.slots)

    def total(self) -> Total:
        """Return what all workers have counted, those that are gone included."""
        total = Total()
        for tally in (self._gone.snapshot(), *(slot.report["tally"] for slot in self.slots if slot.report)):
            total.add(tally)
        return total

    def reports(self) -> list[dict[str, Any]]:
        """Return the last report of each worker that lives."""
        return [{"worker": slot.settings.worker, "pid": slot.pid, **slot.report} for slot in self.slots if slot.report]

    async def ask(self) -> None:
        """Have every worker report now; one that does not within half a second keeps its last report."""
        waits = [slot for slot in self.slots if slot.writer is not None and slot.report is not None]
        for slot in waits:
            slot.reported.clear()
            with suppress(OSError, RuntimeError):  # the latter is uvloop's for a pipe whose end is gone
                assert slot.writer is not None  # noqa: S101 -- chosen so
                slot.writer.write(b"report\n")
        with suppress(TimeoutError):
            async with asyncio.timeout(_ASK):
                await asyncio.gather(*(slot.reported.wait() for slot in waits))

    async def run(self, announce: Callable[[], None]) -> None:
        """Start the workers, call ``announce`` once all serve, and return after they have drained.

        Raises ``WorkersFail`` when they cannot start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        self._tasks = [asyncio.create_task(self._keep(slot)) for slot in self.slots]
        beside = [asyncio.create_task(self._announce(announce)), asyncio.create_task(self._watch())]
        await asyncio.gather(*self._tasks)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        if self._hopeless is not None:
            raise self._hopeless

    async def _announce(self, announce: Callable[[], None]) -> None:
        for slot in self.slots:
            await slot.reported.wait()
        self._served = True
        announce()

    async def _watch(self) -> None:
        """End workers that hang: nobody else would, and their share of the connections waits."""
        while True:
            await asyncio.sleep(_WATCH)
            for slot in self.slots:
                if slot.report is not None and slot.silence() > _HUNG:
                    _LOG.error("worker %s has said nothing for %d s", slot.settings.worker, slot.silence())
                    _kill(slot)

    def reload(self) -> None:
        """Have every worker read certificates again and open its log anew."""
        for slot in self.slots:
            if slot.process is not None and slot.process.poll() is None:
                slot.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Close the ports and let the workers drain; called again, end them at once."""
        loop = asyncio.get_running_loop()
        for slot in self.slots:
            patience = _FAREWELL if self.stopping else _FAREWELL + slot.settings.timeouts.drain
            loop.call_later(patience, _kill, slot)
        self.stopping = True
        for slot in self.slots:
            for listener in slot.listeners:
                turn_away(listener)
                listener.close()
            slot.listeners.clear()
            if slot.process is not None and slot.process.poll() is None:
                slot.process.send_signal(signal.SIGTERM)

    async def _keep(self, slot: Slot) -> None:
        """Fill a slot again whenever its worker ends."""
        pause, deaths = 0.0, 0
        while not self.stopping:
            await asyncio.sleep(pause)
            if self.stopping:
                return
            began = time.monotonic()
            try:
                code = await self._fill(slot)
            except OSError as exc:  # no descriptor, no memory, no process left
                _LOG.error("a worker cannot be started: %s", exc)
                code = -1
            served, slot_report = slot.report is not None, slot.report
            if slot_report is not None:
                self._gone.add(slot_report["tally"])
            slot.report = slot.process = slot.writer = None
            if self.stopping:
                return
            deaths = 0 if served else deaths + 1
            if deaths >= _HOPELESS and not self._served:  # once all have served, the others go on doing so
                self._hopeless = WorkersFail(f"workers end before they serve (exit code {code})")
                self.stop()
                return
            self.restarts += 1
            lived = time.monotonic() - began
            pause = _FIRST_PAUSE if lived > _SETTLED else min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            _LOG.warning("worker %s ended (exit code %s); another starts", slot.settings.worker, code)

    async def _fill(self, slot: Slot) -> int:
        """Run one worker process from start to end, and return its exit code."""
        ours, theirs = socket.socketpair()
        descriptors = tuple(listener.fileno() for listener in slot.listeners)
        try:
            slot.process = subprocess.Popen(  # noqa: ASYNC220 -- a fork takes a millisecond, and nobody waits here
                [sys.executable, "-P", "-m", "strangler_proxy.worker"], stdin=theirs.fileno(), pass_fds=descriptors
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, slot.writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 24)
        slot.writer.write(Orders(settings=slot.settings, listeners=descriptors).to_line())
        try:
            while line := await reader.readline():
                slot.report = json.loads(line)
                slot.heard_at = time.monotonic()
                slot.reported.set()
        except (OSError, ValueError):
            pass  # ended in the middle of a line: the one before counts
        slot.writer.close()
        return await asyncio.to_thread(slot.process.wait)


def _kill(slot: Slot) -> None:
    """End a worker that does not end by itself; the supervisor could not end either."""
    if slot.process is not None and slot.process.poll() is None:
        _LOG.warning("worker %s does not end, and is killed", slot.settings.worker)
        slot.process.kill()


def slots(settings: Settings, workers: int) -> list[Slot]:
    """Return a slot for each worker, its sockets bound. Raises ``ProxyError``."""
    bound = [bind(address, workers, settings.entry.mode) for address in settings.entry.addresses]
    # In containers neither the node's name nor the process's number tells proxies apart.
    node = f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(3)}"
    return [
        Slot(
            settings=replace(settings, worker=f"{node}:{number}"),
            listeners=[sockets[number] for sockets in bound],
        )
        for number in range(workers)
    ]
