"""Holds the listening sockets, keeps the workers alive, sums what they report, and answers the admin port.

The listening sockets (``places``) are held here: bound before any worker starts, and open while one is replaced.

Settings that have changed are taken over worker by worker: a successor is started on the same sockets, and when it
serves its predecessor drains. So no connection is refused, and settings that do not work go no further than the first.

To stop, new connections are turned away first; then each worker takes those that its sockets still hold, closes
them, and finishes what is under way, telling clients with each answer that the connection ends. Where a successor
serves on the same sockets (``takeover``) nobody is turned away, and kept connections may rest as long as there is time.
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
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

from strangler.project import ProjectInvalid
from strangler_proxy.errors import ProxyError, WorkersFail
from strangler_proxy.exposition import Total
from strangler_proxy.notify import Notice
from strangler_proxy.orders import LEAVE, Orders
from strangler_proxy.places import Place, deal, places
from strangler_proxy.settings import Settings

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
# A successor serves after a second; by settings that do not work it never does.
_PATIENCE: Final = 15.0
# What a worker needs to end after its drain: two seconds at most to take its name out of Valkey and Postgres.
_FAREWELL: Final = 4.0


@dataclass(slots=True, eq=False)
class Hand:
    """A worker's process from its start to its end. ``report`` is the last that came, at ``heard_at`` (monotonic)."""

    settings: Settings
    process: subprocess.Popen[bytes]
    writer: asyncio.StreamWriter
    report: dict[str, Any] | None = None
    reported: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = field(default_factory=time.monotonic)
    ended: asyncio.Task[int] = field(init=False)

    def silence(self) -> float:
        """Return for how many seconds nothing came from it."""
        return time.monotonic() - self.heard_at

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def leave(self) -> None:
        """Have it drain, while another serves on its sockets."""
        self._write(LEAVE)

    def ask(self) -> None:
        """Have it report."""
        self.reported.clear()
        self._write(b"report\n")

    def _write(self, line: bytes) -> None:
        with suppress(OSError, RuntimeError):  # the latter is uvloop's for a pipe whose end is gone
            self.writer.write(line)

    def kill(self) -> None:
        """End it at once: it does not end by itself."""
        if self.process.poll() is None:
            _LOG.warning("worker %s does not end, and is killed", self.settings.worker)
            self.process.kill()


@dataclass(slots=True, eq=False)
class Slot:
    """A worker's place: its sockets, and whichever process fills it now."""

    settings: Settings
    places: list[Place]
    hand: Hand | None = None

    @property
    def report(self) -> dict[str, Any] | None:
        return self.hand.report if self.hand is not None else None


