"""What each header means to the proxy, and which may pass.

Three kinds never pass as they came: those of one connection (RFC 9110 section 7.6.1, and whatever ``Connection``
names), those by which a proxy tells an application who the client is (anybody may write them, so they pass from
trusted networks only), and the proxy's own. WSGI and CGI write ``-`` and ``_`` as the same letter, so a name that
only differs in that is the same name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from strangler.routing.address import plain_address
from strangler_proxy.settings import Network


class Role(Enum):
    """What the proxy does with a header of this name."""

    PASS = 0
    DROP = 1
    HOST = 2
    CONNECTION = 3
    LENGTH = 4
    TRANSFER = 5
    UPGRADE = 6
    EXPECT = 7
    COOKIE = 8
    AUTHORIZATION = 9
    OVERRIDE = 10
    ORIGINAL = 11  # tells who the client is: from trusted networks only
    REQUEST_ID = 12
    TRACEPARENT = 13
    TRACESTATE = 14
    SET_COOKIE = 15  # responses only: passes, and is looked at
    FORGET = 16  # responses only: the monolith's word to the proxy
    POSITION = 17  # responses only: how far what a stack wrote is in its database's WAL


_ROLES: Final = {
    b"host": Role.HOST,
    b"connection": Role.CONNECTION,
    b"content-length": Role.LENGTH,
    b"transfer-encoding": Role.TRANSFER,
    b"upgrade": Role.UPGRADE,
    b"expect": Role.EXPECT,
    b"cookie": Role.COOKIE,
    b"authorization": Role.AUTHORIZATION,
    b"x-strangler-override": Role.OVERRIDE,
    b"forwarded": Role.ORIGINAL,
    b"x-real-ip": Role.ORIGINAL,
    b"x-client-ip": Role.ORIGINAL,
    b"true-client-ip": Role.ORIGINAL,
    b"x-url-scheme": Role.ORIGINAL,
    b"x-scheme": Role.ORIGINAL,
    b"front-end-https": Role.ORIGINAL,
    b"x-original-url": Role.ORIGINAL,
    b"x-rewrite-url": Role.ORIGINAL,
    b"x-request-id": Role.REQUEST_ID,
    b"traceparent": Role.TRACEPARENT,
    b"tracestate": Role.TRACESTATE,
    **dict.fromkeys(
        # Strangler-Identity is what the proxy tells services, Strangler-Service what they tell each other past it; from
        # anybody else they are forgeries. Strangler-Position only stacks tell.
        # HTTP2-Settings only with an upgrade to h2c, which is not passed on; Proxy is "httpoxy" (CVE-2016-5385).
        (
            b"keep-alive",
            b"proxy-connection",
            b"proxy-authorization",
            b"te",
            b"http2-settings",
            b"proxy",
            b"strangler-identity",
            b"strangler-service",
            b"strangler-position",
        ),
        Role.DROP,
    ),
}
_RESPONSE_ROLES: Final = {
    b"connection": Role.CONNECTION,
    b"content-length": Role.LENGTH,
    b"transfer-encoding": Role.TRANSFER,
    b"upgrade": Role.UPGRADE,
    b"set-cookie": Role.SET_COOKIE,
    b"strangler-forget": Role.FORGET,
    b"strangler-position": Role.POSITION,
    **dict.fromkeys(
        # The last two are the proxy's own to say.
        (b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"strangler-fallback", b"strangler-why"),
        Role.DROP,
    ),
}


class _Roles(dict[bytes, Role]):
    """Roles by names as they are spelled, found by ``find`` when first asked for.

    A lookup instead of five tests a header: 0.1 instead of 0.7 us. Real traffic has some hundred spellings; a client
    can make up as many as it likes, and each of 60 kB, so neither long nor many ones are kept.
    """

    def __init__(self, find: Callable[[bytes], Role]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, name: bytes) -> Role:
        role = self._find(name)
        if len(name) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[name] = role
        return role


_LONGEST_KEPT: Final = 64
_MOST_KEPT: Final = 1024


def _request_role(name: bytes) -> Role:
    lower = name.lower()
    known = _ROLES.get(lower)
    if known is not None:
        return known
    meant = lower.replace(b"_", b"-")
    if meant.startswith(b"x-strangler-"):
        return Role.DROP
    if meant.startswith(b"x-forwarded-"):
        return Role.ORIGINAL if meant == lower else Role.DROP
    return Role.DROP if meant in _ROLES else Role.PASS


def _response_role(name: bytes) -> Role:
    return _RESPONSE_ROLES.get(name.lower(), Role.PASS)


role_of: Final = _Roles(_request_role).__getitem__
"""Returns the role of a request's header."""
response_role_of: Final = _Roles(_response_role).__getitem__
"""Returns the role of a response's header."""


