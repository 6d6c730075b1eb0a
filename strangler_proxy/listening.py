"""Sockets to listen on: taken without a rival, and given up without failing anybody.

``SO_REUSEPORT`` would let a second proxy bind the same port unnoticed, so a socket without it tries first.

Closing a listening socket resets the connections in its queue, which their clients believe to be made. So first it
is told, by a packet filter, to ignore requests for new ones (SYN); those half made are completed and all in the queue
accepted; then it is empty and can be closed. A client that was ignored asks again after a second, and is
refused, or comes to whoever has taken the port over.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from typing import Any, Final

from strangler_proxy.errors import AddressTaken, ProxyError

_BACKLOG: Final = 4096


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` or ``[IPv6]:PORT``. Raises ``ProxyError``."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ProxyError(f"{text!r} is no address to listen on; HOST:PORT is")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def bind(address: str, copies: int) -> list[socket.socket]:
    """Return listening sockets on ``address``, one a worker. Raises ``ProxyError``, naming what is taken."""
    host, port = parse_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with _socket(found[0], shared=False) as alone:
            alone.bind(found[4])
            port = alone.getsockname()[1]
        return [_listener(found[0], (found[4][0], port), shared=copies > 1) for _ in range(copies)]
    except OSError as exc:
        raise AddressTaken(f"cannot listen on {address}: {(exc.strerror or str(exc)).lower()}") from exc


def _socket(family: int, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return sock


def _listener(family: int, address: tuple[Any, ...], *, shared: bool) -> socket.socket:
    sock = _socket(family, shared=shared)
    sock.bind(address)
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


# The classic BPF of socket(7): code, jump if true, jump if false, operand. Byte 13 of a TCP header holds its flags.
_FILTER: Final = b"".join(
    struct.pack("HBBI", *step)
    for step in (
        (0x30, 0, 0, 13),  # load that byte
        (0x45, 0, 1, 0x02),  # is SYN in it?
        (0x06, 0, 0, 0),  # then drop the packet
        (0x06, 0, 0, 0xFFFFFFFF),  # else take it whole
    )
)
_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h; Python does not name it


def turn_away(listener: socket.socket) -> None:
    """Have ``listener`` take no new connections; those that it has can still be accepted. Linux only."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_FILTER, len(_FILTER))
    steps = len(_FILTER) // 8
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", steps, ctypes.addressof(program)))
