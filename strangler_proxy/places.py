"""The listening sockets of a proxy: whose they are, and which worker has which.

Each worker has sockets of its own on the same addresses (``SO_REUSEPORT``), so that the kernel spreads connections and
no worker waits for another. A proxy that takes over from another one takes its sockets, too, and never closes one: in
its queue there may be connections. So it may have more sockets than workers, or fewer. It binds as many as make each
worker's share the same; where that cannot be done, workers share sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from strangler.routing.address import Listen, parse_listen
from strangler_proxy.listening import MODE, beside, bind, turn_away


class Whose(Enum):
    """Who answers for a listening socket, and may turn its clients away."""

    OURS = "ours"
    SHARED = "shared"
    """Another proxy listens there: a predecessor that may go on, or a successor that may serve."""
    SYSTEM = "system"
    """The service manager keeps it, and whoever comes to it waits for the next proxy."""


@dataclass(slots=True, eq=False)
class Place:
    """A listening socket. ``address`` is written as in a project."""

    address: str
    listener: socket.socket
    whose: Whose = Whose.OURS

    def share(self) -> None:
        """Note that another proxy listens there, too."""
        if self.whose is Whose.OURS:
            self.whose = Whose.SHARED

    def own(self) -> None:
        """Note that no other proxy listens there any more."""
        if self.whose is Whose.SHARED:
            self.whose = Whose.OURS

    def close(self) -> None:
        """Give it up; clients that come now are turned away unless somebody else serves them."""
        if self.listener.fileno() == _CLOSED:
            return
        if self.whose is Whose.OURS:
            turn_away(self.listener)
        self.listener.close()


_CLOSED: Final = -1


def places(
    address: str, workers: int, mode: int = MODE, inherited: Sequence[Place] = (), *, alone: bool = False
) -> list[Place]:
    """Return the sockets on ``address``, taken from ``inherited`` where there are such. Raises ``ProxyError``.

    ``alone`` is for one that is not shared by several processes.
    """
    found = [each for each in inherited if _same(each.address, address)]
    if not found:
        return [Place(address, listener) for listener in bind(address, workers, mode, shared=not alone)]
    for each in found:
        each.address = address
    first = found[0]
    if alone:
        return [first]
    if first.whose is Whose.SYSTEM:
        return found
    more = beside(first.listener, -len(found) % workers)
    kept_as = first.whose if first.listener.family == socket.AF_UNIX else Whose.OURS  # there it is the same socket
    return [*found, *(Place(address, listener, kept_as) for listener in more)]


def deal(sockets: Sequence[Place], workers: int) -> list[list[Place]]:
    """Return each worker's part of the sockets on one address: at least one."""
    return [list(sockets[number::workers]) or [sockets[number % len(sockets)]] for number in range(workers)]


def _same(one: str, other: str) -> bool:
    return _plainly(one) == _plainly(other)


def _plainly(address: str) -> Listen:
    return replace(parse_listen(address), secure=False)
