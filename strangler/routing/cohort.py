"""Named rules that send matching readers to one stack, whatever the share is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Protocol

# RFC 9110 section 5.6.2: what the name of a header or a cookie is made of.
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Source(StrEnum):
    """Where a cohort looks."""

    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"
    SEGMENT = "segment"
    CIDR = "cidr"


class Reader(Protocol):
    """What a cohort may know of a request."""

    @property
    def client(self) -> str: ...
    def header(self, name: str) -> str | None: ...
    def cookie(self, name: str) -> str | None: ...
    def query_value(self, name: str) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """A rule: the value that ``source`` holds under ``key`` is one of ``values``, or is there at all when empty.

    For ``SEGMENT`` the key is the name of a ``{name}`` segment of the route; for ``CIDR`` there is no key and
    the values are networks.
    """

    name: str
    source: Source
    key: str = ""
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.source is Source.CIDR:
            if not self.values:
                raise ValueError("a cidr cohort names at least one network")
            for value in self.values:
                ip_network(value)
        elif not self.key:
            raise ValueError(f"a {self.source} cohort names its {self.source}")
        elif self.source in (Source.HEADER, Source.COOKIE) and not TOKEN.fullmatch(self.key):
            raise ValueError(f"{self.key!r} is no name of a {self.source}")

    def holds(self, reader: Reader, captured: dict[str, str]) -> bool:
        """Return whether ``reader`` belongs; ``captured`` are the route's segments by name."""
        if self.source is Source.CIDR:
            return _within(reader.client, self.values)
        value = self._value(reader, captured)
        return value is not None and (not self.values or value in self.values)

    def _value(self, reader: Reader, captured: dict[str, str]) -> str | None:
        match self.source:
            case Source.HEADER:
                return reader.header(self.key)
            case Source.COOKIE:
                return reader.cookie(self.key)
            case Source.QUERY:
                return reader.query_value(self.key)
            case _:
                return captured.get(self.key)


def _within(client: str, values: tuple[str, ...]) -> bool:
    try:
        address = ip_address(client)
    except ValueError:  # a Unix socket has no address
        return False
    # A socket that listens on [::] for both families gives IPv4 clients as ::ffff:192.0.2.1.
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in _networks(values))


@lru_cache(maxsize=1024)  # the values are those of the project's files: few, and the same for every request
def _networks(values: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(value) for value in values)
