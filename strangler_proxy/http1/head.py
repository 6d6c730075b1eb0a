"""Heads of requests and responses: checked when they come, written anew when they go.

llhttp in its strict mode has refused bare LF, folded lines, space before a colon, control characters, a repeated or
malformed ``Content-Length`` and one beside ``Transfer-Encoding`` before any of this runs. What is checked here is what
llhttp leaves to its caller: the version, one ``Host``, transfer codings other than ``chunked``, a fragment in the
target, and how much there may be. Nothing is forwarded as received: the lines that leave are made from parsed values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from strangler.routing.decide import SAFE
from strangler_proxy.http1.body import Framing, response_framing, towards_client
from strangler_proxy.http1.hygiene import (
    OVERRIDE_COOKIE,
    VISITOR_COOKIE,
    Pair,
    Role,
    response_role_of,
    role_of,
    split_own_cookies,
    tokens,
    without_nominated,
)
from strangler_proxy.settings import Limits


class Refused(Exception):
    """The request cannot be understood beyond doubt, or is too large; the sender must mend it. The connection ends."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Garbled(Exception):
    """The upstream answered with what is no HTTP response, or an unsafe one. Look at what listens there."""


class RequestHead:
    """A request's head, checked. ``pairs`` are the headers that pass; the others are told by attributes.

    ``minor`` is the client's version (HTTP/1.0 or 1.1); ``length`` counts only with ``Framing.LENGTH``; ``upgrade``
    is the protocol asked for, empty for none.
    """

    __slots__ = (
        "authorization",
        "cookies",
        "expect",
        "framing",
        "host",
        "keep_alive",
        "length",
        "method",
        "minor",
        "originals",
        "override",
        "pairs",
        "path",
        "request_id",
        "target",
        "traceparent",
        "tracestate",
        "upgrade",
        "visitor",
    )

    def __init__(self, method: str, target: bytes, minor: int) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.path = target
        self.host: bytes | None = None
        self.pairs: list[Pair] = []
        self.cookies: list[bytes] = []
        self.originals: list[Pair] = []
        self.authorization: bytes | None = None
        self.override: bytes | None = None
        self.visitor: bytes | None = None
        self.request_id: bytes | None = None
        self.traceparent: bytes | None = None
        self.tracestate: list[bytes] = []
        self.framing = Framing.NONE
        self.length = 0
        self.keep_alive = True
        self.expect = b""
        self.upgrade = b""

    def __repr__(self) -> str:
        return f"<{self.method} {self.target.decode('latin-1')} {self.framing.value}>"

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice is the same as once (RFC 9110 section 9.2.2), and there is no body to send."""
        return self.framing is Framing.NONE and self.method in SAFE and not self.upgrade

    def header(self, name: bytes) -> bytes | None:
        """Return the first passing header called ``name`` (in lower case)."""
        for key, value in self.pairs:
            if key.lower() == name:
                return value
        return None


def read_request(
    method: bytes, target: bytes, version: str, headers: Sequence[Pair], keep_alive: bool, limits: Limits
) -> RequestHead:
    """Return the head made of what llhttp found. Raises ``Refused``."""
    minor = _MINOR.get(version)
    if minor is None:
        raise Refused(505, f"HTTP/{version} is not spoken here; HTTP/1.1 is")
    if len(headers) > limits.headers_count:
        raise Refused(431, f"there are {len(headers)} headers; at most {limits.headers_count} are taken")
    if len(target) > limits.target:
        raise Refused(414, f"the target has {len(target)} bytes; at most {limits.target} are taken")
    head = RequestHead(_METHODS.get(method) or method.decode("ascii"), target, minor)
    head.keep_alive = keep_alive
    connection = _sort(head, headers)
    if head.host is None and minor == 1:
        raise Refused(400, "there is no Host header")
    _read_target(head)
    if connection:
        _read_connection(head, tokens(connection))
    else:
        head.upgrade = b""
    return head


_MINOR: Final = {"1.1": 1, "1.0": 0}
# Spares decoding; the values are the strings that routes compare with.
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}


def _sort(head: RequestHead, headers: Sequence[Pair]) -> list[bytes]:
    """Put each header where it belongs, and return the values of ``Connection``."""
    keep = head.pairs.append
    connection: list[bytes] = []
    for pair in headers:
        role = role_of(pair[0])
        if role is _PASS:
            keep(pair)
        elif role is _HOST:
            _read_host(head, pair[1])
        elif role is _COOKIE:
            _read_cookie(head, pair[1])
        elif role is _CONNECTION:
            connection.append(pair[1])
        elif role is not _DROP:
            _read_special(head, role, pair)
    return connection


# Python 3.11 takes 0.06 us to find a member in its enumeration, and a head asks some ten times.
_PASS: Final = Role.PASS
_HOST: Final = Role.HOST
_COOKIE: Final = Role.COOKIE
_CONNECTION: Final = Role.CONNECTION
_DROP: Final = Role.DROP
_NONE: Final = Framing.NONE
_LENGTH: Final = Framing.LENGTH
_CHUNKED: Final = Framing.CHUNKED
_CLOSE: Final = Framing.CLOSE


def _read_cookie(head: RequestHead, value: bytes) -> None:
    if b"strangler_" in value:
        value, own = split_own_cookies(value)
        head.visitor = head.visitor or own.get(VISITOR_COOKIE)
        head.override = head.override or own.get(OVERRIDE_COOKIE)
    if value:
        head.cookies.append(value)


def _read_special(head: RequestHead, role: Role, pair: Pair) -> None:
    value = pair[1].strip()
    match role:
        case Role.LENGTH:
            head.framing, head.length = Framing.LENGTH, int(value)  # digits only: llhttp has seen to that
        case Role.TRANSFER:
            _read_transfer(head, value)
        case Role.UPGRADE:
            head.upgrade = value if not head.upgrade else head.upgrade + b", " + value
        case Role.EXPECT:
            head.expect = value if head.minor == 1 else b""  # RFC 9110 section 10.1.1: ignored from 1.0
        case Role.AUTHORIZATION:
            if head.authorization is not None:  # nobody could tell which of them a stack goes by
                raise Refused(400, "there are several Authorization headers")
            head.authorization = value
            head.pairs.append(pair)
        case Role.OVERRIDE:
            head.override = value
        case Role.ORIGINAL:
            head.originals.append(pair)
        case Role.REQUEST_ID:
            head.request_id = value
        case Role.TRACEPARENT:
            head.traceparent = value if head.traceparent is None else b""
        case Role.TRACESTATE:
            head.tracestate.append(value)


def _read_transfer(head: RequestHead, value: bytes) -> None:
    if head.minor == 0:
        raise Refused(400, "Transfer-Encoding does not exist in HTTP/1.0")
    if value.lower() != b"chunked":
        raise Refused(400, "the only Transfer-Encoding taken is chunked")
    head.framing = Framing.CHUNKED


def _read_host(head: RequestHead, value: bytes) -> None:
    if head.host is not None:
        raise Refused(400, "there are several Host headers")
    head.host = value.strip()
    if len(head.host) > _LONGEST_HOST or not _is_host(head.host):
        raise Refused(400, "the Host header is no host")


# RFC 1035 section 2.3.4 and a port. Longer ones would fill the cache below with a client's 60 MB.
_LONGEST_HOST: Final = 255 + 6
# RFC 3986 section 3.2.2 with a port; an underscore is no host name's, but Docker's.
_HOST_AND_PORT: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")


@lru_cache(maxsize=1024)
def _is_host(value: bytes) -> bool:
    return _HOST_AND_PORT.fullmatch(value) is not None


def _read_target(head: RequestHead) -> None:
    """Find the path in the target's four forms (RFC 9112 section 3.2)."""
    target = head.target
    if b"#" in target:
        raise Refused(400, "the target has a fragment, which is never sent")
    if head.method == "CONNECT":
        raise Refused(501, "CONNECT is for forward proxies")
    if not target.startswith(b"/"):
        target = _path_of_absolute(head) if target != b"*" else target
    head.path = target.partition(b"?")[0]


