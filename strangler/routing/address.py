"""Where to listen and whom to ask, read from what a team writes.

Both kinds travel as the text that they were written as, in files and in routing tables; they are read here, so that a
project's check and the proxy cannot disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

_UNIX: Final = "unix:"
_TLS: Final = "tls:"
# RFC 1123 section 2.1, and the underscore that names within a cluster have.
_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_INTERFACE: Final = re.compile(r"[A-Za-z0-9._-]{1,15}")  # IFNAMSIZ, less the NUL
_NUMBERS: Final = re.compile(r"[0-9.]+")
_URL: Final = re.compile(r"(https?)://([^/?#@]*)(.*)", re.DOTALL)
# sockaddr_un's sun_path, less the NUL that ends it: unix(7).
_LONGEST_PATH: Final = 107
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- every address, of which one is asked
_USUAL_PORTS: Final = {"http": 80, "https": 443}


class AddressInvalid(ValueError):
    """What was written is no address. The message says what is wrong with it, and never repeats it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where clients come: ``host`` and ``port`` for TCP, with TLS when ``secure``; else ``path``, a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""
    secure: bool = False

    def __str__(self) -> str:
        return _UNIX + self.path if self.path else f"{_TLS if self.secure else ''}{_joined(self.host, self.port)}"

    @property
    def url(self) -> str:
        """Return where clients on the same machine ask; "" for a Unix socket, which has no URL that all understand."""
        if self.path:
            return ""
        return f"http{'s' if self.secure else ''}://{_joined(_ANY.get(self.host, self.host), self.port)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a stack answers: ``host`` and ``port`` for TCP, with TLS when ``secure``; else ``path``, a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""
    secure: bool = False

    def __str__(self) -> str:
        return _UNIX + self.path if self.path else f"{self.scheme}://{_joined(self.host, self.port)}"

    @property
    def scheme(self) -> str:
        return "https" if self.secure else "http"

    @property
    def authority(self) -> str:
        """Return the ``Host`` of requests that bring none: without a usual port, as RFC 9110 section 4.2.3 writes it.

        A Unix socket has none; "localhost" is what nginx and curl say there.
        """
        if self.path:
            return "localhost"
        host = plain_address(self.host)
        return _bracketed(host) if self.port == _USUAL_PORTS[self.scheme] else _joined(host, self.port)


def parse_listen(text: str) -> Listen:
    """Return what ``HOST:PORT``, ``[IPv6]:PORT``, ``tls:HOST:PORT`` or ``unix:/path`` says. Raises ``AddressInvalid``.

    Port 0 is any that is free.
    """
    if text.startswith(_UNIX):
        return Listen(path=_path(text.removeprefix(_UNIX)))
    host, port = _place(text.removeprefix(_TLS), None)
    return Listen(host=host, port=port, secure=text.startswith(_TLS))


def parse_endpoint(text: str) -> Endpoint:
    """Return what ``http://HOST:PORT``, ``https://HOST:PORT`` or ``unix:/path`` says. Raises ``AddressInvalid``."""
    if text.startswith(_UNIX):
        return Endpoint(path=_path(text.removeprefix(_UNIX)))
    match = _URL.fullmatch(text)
    if match is None:
        raise AddressInvalid("it begins with none of http://, https:// and unix:")
    scheme, place, rest = match.groups()
    if rest.startswith("@"):
        raise AddressInvalid("it has a user")
    if rest not in ("", "/"):
        raise AddressInvalid("it has more than a host and a port")
    host, port = _place(place, _USUAL_PORTS[scheme])
    if port == 0:
        raise AddressInvalid("nobody can be reached at port 0")
    return Endpoint(host=host, port=port, secure=scheme == "https")


def plain_address(name: str) -> str:
    """Return a peer's address as networks and logs know it; what is no address stays as it is.

    A socket that listens for both families tells IPv4 peers as ``::ffff:192.0.2.1`` (RFC 4291 section 2.5.5.2), and
    link-local ones with the interface's name (``fe80::1%eth0``, RFC 4007 section 11), which means nothing elsewhere.
    """
    if ":" not in name:
        return name
    try:
        address = IPv6Address(name.partition("%")[0])
    except ValueError:
        return name
    return str(address.ipv4_mapped or address)


def _path(path: str) -> str:
    if not path.startswith("/"):
        raise AddressInvalid("a Unix socket's path begins with /")
    if path.startswith("//"):
        raise AddressInvalid("a Unix socket's path begins with one /, not two")
    if "\0" in path:
        raise AddressInvalid("its path holds a NUL")
    if len(path.encode("utf-8", "surrogateescape")) > _LONGEST_PATH:
        raise AddressInvalid(f"a Unix socket's path has {_LONGEST_PATH} bytes at most")
    return path


def _place(text: str, usual_port: int | None) -> tuple[str, int]:
    host, colon, digits = text.rpartition(":")
    if not colon or digits.endswith("]"):
        if usual_port is None:
            raise AddressInvalid("there is no port")
        return _host(text), usual_port
    return _host(host), _port(digits)


def _port(digits: str) -> int:
    if not (digits.isascii() and digits.isdecimal()):
        raise AddressInvalid("its port is no number")
    if len(digits) > 5 or int(digits) > 65_535:
        raise AddressInvalid("its port is beyond 65535")
    return int(digits)


def _host(text: str) -> str:
    if not text:
        raise AddressInvalid("there is no host")
    if text.startswith("[") and text.endswith("]"):
        return _ipv6(text[1:-1])
    if ":" in text:
        raise AddressInvalid("an IPv6 address stands in brackets")
    if _NUMBERS.fullmatch(text):
        return _ipv4(text)
    if len(text) > 253 or not _NAME.fullmatch(text):
        raise AddressInvalid("its host is no name")
    return text


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise AddressInvalid("its host is no IPv4 address") from None


def _ipv6(text: str) -> str:
    address, percent, interface = text.partition("%")
    try:
        if percent and not _INTERFACE.fullmatch(interface):
            raise ValueError
        return f"{IPv6Address(address)}{percent}{interface}"
    except ValueError:
        raise AddressInvalid("what stands in brackets is no IPv6 address") from None


def _joined(host: str, port: int) -> str:
    return f"{_bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