class Supervisor:
    """Runs one worker a slot until told to stop. ``read`` reads the settings again, and raises what it finds wrong.

    ``notice`` is told how it goes.
    """

    def __init__(
        self, slots: Sequence[Slot], read: Callable[[], Settings] | None = None, notice: Notice | None = None
    ) -> None:
        self.slots = tuple(slots)
        self.restarts = 0
        self.started_at = time.time()
        self.stopping = False
        self._read = read
        self._notice = notice or Notice()
        self._served = False
        self._gone = Total()
        self._alive: set[Hand] = set()  # from their start to their end: in a slot, on the way there or from there
        self._farewell: Callable[[Hand], None] | None = None  # how workers are told to end, once they are
        self._numbers = count(1)
        self._hopeless: ProxyError | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._heard = asyncio.Event()
        self._renewing = asyncio.Lock()
        self._beside: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Supervisor workers={[hand.process.pid for hand in self._hands()]} restarts={self.restarts}>"

    def _hands(self) -> list[Hand]:
        return [slot.hand for slot in self.slots if slot.hand is not None]

    @property
    def places(self) -> list[Place]:
        """The listening sockets, each once."""
        return list(dict.fromkeys(place for slot in self.slots for place in slot.places))

    @property
    def ready(self) -> bool:
        """Whether every worker serves, and says so."""
        serving = [hand for hand in self._hands() if hand.report is not None and hand.silence() < _SILENT]
        return not self.stopping and len(serving) == len(self.slots)

    def total(self) -> Total:
        """Return what all workers have counted, those that are gone included."""
        total = Total()
        total.add(self._gone.snapshot())
        for hand in self._alive:  # what ended is among the gone
            if hand.report is not None:
                total.add(hand.report["tally"])
        return total

    def reports(self) -> list[dict[str, Any]]:
        """Return the last report of each worker that lives."""
        return [
            {"worker": hand.settings.worker, "pid": hand.process.pid, **hand.report}
            for hand in self._hands()
            if hand.report is not None
        ]

    async def ask(self) -> None:
        """Have every worker report now; one that does not within half a second keeps its last report."""
        waits = [hand for hand in self._hands() if hand.report is not None]
        for hand in waits:
            hand.ask()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ASK):
                await asyncio.gather(*(hand.reported.wait() for hand in waits))

    async def run(self, announce: Callable[[], Awaitable[None]]) -> None:
        """Start the workers, call ``announce`` once all serve, and return after they have drained.

        Raises ``WorkersFail`` when they cannot start, and the ``ProxyError`` that ``announce`` raises.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._aside, self.renew)
        self._tasks = [asyncio.create_task(self._keep(slot)) for slot in self.slots]
        self._aside(lambda: self._announce(announce))
        self._aside(self._watch)
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*(hand.ended for hand in self._alive))
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        if self._hopeless is not None:
            raise self._hopeless

    def _aside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.get_running_loop().create_task(work())
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _announce(self, announce: Callable[[], Awaitable[None]]) -> None:
        while not self.stopping and not all(slot.report is not None for slot in self.slots):
            self._heard.clear()
            await self._heard.wait()
        if self.stopping:
            return
        self._served = True
        try:
            await announce()
        except ProxyError as exc:
            self._hopeless = exc
            self.stop()
            return
        self._notice.ready()

    async def _watch(self) -> None:
        """End workers that hang: nobody else would, and their share of the connections waits."""
        pause = _WATCH if self._notice.watchdog is None else min(_WATCH, self._notice.watchdog / 2)
        while True:
            await asyncio.sleep(pause)
            self._tell()
            for hand in self._hands():
                if hand.silence() > _HUNG:  # since its start, where it has said nothing
                    _LOG.error("worker %s has said nothing for %d s", hand.settings.worker, hand.silence())
                    hand.kill()

    def _tell(self) -> None:
        """Tell how it is, and that it is alive while nobody is silent and somebody serves."""
        reporting = [hand for hand in self._hands() if hand.report is not None]
        silent = [hand for hand in reporting if hand.silence() >= _SILENT]
        if self.stopping or (reporting and not silent):
            self._notice.alive()
        if not self.stopping and reporting:
            version = min(hand.report["version"] for hand in reporting if hand.report is not None)
            serving = len(reporting) - len(silent)
            self._notice.status(f"{serving} of {len(self.slots)} workers serve by routing table {version}")

    # --- other settings ---

    @property
    def settings(self) -> Settings:
        """What workers go by that are started now; while others are taken over, those in the first place begin."""
        return self.slots[0].settings

    async def renew(self) -> None:
        """Read the settings again and take them over; those that are wrong or do not work are refused."""
        async with self._renewing:
            if not self._served:  # nobody was told yet that it serves
                await self._renew()
                return
            self._notice.reloading()
            await self._renew()
            self._notice.ready()

    async def _renew(self) -> None:
        settings = self._settings_now()
        if settings is None:  # as they were: the same workers look at their files again
            for hand in self._hands():
                if hand.report is not None:  # else it does not listen yet, and would end
                    hand.signal(signal.SIGHUP)
            return
        for slot in self.slots:
            if self.stopping or not await self._replace(slot, settings):
                return
        _LOG.warning("all workers go by the settings as they are now")

    def _settings_now(self) -> Settings | None:
        """Return the settings as they are read now, None when they are as before or cannot be taken over."""
        before = self.settings
        if self._read is None:
            return None
        try:
            read = self._read()
        except (ProjectInvalid, ProxyError, OSError, ValueError) as exc:
            _LOG.error("the settings in force stay, since those in the files are wrong: %s", exc)
            return None
        if read.entry.addresses != before.entry.addresses:
            _LOG.error("the settings in force stay: other addresses to listen on want a restart")
            return None
        if why := before.links.why_not(read.links):
            _LOG.error("the settings in force stay, since a changed secret wants two steps: %s", why)
            return None
        unchanged = replace(read, worker=before.worker, table=before.table) == before
        return None if unchanged else read

    async def _replace(self, slot: Slot, settings: Settings) -> bool:
        """Have a successor fill a slot, and return whether it serves; else nothing has changed."""
        settings = replace(settings, worker=slot.settings.worker)
        try:
            hand = await self._begin(slot, settings)
        except OSError as exc:
            _LOG.error("the settings in force stay, since no worker can be started by others: %s", exc)
            return False
        served = asyncio.create_task(hand.reported.wait())
        await asyncio.wait((served, hand.ended), timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        served.cancel()
        if hand.report is None:
            _LOG.error("the settings in force stay, since a worker does not serve by those in the files")
            hand.kill()
            return False
        before, slot.hand, slot.settings = slot.hand, hand, settings
        if before is not None:
            self._retire(before)
        return True

    def _retire(self, hand: Hand) -> None:
        """Have a worker drain whose place another has."""
        hand.leave()
        asyncio.get_running_loop().call_later(_FAREWELL + hand.settings.timeouts.drain, hand.kill)

    # --- beginning and end ---

    def stop(self) -> None:
        """Close the ports and let the workers drain; called again, end them at once."""
        self._notice.stopping()
        self._end(lambda hand: hand.signal(signal.SIGTERM))

    def make_way(self) -> None:
        """Let the workers drain, with all the time there is: a successor serves on the same sockets."""
        self._end(Hand.leave)

    def _end(self, tell: Callable[[Hand], None]) -> None:
        for place in self.places:
            place.close()
        for hand in self._alive:
            self._part(hand, tell)
        self._farewell, self.stopping = tell, True
        self._heard.set()

    def _part(self, hand: Hand, tell: Callable[[Hand], None]) -> None:
        patience = _FAREWELL if self.stopping else _FAREWELL + hand.settings.timeouts.drain
        asyncio.get_running_loop().call_later(patience, hand.kill)
        tell(hand)

    async def _keep(self, slot: Slot) -> None:
        """Fill a slot again whenever its worker ends."""
        pause, deaths = 0.0, 0
        while not self.stopping:
            await asyncio.sleep(pause)
            if self.stopping:
                return
            began = time.monotonic()
            code, served = await self._fill(slot)
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

    async def _fill(self, slot: Slot) -> tuple[int, bool]:
        """Run a worker, and its successors, until one ends unasked; return its exit code and whether it served."""
        if slot.hand is None:
            try:
                hand = await self._begin(slot, slot.settings)
            except OSError as exc:  # no descriptor, no memory, no process left
                _LOG.error("a worker cannot be started: %s", exc)
                return -1, False
            if slot.hand is None:
                slot.hand = hand
            else:  # one by other settings is there meanwhile
                self._retire(hand)
        hand = slot.hand
        while True:
            code = await asyncio.shield(hand.ended)
            if slot.hand is hand:
                slot.hand = None
                return code, hand.report is not None
            assert slot.hand is not None  # noqa: S101 -- only _replace puts another there
            hand = slot.hand

    async def _begin(self, slot: Slot, settings: Settings) -> Hand:
        """Start a worker process on a slot's sockets, by a name that no process had before. Raises ``OSError``."""
        settings = replace(settings, worker=f"{settings.worker}+{next(self._numbers)}")
        ours, theirs = socket.socketpair()
        descriptors = tuple(place.listener.fileno() for place in slot.places)
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 -- a fork takes a millisecond, and nobody waits here
                [sys.executable, "-P", "-m", "strangler_proxy.worker"],
                stdin=theirs.fileno(),
                pass_fds=descriptors,
                process_group=0,  # Ctrl-C reaches the supervisor alone, who decides; a worker may be loading yet
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 24)
        addresses = tuple(place.address for place in slot.places)
        writer.write(Orders(settings=settings, listeners=descriptors, addresses=addresses).to_line())
        hand = Hand(settings=settings, process=process, writer=writer)
        hand.ended = asyncio.create_task(self._listen(hand, reader))
        self._alive.add(hand)
        if self._farewell is not None:  # the end began while it was started
            self._part(hand, self._farewell)
        return hand

    async def _listen(self, hand: Hand, reader: asyncio.StreamReader) -> int:
        """Take a worker's reports until it ends, and return its exit code."""
        try:
            while line := await reader.readline():
                hand.report = json.loads(line)
                hand.heard_at = time.monotonic()
                hand.reported.set()
                self._heard.set()
        except (OSError, ValueError):
            pass  # ended in the middle of a line: the one before counts
        hand.writer.close()
        code = await asyncio.to_thread(hand.process.wait)
        if hand.report is not None:
            self._gone.add(hand.report["tally"])
        self._alive.discard(hand)
        return code


def slots(settings: Settings, workers: int, inherited: Sequence[Place] = ()) -> list[Slot]:
    """Return a slot for each worker, with sockets that a predecessor has where there are. Raises ``ProxyError``."""
    mode = settings.entry.mode
    dealt = [deal(places(each, workers, mode, inherited), workers) for each in settings.entry.addresses]
    # In containers neither the node's name nor the process's number tells proxies apart.
    node = f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(3)}"
    return [
        Slot(
            settings=replace(settings, worker=f"{node}:{number}"),
            places=[place for parts in dealt for place in parts[number]],
        )
        for number in range(workers)
    ]