def tokens(values: Iterable[bytes]) -> frozenset[bytes]:
    """Return the elements of comma-separated headers, in lower case."""
    return frozenset(part.strip().lower() for value in values for part in value.split(b",") if part.strip())


# Options of the connection, not names of headers.
_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade"))


def without_nominated(lines: list[bytes], connection: frozenset[bytes]) -> list[bytes]:
    """Return ``lines`` less those that the ``Connection`` header names as its own."""
    nominated = connection - _OPTIONS
    return [line for line in lines if line.partition(b":")[0].lower() not in nominated] if nominated else lines


VISITOR_COOKIE: Final = b"strangler_visitor"
OVERRIDE_COOKIE: Final = b"strangler_override"
CAUSAL_COOKIE: Final = b"strangler_causal_"
"""How the name of a cookie with a causal token begins; what follows is drawn for each (see ``causal``)."""


def find_cookie(cookies: Iterable[bytes], name: bytes) -> bytes | None:
    """Return the first value of cookie ``name`` in ``Cookie`` headers."""
    for header in cookies:
        if name not in header:
            continue
        for part in header.split(b";"):
            key, _, value = part.partition(b"=")
            if key.strip() == name:
                return value.strip()
    return None


def split_own_cookies(header: bytes) -> tuple[bytes, bytes | None, bytes | None, dict[bytes, bytes]]:
    """Return a ``Cookie`` header less the proxy's own, the visitor's and the override's value, and causal tokens.

    They are none of an application's business. Tokens come by the names of their cookies.
    """
    kept: list[bytes] = []
    own: dict[bytes, bytes] = {}
    tokens: dict[bytes, bytes] = {}
    for part in header.split(b";"):
        key, _, value = part.partition(b"=")
        if (name := key.strip()) in _OWN_COOKIES:
            own.setdefault(name, value.strip())
        elif name.startswith(CAUSAL_COOKIE):
            tokens.setdefault(name, value.strip())
        else:
            kept.append(part)
    left = b";".join(kept).strip() if own or tokens else header
    return left, own.get(VISITOR_COOKIE), own.get(OVERRIDE_COOKIE), tokens


_OWN_COOKIES: Final = frozenset((VISITOR_COOKIE, OVERRIDE_COOKIE))


@lru_cache(maxsize=4096)
def is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    """Return whether ``address`` lies in one of the networks; what is no address does not."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


def client_behind(peer: str, chain: Iterable[bytes], trusted: tuple[Network, ...]) -> str:
    """Return the client's address: the last in ``X-Forwarded-For`` that no trusted balancer wrote for another.

    ``peer`` is trusted already. Everything left of the first address that is not is hearsay.
    """
    addresses = [part.strip().decode("latin-1") for value in chain for part in value.split(b",")]
    for each in reversed(addresses):
        address = _address_in(each)
        if address is None or not is_trusted(address, trusted):
            return address or peer
        peer = address
    return peer


# As some balancers write it: with brackets, with the client's port.
_ADDRESS: Final = re.compile(r"\[(?P<six>[^\]]*)\](?::[0-9]+)?|(?P<four>[0-9.]+):[0-9]+|(?P<bare>.*)")


@lru_cache(maxsize=4096)
def _address_in(text: str) -> str | None:
    """Return the address that a balancer wrote, in one form for each; None for none."""
    match = _ADDRESS.fullmatch(text)
    found = plain_address(next(filter(None, match.groups()), "")) if match is not None else ""
    try:
        return str(ip_address(found))
    except ValueError:
        return None


# W3C Trace Context section 3.2: version, trace-id, parent-id, flags; ff is no version, zeros are no ids.
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~:+/=@-]{1,128}")


def is_traceparent(value: bytes) -> bool:
    """Return whether ``value`` can be continued; what cannot is replaced, its ``tracestate`` dropped."""
    match = _TRACEPARENT.fullmatch(value)
    return match is not None and (match[1] is None or not value.startswith(b"00"))


def is_request_id(value: bytes) -> bool:
    """Return whether ``value`` may stand in headers, logs and problems as it is."""
    return _REQUEST_ID.fullmatch(value) is not None
