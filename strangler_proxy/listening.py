"""Sockets to listen on: taken without a rival, and given up without failing anybody.

``SO_REUSEPORT`` would let a second proxy bind the same port unnoticed, so a socket without it tries first.

``[::]`` takes IPv4 clients as well, whatever ``net.ipv6.bindv6only`` says, and beside ``0.0.0.0`` on the same port
there is no room for it: one entry that means every address, on every machine.

A Unix socket is one file, so its workers share one socket; who may connect is told by the file's mode. What a dead
process left behind is replaced, what a live one listens on is not.

Closing a listening socket resets the connections in its queue, which their clients believe to be made. So first it
is told, by a packet filter, to ignore requests for new ones (SYN); those half made are completed and all in the queue
accepted; then it is empty and can be closed. A client that was ignored asks again after a second, and is
refused, or comes to whoever has taken the port over. To a Unix socket nobody comes once its file is gone.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import ssl
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from strangler.routing.address import AddressInvalid, Listen, parse_listen
from strangler_proxy.errors import AddressTaken, ProxyError

BACKLOG: Final = 4096
"""How many connections may wait to be accepted; the kernel's own bound is ``net.core.somaxconn``."""
MODE: Final = 0o660
"""Of a Unix socket's file, where nobody says otherwise."""
HANDSHAKE: Final = 10.0
"""Seconds, as long as a request's head may take: who is slower at a handshake is no better."""


def bind(address: str, copies: int, mode: int = MODE, *, shared: bool = True) -> list[socket.socket]:
    """Return listening sockets on ``address``, one a worker. Raises ``ProxyError``, naming what is taken.

    ``mode`` is that of a Unix socket's file. Beside those that are ``shared`` there may be others later. They are taken
    back by ``turn_away``, then ``close``.
    """
    try:
        listen = parse_listen(address)
    except AddressInvalid as exc:
        raise ProxyError(f"{address!r} is no address to listen on: {exc}") from exc
    try:
        return _unix_listeners(listen.path, copies, mode) if listen.path else _tcp_listeners(listen, copies, shared)
    except OSError as exc:
        raise AddressTaken(f"cannot listen on {address}: {(exc.strerror or str(exc)).lower()}") from exc


def beside(listener: socket.socket, count: int) -> list[socket.socket]:
    """Return ``count`` further sockets on the address of one that listens; none where that one is alone there.

    They are bound and do not listen yet: clients come only when ``accept`` has been called. Raises ``AddressTaken``.
    """
    if isinstance(listener, UnixListener):
        return [_again(listener) for _ in range(count)]
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        return []
    place = listener.getsockname()
    try:
        return [_bound(listener.family, place, shared=True) for _ in range(count)]
    except OSError as exc:
        raise AddressTaken(
            f"cannot listen on {place[0]}:{place[1]} again: {(exc.strerror or str(exc)).lower()}"
        ) from exc


async def accept(
    factory: Callable[[], asyncio.BaseProtocol],
    listener: socket.socket,
    context: ssl.SSLContext | None = None,
    backlog: int = BACKLOG,
) -> asyncio.Server:
    """Serve what comes to ``listener``, with TLS when there is a ``context``, and return what to close."""
    loop = asyncio.get_running_loop()
    timeout = None if context is None else HANDSHAKE
    if listener.family != socket.AF_UNIX:
        return await loop.create_server(
            factory, sock=listener, backlog=backlog, ssl=context, ssl_handshake_timeout=timeout
        )
    # From Python 3.13 on a server removes the socket's file when it closes; here others still listen on it.
    create: Any = loop.create_unix_server
    server: asyncio.Server = await create(
        factory, sock=listener, backlog=backlog, ssl=context, ssl_handshake_timeout=timeout, cleanup_socket=False
    )
    return server


# --- TCP ---


def _tcp_listeners(listen: Listen, copies: int, shared: bool) -> list[socket.socket]:
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name of both families, as localhost is, is asked for by IPv4 at least; stacks are reached so, too (cluster.py).
    family, *_, place = min(found, key=lambda each: each[0] != socket.AF_INET)
    with _socket(family, shared=False) as alone:
        alone.bind(place)
        port = alone.getsockname()[1]
    return [_listener(family, (place[0], port, *place[2:]), shared=shared) for _ in range(copies)]


def _socket(family: int, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return sock


def _listener(family: int, address: tuple[Any, ...], *, shared: bool) -> socket.socket:
    sock = _bound(family, address, shared=shared)
    try:
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bound(family: int, address: tuple[Any, ...], *, shared: bool) -> socket.socket:
    sock = _socket(family, shared=shared)
    try:
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


# --- Unix ---


class UnixListener(socket.socket):
    """A listening Unix socket that knows which file it made, since another may have taken the name over."""

    __slots__ = ("made",)

    made: tuple[int, int, int]


def _unix_listeners(path: str, copies: int, mode: int) -> list[socket.socket]:
    with _undisturbed(Path(path).parent):
        _clear(path)
        first = UnixListener(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            first.bind(path)
            Path(path).chmod(mode)  # before it listens, so that nobody came in while anybody might
            first.made = identity_of(path)
            first.listen(BACKLOG)
        except OSError:
            first.close()
            raise
    first.setblocking(False)
    return [first, *(_again(first) for _ in range(copies - 1))]


def _again(first: UnixListener) -> UnixListener:
    return unix_listener(os.dup(first.fileno()), first.made)


def unix_listener(descriptor: int, made: tuple[int, int, int]) -> UnixListener:
    """Return the listening Unix socket of ``descriptor``, whose file was ``made`` so."""
    found = UnixListener(fileno=descriptor)
    found.made = made
    return found


@contextmanager
def _undisturbed(folder: Path) -> Iterator[None]:
    """Keep every other proxy from looking into ``folder`` at the same time: both would find nobody listening."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear(path: str) -> None:
    """Remove the socket's file that a dead process left. Raises ``OSError`` when it is something else, or in use."""
    try:
        found = Path(path).lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError("there is something that is no socket")
    if _lives(path):
        raise OSError("somebody listens there already")
    Path(path).unlink()


def _lives(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # its queue is full
            return True
    return True


def identity_of(path: str) -> tuple[int, int, int]:
    """Return what tells a file from another one of the same name."""
    found = Path(path).lstat()
    return found.st_dev, found.st_ino, found.st_mtime_ns  # the number alone is soon another's


def _remove(listener: UnixListener) -> None:
    path = listener.getsockname()
    with suppress(OSError):
        if identity_of(path) == listener.made:
            Path(path).unlink()


# --- the end ---

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
    """Have ``listener`` take no new connections; those that it has can still be accepted. TCP's on Linux only.

    There are kernels that let nobody but an administrator attach a filter. There nothing is turned away, and who comes
    between the last look and the close is reset.
    """
    if isinstance(listener, UnixListener):
        _remove(listener)
        return
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_FILTER, len(_FILTER))
    steps = len(_FILTER) // 8
    with suppress(PermissionError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", steps, ctypes.addressof(program)))