def _path_of_absolute(head: RequestHead) -> bytes:
    match = _ABSOLUTE.fullmatch(head.target)
    if match is None:
        raise Refused(400, "the target is neither a path nor an http address")
    if head.host is not None and match[1].lower() != head.host.lower():
        raise Refused(400, "the target names another host than the Host header")
    if len(match[1]) > _LONGEST_HOST or not _is_host(match[1]):
        raise Refused(400, "the host in the target is no host")
    head.host = match[1]
    return match[2] or b"/"


_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?@]+)(/.*|\?.*|)")


def _read_connection(head: RequestHead, connection: frozenset[bytes]) -> None:
    head.pairs = without_nominated(head.pairs, connection)
    if b"authorization" in connection:
        head.authorization = None
    wanted = b"upgrade" in connection and head.minor == 1 and head.framing is Framing.NONE
    # An upgrade to h2c would carry requests that nothing here looks into; RFC 9113 gave it up.
    if not wanted or b"h2c" in tokens((head.upgrade,)):
        head.upgrade = b""


def write_request(head: RequestHead, forwarded: bytes, authority: bytes) -> bytes:
    """Return the head to send upstream. ``forwarded`` are the lines that the proxy adds.

    ``authority`` stands in as Host where a client of HTTP/1.0 sent none; otherwise it is the client's, unchanged.
    """
    host = authority if head.host is None else head.host
    lines = [b"%b %b HTTP/1.1\r\nHost: %b" % (head.method.encode(), head.target, host)]
    lines += [b": ".join(pair) for pair in head.pairs]
    if head.cookies:
        # As one (RFC 9113 section 8.2.3): WSGI servers join several with a comma, which ends no cookie, and a stack
        # would read another session than the one that the proxy asked about.
        lines.append(b"Cookie: " + b"; ".join(head.cookies))
    framing = head.framing
    if framing is _LENGTH:
        lines.append(b"Content-Length: %d" % head.length)
    elif framing is _CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if head.expect:
        lines.append(b"Expect: " + head.expect)
    if head.upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: " + head.upgrade)
    lines.append(forwarded)
    return b"\r\n".join(lines) + b"\r\n"


