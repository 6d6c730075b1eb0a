"""One worker: a process with a loop of its own, told everything by its supervisor over standard input.

Standard input is one end of a socket pair. The first line that comes is what to do (``Orders``); after it each line
from the supervisor asks for a report, or says that others serve here now (``LEAVE``); each line back is a report. When
the pair ends the supervisor is gone, and the worker drains, too: no process is left behind, and a new supervisor finds
the port free.

The listening sockets are the supervisor's. While a worker is down, clients of its share of the port wait in that
socket's queue and are answered by its successor; so a killed worker fails what it had under way, and nothing else.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Final

import uvloop

from strangler.routing.table import unseal
from strangler_proxy.entrance import Entrances
from strangler_proxy.errors import OrdersUnreadable
from strangler_proxy.lag import Lag
from strangler_proxy.orders import LEAVE, Orders
from strangler_proxy.report import report
from strangler_proxy.settings import PIPE
from strangler_proxy.subscription import Subscription
from strangler_proxy.switchboard import Switchboard

# What a killed worker has counted since its last report is lost.
_REPORT: Final = 1.0
# A worker that cannot get the newest table this fast begins with the one on its disk.
_FIRST_TABLE: Final = 1.0
# Time for handshakes under way to end, and for the loop to accept what the listening sockets hold.
_LAST_ACCEPTS: Final = 0.1
_LOOK: Final = 0.02  # how often a drain looks whether it is over
# Handshakes of TLS take a few round trips more, and to whom the port was handed over cannot finish them.
_LAST_HANDSHAKES: Final = 2.0
# The end of a kept connection is told, and awaited for two seconds (downstream.py), before the drain's own end.
_LAST_WORDS: Final = 3.0


class Worker:
    """Accepts, forwards, reports, drains."""

    def __init__(self, orders: Orders, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        settings, links = orders.settings, orders.settings.links
        keys = links.keys()
        table = unseal(settings.table.encode(), PIPE)
        self._orders = orders
        self._reader = reader
        self._writer = writer
        self._settings = settings
        self._board = Switchboard(settings, table, keys)
        self._entrances = Entrances(self._board, settings.entry)
        self._subscription = Subscription(self._board, settings.worker, links)
        self._lag = Lag(self._board.late)
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._leaving = False

    async def run(self) -> None:
        """Serve until asked to stop, or until the supervisor is gone."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor decides
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        await self._subscription.start(_FIRST_TABLE)
        listeners = [socket.socket(fileno=fd) for fd in self._orders.listeners]
        await self._entrances.open(listeners, self._orders.addresses)
        tasks = [asyncio.create_task(self._answer()), asyncio.create_task(self._beat())]
        await self._stopping.wait()
        await self._drain()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._report()
        self._lag.stop()
        self._board.close()
        await self._subscription.stop()
        self._writer.close()

    async def _drain(self) -> None:
        await asyncio.sleep(_LAST_ACCEPTS)
        self._entrances.close()
        await asyncio.sleep(_LOOK)  # the loop knows of connections that their protocols do not know of yet
        limit = self._board.time() + self._settings.timeouts.drain
        if self._leaving:
            await self._let_rest()
        self._board.drain()
        while self._board.watched and not self._at_once.is_set() and self._board.time() < limit:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._at_once.wait(), _LOOK)
        if self._board.watched:
            _LOG.warning("%d connections are broken off", len(self._board.watched))

    async def _let_rest(self) -> None:
        """Give kept connections as much time as there is: a request that comes to one is answered."""
        board, timeouts = self._board, self._settings.timeouts
        board.timeouts = replace(timeouts, drain_idle=max(timeouts.drain_idle, timeouts.drain - _LAST_WORDS))
        if self._settings.entry.certificate:
            board.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._at_once.wait(), min(_LAST_HANDSHAKES, timeouts.drain))

    def _reload(self) -> None:
        self._entrances.reload()
        self._board.proof.reload()
        if self._board.log is not None:
            self._board.log.reopen()

    def _stop(self) -> None:
        if self._stopping.is_set():
            self._at_once.set()
        self._stopping.set()

    async def _answer(self) -> None:
        """Report whenever the supervisor asks, and stop when it says so, or is gone."""
        try:
            while line := await self._reader.readline():
                if line == LEAVE:
                    self._leaving = True
                    self._stopping.set()
                self._report()
        except OSError:
            pass
        self._stopping.set()

    async def _beat(self) -> None:
        while True:
            self._report()
            self._entrances.look()
            self._board.proof.look()
            if self._board.log is not None:
                self._board.log.flush()
            await asyncio.sleep(_REPORT)

    def _report(self) -> None:
        if not self._writer.is_closing():
            words = report(self._board, self._subscription, self._lag)
            self._writer.write(json.dumps(words).encode() + b"\n")


_LOG: Final = logging.getLogger("strangler_proxy")


async def _run(pair: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=pair, limit=1 << 24)  # a table of 5,000 routes is 1 MB
    orders = Orders.from_line(await reader.readline())
    worker = Worker(orders, reader, writer)
    # What lives as long as the process need not be looked at again: a full collection takes 26 ms before and
    # 0.01 ms after, and nobody's request should wait for one.
    gc.collect()
    gc.freeze()
    # A request leaves no cycle behind. Looking less often for some is 1 % of the requests a second and 5 % of the p99.
    gc.set_threshold(10_000, 20, 100)
    await worker.run()


def main() -> None:
    """Run a worker whose supervisor is at the other end of standard input."""
    logging.basicConfig(level=logging.WARNING, format=f"strangler proxy worker {os.getpid()}: %(message)s")
    pair = socket.socket(fileno=os.dup(0))
    try:
        uvloop.run(_run(pair))
    except OrdersUnreadable as exc:
        _LOG.error("%s; the proxy runs another release than is installed: strangler proxy --takeover", exc)
        sys.exit(1)


if __name__ == "__main__":
    main()
