"""Listening sockets that the service manager holds and hands over at the start (sd_listen_fds(3)).

They stay open while there is no proxy: whoever comes then waits in their queue. So they are never turned away, nor is
anything bound beside them; workers share them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Final

from strangler_proxy.errors import ProxyError
from strangler_proxy.listening import identity_of, unix_listener
from strangler_proxy.places import Place, Whose

_FIRST: Final = 3
VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def handed_over(environment: MutableMapping[str, str]) -> list[Place]:
    """Return the sockets that were handed to this process, and take their variables out. Raises ``ProxyError``."""
    process, count, names = (environment.pop(name, "") for name in VARIABLES)
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    named = [*names.split(":"), *[""] * int(count)]
    return [_place(_FIRST + number, named[number]) for number in range(int(count))]


def check_all_used(inherited: Sequence[Place], used: Sequence[Place]) -> None:
    """Raise ``ProxyError`` for a socket that nobody listens on: its clients would wait for ever."""
    for place in inherited:
        if place not in used:
            raise ProxyError(
                f"the service manager hands over a socket on {place.address}; write it so in [proxy] listen or admin"
            )


def _place(descriptor: int, name: str) -> Place:
    os.set_inheritable(descriptor, False)
    try:
        listener = socket.socket(fileno=descriptor)
        listens = listener.type == socket.SOCK_STREAM and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as exc:
        raise ProxyError(f"descriptor {descriptor} ({name}) of the service manager is no socket: {exc}") from exc
    if not listens:
        raise ProxyError(f"descriptor {descriptor} ({name}) of the service manager is no stream socket that listens")
    listener.setblocking(False)
    if listener.family != socket.AF_UNIX:
        host, port = listener.getsockname()[:2]
        return Place(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", listener, Whose.SYSTEM)
    path = listener.getsockname()
    return Place(f"unix:{path}", unix_listener(listener.detach(), identity_of(path)), Whose.SYSTEM)
