"""How a stack is reached, and how a capability is protected: what a team says of them beside their addresses.

Both travel in the routing table, and what has its default is left out of it: a table that says nothing of the kind is
byte for byte what releases before knew. Times are in seconds; None leaves it to the proxy's own limits and timeouts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeGuard

MOST: Final = 1_000_000
"""Of whatever is counted: far above what one machine has connections for."""
SHORTEST: Final = 0.001
LONGEST: Final = 86_400.0
SHORTEST_LEASE: Final = 3.0
"""Workers ask once a second, and give an engine two seconds to answer."""
_SECONDS: Final = f"it is a number of seconds from {SHORTEST} to {LONGEST:.0f}"
HEALTH_PATH: Final = re.compile(r"/[!-~]{0,199}")
"""A path of visible ASCII, maybe with a query, as it stands in a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect:
    """What keeps a capability's failures from its readers, and from everybody else.

    ``bulkhead`` is how many of its requests a worker lets be under way; ``fallback`` lets the monolith answer reads
    that the service failed, while its data are current; ``timeout`` bounds a request from its first byte to the last of
    its answer. ``lease`` is how long a worker lets writes through without a word from whoever publishes routing tables.
    """

    bulkhead: int | None = None
    fallback: bool = False
    timeout: float | None = None
    lease: float | None = None

    def __post_init__(self) -> None:
        check_count("bulkhead", self.bulkhead, least=1)
        if self.lease is not None and (not _is_number(self.lease) or not SHORTEST_LEASE <= self.lease <= LONGEST):
            raise ValueError(
                f"lease is {self.lease!r}; it is a number of seconds from {SHORTEST_LEASE} to {LONGEST:.0f}"
            )
        check_seconds("timeout", self.timeout)
        if type(self.fallback) is not bool:
            raise ValueError(f"fallback is {self.fallback!r}; it is true or false")

    def to_json(self) -> dict[str, Any]:
        return _differing(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Protect:
        """Return what ``to_json`` wrote; keys unknown here are left out. Raises ``ValueError`` on what does not fit."""
        return cls(**_known(cls, raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How one stack is reached, by each worker of a proxy.

    ``connections`` and ``pending`` are bounds for each endpoint, ``requests`` for the stack (Envoy's max_connections,
    max_pending_requests and max_requests). ``health`` is the path that probes ask for, none when empty. Names among the
    endpoints are looked up again every ``resolve`` seconds (Envoy's dns_refresh_rate); 0 means once.
    """

    connections: int | None = None
    pending: int | None = None
    requests: int | None = None
    health: str = ""
    health_interval: float = 5.0
    health_timeout: float = 1.0
    connect_timeout: float | None = None
    first_byte_timeout: float | None = None
    total_timeout: float | None = None
    resolve: float = 5.0

    def __post_init__(self) -> None:
        check_count("connections", self.connections, least=1)
        check_count("pending", self.pending, least=0)
        check_count("requests", self.requests, least=1)
        if type(self.health) is not str or (self.health and not HEALTH_PATH.fullmatch(self.health)):
            raise ValueError(f"health is {self.health!r}; it is a path in visible ASCII")
        for name in ("health_interval", "health_timeout"):
            check_seconds(name, getattr(self, name), needed=True)
        for name in ("connect_timeout", "first_byte_timeout", "total_timeout"):
            check_seconds(name, getattr(self, name))
        if not _is_number(self.resolve) or (self.resolve != 0 and not SHORTEST <= self.resolve <= LONGEST):
            raise ValueError(f"resolve is {self.resolve!r}; {_SECONDS}, or 0")

    def to_json(self) -> dict[str, Any]:
        return _differing(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Reach:
        """Return what ``to_json`` wrote; keys unknown here are left out. Raises ``ValueError`` on what does not fit."""
        return cls(**_known(cls, raw))


def _differing(value: Protect | Reach) -> dict[str, Any]:
    return {each.name: found for each in fields(value) if (found := getattr(value, each.name)) != each.default}


def _known(kind: type[Protect | Reach], raw: Mapping[str, Any]) -> dict[str, Any]:
    # Whoever must not half obey compares what comes out with what went in (unseal); the ledger must be able to kill.
    return {each.name: raw[each.name] for each in fields(kind) if each.name in raw}


def check_count(name: str, value: object, *, least: int) -> None:
    if value is not None and (type(value) is not int or not least <= value <= MOST):
        raise ValueError(f"{name} is {value!r}; it is a whole number from {least} to {MOST}")


def check_seconds(name: str, value: object, *, needed: bool = False) -> None:
    if value is None and not needed:
        return
    if not _is_number(value) or not SHORTEST <= value <= LONGEST:
        raise ValueError(f"{name} is {value!r}; {_SECONDS}")


def _is_number(value: object) -> TypeGuard[float]:
    return type(value) in (int, float)  # a bool is an int to isinstance
