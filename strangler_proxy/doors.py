"""Lets in as many clients as there are descriptors for; the others wait in the kernel's queues, and are let in later.

A client needs a descriptor, and its request another one towards a stack. So clients may have half of what is left
beside the worker's own files, as HAProxy reckons its maxconn. When they have it the loop does not look at the listening
sockets any more, since it empties a queue at one go; a few times a second those that wait are accepted one by one, as
others leave. Nobody is accepted only to be closed, what is under way goes on, and nothing is tried again and again.

Where descriptors run out in spite of that (names that are looked up, files of threads, a limit that is lowered), libuv
closes waiting clients by a descriptor that it holds in reserve, and where it has lost that one it spins. So once a
second it is tried whether any descriptor is left, and the doors are closed when none is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from strangler_proxy.listening import BACKLOG, HANDSHAKE, accept
from strangler_proxy.switchboard import Switchboard

_LOG: Final = logging.getLogger("strangler_proxy")
# The worker's own files: 20 to 30 with TLS, a log, Valkey, Postgres and lookups of names under way.
_OWN: Final = 40
_FEWEST: Final = 8
# Doors are opened again when nobody waits and a tenth of the clients has left, not for each of them.
_ENOUGH: Final = 0.9
_LOOK: Final = 0.05
_SAY_AGAIN: Final = 60.0
_SPARE: Final = 8  # descriptors that must be free before anybody is let in again

Factory = Callable[[], asyncio.BaseProtocol]


def most_clients(descriptors: int) -> int:
    """Return for how many clients at once a process with a limit of ``descriptors`` has room."""
    return max((descriptors - _OWN) // 2, _FEWEST)


@dataclass(slots=True, eq=False)
class _Door:
    listener: socket.socket
    factory: Factory
    context: ssl.SSLContext | None
    server: asyncio.Server | None = None


class Doors:
    """A worker's listening sockets, looked at while there is room."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._most = most_clients(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._backlog = min(BACKLOG, self._most // 2)
        self._doors: list[_Door] = []
        self._open = False
        self._closed = False
        self._silent_until = 0.0
        self._opening: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Doors {'open' if self._open else 'closed'} for {self._most} clients>"

    def add(self, listener: socket.socket, factory: Factory, context: ssl.SSLContext | None = None) -> None:
        """Have clients of ``listener`` come to what ``factory`` makes, by TLS where there is a ``context``."""

        def counted() -> asyncio.BaseProtocol:
            if self._open and self._clients() >= self._most:
                self._open = False
                asyncio.get_running_loop().call_soon(self._pause)
            return factory()

        self._doors.append(_Door(listener, counted, context))

    async def open(self) -> None:
        """Let clients in. Raises ``OSError``."""
        self._open = True
        for door in self._doors:
            # The door's own socket stays, with its queue, when the server that looks at it is closed.
            door.server = await accept(door.factory, door.listener.dup(), door.context, self._backlog)

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed = True
        self._shut()
        for door in self._doors:
            door.listener.close()

    def look(self) -> None:
        """Close the doors when no descriptor is left; to be called every second or so."""
        if self._open and not _are_free(1):
            self._pause()

    def _shut(self) -> None:
        self._open = False
        for door in self._doors:
            if door.server is not None:
                door.server.close()
                door.server = None

    def _clients(self) -> int:
        # A tunnel is on nobody's watch, and has two.
        return len(self._board.watched) + 2 * self._board.tally.tunnels

    def _pause(self) -> None:
        if self._closed:
            return
        self._shut()
        self._board.tally.pauses += 1
        now = self._board.time()
        if now >= self._silent_until:
            _LOG.warning("descriptors are running out: more clients than %d wait until others leave", self._most)
            self._silent_until = now + _SAY_AGAIN
        for door in self._doors:
            door.listener.listen(BACKLOG)
        self._opening = asyncio.get_running_loop().create_task(self._let_in_as_others_leave())

    async def _let_in_as_others_leave(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if self._closed:
                return
            room = self._most - self._clients()
            if room <= 0 or not _are_free(_SPARE):
                continue
            if self._take(room) and self._clients() <= _ENOUGH * self._most:
                try:
                    await self.open()
                except OSError:
                    self._shut()
                else:
                    return

    def _take(self, room: int) -> bool:
        """Let at most ``room`` clients in, and return whether nobody waits any more."""
        loop = asyncio.get_running_loop()
        for door in self._doors:
            while True:
                if room == 0:
                    return False
                try:
                    sock, _ = door.listener.accept()
                except BlockingIOError:
                    break
                except OSError:  # gone already, or no descriptor
                    return False
                room -= 1
                task = loop.create_task(_serve(door.factory, sock, door.context))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return True


async def _serve(factory: Factory, sock: socket.socket, context: ssl.SSLContext | None) -> None:
    timeout = None if context is None else HANDSHAKE
    with suppress(OSError):  # it has left, or cannot agree on TLS
        await asyncio.get_running_loop().connect_accepted_socket(
            factory, sock, ssl=context, ssl_handshake_timeout=timeout
        )


def _are_free(count: int) -> bool:
    """Return whether this process can have so many descriptors more."""
    tried: list[int] = []
    try:
        tried.extend(os.dup(0) for _ in range(count))
    except OSError:
        return False
    finally:
        for descriptor in tried:
            os.close(descriptor)
    return True
