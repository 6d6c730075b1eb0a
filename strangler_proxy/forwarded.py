"""What the proxy tells a stack about a request beyond what the client sent.

``X-Forwarded-For``, ``-Proto`` and ``-Host``, ``X-Request-ID`` and ``traceparent``. From trusted networks, those that
came are continued; from anywhere else they were dropped before, and start here.
"""

from __future__ import annotations

import asyncio
from binascii import hexlify
from random import randbytes, random
from typing import Final

from strangler.routing.address import plain_address
from strangler_proxy.http1.head import RequestHead
from strangler_proxy.http1.hygiene import client_behind, is_request_id, is_traceparent, is_trusted
from strangler_proxy.settings import Network
from strangler_proxy.tracing import NO_PARENT, Tracer, flags_of, traceparent

_SCHEMES: Final = (b"http", b"https")


class Peer:
    """Who is at the other end of a client's connection: made once for it, asked for each request.

    ``encrypted`` says that the connection itself is TLS.
    """

    __slots__ = ("_host", "_lines", "_plain", "_scheme", "_trusted_networks", "address", "encrypted", "trusted")

    def __init__(self, address: str, networks: tuple[Network, ...], encrypted: bool = False) -> None:
        self.address = address
        self.trusted = bool(networks) and is_trusted(address, networks)
        self.encrypted = encrypted
        self._trusted_networks = networks
        self._scheme = b"https" if encrypted else b"http"
        self._plain = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (address.encode(), self._scheme)
        self._host: bytes | None = None
        self._lines = self._plain

    @classmethod
    def of(cls, transport: asyncio.BaseTransport, networks: tuple[Network, ...]) -> Peer:
        """Return who is at the other end of ``transport``."""
        name = transport.get_extra_info("peername")
        address = plain_address(name[0]) if isinstance(name, tuple) else "unix"
        return cls(address, networks, transport.get_extra_info("sslcontext") is not None)

    def __repr__(self) -> str:
        return f"Peer({self.address!r}, trusted={self.trusted})"

    def client(self, head: RequestHead) -> str:
        """Return the address that the request came from."""
        if not self.trusted:
            return self.address
        return client_behind(self.address, _values(head, b"x-forwarded-for"), self._trusted_networks)

    def secure(self, head: RequestHead) -> bool:
        """Return whether the client's own connection was https."""
        return self._scheme_of(head) == b"https" if self.trusted else self.encrypted

    def lines(self, head: RequestHead) -> bytes:
        """Return the forwarded headers of a request."""
        if self.trusted:
            return self._continued(head)
        host = head.host
        if host != self._host:  # a client asks one host over a connection, mostly
            self._host = host
            self._lines = self._plain if host is None else b"%bX-Forwarded-Host: %b\r\n" % (self._plain, host)
        return self._lines

    def _continued(self, head: RequestHead) -> bytes:
        chain = b", ".join([*_values(head, b"x-forwarded-for"), self.address.encode()])
        lines = [b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (chain, self._scheme_of(head))]
        hosts = _values(head, b"x-forwarded-host") or ([head.host] if head.host is not None else [])
        lines += [b"X-Forwarded-Host: %b\r\n" % host for host in hosts[:1]]
        lines += [line + b"\r\n" for line in head.originals if line.partition(b":")[0].lower() not in _CONTINUED]
        return b"".join(lines)

    def _scheme_of(self, head: RequestHead) -> bytes:
        found = [value.lower() for value in _values(head, b"x-forwarded-proto")]
        return found[0] if found and found[0] in _SCHEMES else self._scheme


_CONTINUED: Final = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"))


def _values(head: RequestHead, name: bytes) -> list[bytes]:
    size = len(name) + 2
    return [line[size:] for line in head.originals if line[:size].lower() == name + b": "]


class Trail:
    """The ids by which one request is found again in logs and traces.

    ``sampled`` says that the proxy has a span of its own, ``span_id``, below its caller's, ``parent_id``.
    """

    __slots__ = ("lines", "parent_id", "request_id", "sampled", "span_id", "trace_id")

    parent_id: bytes | None

    def __init__(self, head: RequestHead, trusted: bool, tracer: Tracer | None = None) -> None:
        # The Mersenne twister, seeded by the system: these ids are no secrets, and asking the system takes longer.
        fresh = hexlify(randbytes(24))  # noqa: S311 -- no secret
        self.request_id = self.trace_id = fresh[:32]
        self.span_id = fresh[32:]
        if head.traceparent is None and not trusted:  # as most come: 0.9 instead of 1.5 us
            self.parent_id = None
            self.sampled = tracer is not None and tracer.sampled(NO_PARENT, random())  # noqa: S311 -- no secret
            flags = b"01" if self.sampled or tracer is None else b"00"
            self.lines = _FRESH % (self.request_id, self.trace_id, self.span_id, flags)
        else:
            self._follow(head, trusted, tracer)

    def _follow(self, head: RequestHead, trusted: bool, tracer: Tracer | None) -> None:
        """Take up what the caller says, as far as it may be believed and read."""
        given = head.request_id
        if trusted and given is not None and is_request_id(given):
            self.request_id = given
        parent = head.traceparent if head.traceparent and is_traceparent(head.traceparent) else None
        self.parent_id = None if parent is None else parent[36:52]
        # Only from whom it may believe: else anybody could have each of their requests traced, and push out others'.
        flags = flags_of(parent) if trusted else NO_PARENT
        self.sampled = tracer is not None and tracer.sampled(flags, random())  # noqa: S311 -- no secret
        if parent is not None:
            self.trace_id = parent[3:35]
        if parent is None or self.sampled:
            value = traceparent(self.trace_id, self.span_id, self.sampled or tracer is None)
        else:
            value = parent
        self.lines = b"X-Request-ID: %b\r\ntraceparent: %b\r\n" % (self.request_id, value)
        if parent is not None and head.tracestate:
            self.lines += b"".join([b"tracestate: %b\r\n" % state for state in head.tracestate])


# Without a tracer sampled, so that a stack which follows its parent's word traces as it did without a proxy.
_FRESH: Final = b"X-Request-ID: %b\r\ntraceparent: 00-%b-%b-%b\r\n"