class ResponseHead:
    """A response's head, checked. ``framing`` is how its body comes, ``length`` what its head said, if anything."""

    __slots__ = ("framing", "keep_alive", "length", "minor", "pairs", "reason", "status", "upgrade")

    def __init__(self, status: int, reason: bytes, minor: int) -> None:
        self.status = status
        self.reason = reason
        self.minor = minor
        self.pairs: list[Pair] = []
        self.framing = Framing.NONE
        self.length: int | None = None
        self.keep_alive = False
        self.upgrade = b""

    def __repr__(self) -> str:
        return f"<{self.status} {self.framing.value}>"


def read_response(
    method: str, status: int, reason: bytes, version: str, headers: Sequence[Pair], keep_alive: bool
) -> ResponseHead:
    """Return the head made of what llhttp found, for a request of ``method``. Raises ``Garbled``."""
    minor = _MINOR.get(version)
    if minor is None or not 100 <= status <= 999:
        raise Garbled(f"status {status} of HTTP/{version}")
    head = ResponseHead(status, reason, minor)
    connection: list[bytes] = []
    keep = head.pairs.append
    for pair in headers:
        role = response_role_of(pair[0])
        if role is _PASS:
            keep(pair)
        elif role is not _DROP:
            _read_response_special(head, role, pair[1].strip(), connection)
    if connection:
        head.pairs = without_nominated(head.pairs, tokens(connection))
    head.framing = response_framing(method, status, head.framing)
    head.keep_alive = keep_alive or (head.framing is Framing.NONE and _persists(minor, tokens(connection)))
    return head


def _persists(minor: int, connection: frozenset[bytes]) -> bool:
    # llhttp calls a response without framing unkeepable even where it has no body by rule, as one to HEAD.
    return b"close" not in connection and (minor == 1 or b"keep-alive" in connection)


def _read_response_special(head: ResponseHead, role: Role, value: bytes, connection: list[bytes]) -> None:
    match role:
        case Role.LENGTH:
            head.framing, head.length = Framing.LENGTH, int(value)
        case Role.TRANSFER:
            if value.lower() != b"chunked" or head.minor == 0:
                raise Garbled(f"Transfer-Encoding {value!r} of HTTP/1.{head.minor}")
            head.framing = Framing.CHUNKED
        case Role.CONNECTION:
            connection.append(value)
        case Role.UPGRADE:
            head.upgrade = value


def write_response(head: ResponseHead, minor: int, close: bool, extra: bytes) -> tuple[bytes, Framing]:
    """Return the head to send to a client of HTTP/1.``minor``, and how the body must be framed for it.

    ``close`` announces that the connection ends after it; the caller must end it then, also when a framing of
    ``CLOSE`` comes back. ``extra`` are whole lines that the proxy adds, each with its end.
    """
    framing = towards_client(head.framing, minor)
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.reason)]
    lines += [b": ".join(pair) for pair in head.pairs]
    if framing is _CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif head.length is not None and head.status != 204 and head.status >= 200:
        lines.append(b"Content-Length: %d" % head.length)
    if head.status == 101:
        lines.append(b"Connection: Upgrade\r\nUpgrade: " + head.upgrade)
    elif close or framing is _CLOSE:
        lines.append(b"Connection: close")
    elif minor == 0:
        lines.append(b"Connection: keep-alive")
    lines.append(extra)
    return b"\r\n".join(lines) + b"\r\n", framing
