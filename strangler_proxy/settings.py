"""What a worker is told when it starts, as one frozen value that travels as JSON over its standard input.

Limits and timeouts carry Envoy's names and defaults where Envoy has one. Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

Network = IPv4Network | IPv6Network
PIPE: Final = b"from supervisor to worker"
"""Seals the first table on its way to a worker: no secret is needed inside one pipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long the proxy waits for whom."""

    request_headers: float = 10.0  # a head must be whole this long after its first byte (slow senders)
    idle: float = 75.0  # a kept connection without a request; nginx's keepalive_timeout
    connect: float = 5.0  # Envoy's connect_timeout
    first_byte: float = 60.0  # from the request's last byte to the response's first; nginx's proxy_read_timeout
    stream_idle: float = 300.0  # between two pieces of a body, either way, and in tunnels; Envoy's stream_idle_timeout
    pool_idle: float = 1.5  # a pooled connection; gunicorn closes its own after 2
    drain: float = 30.0  # requests under way when asked to stop; gunicorn's graceful_timeout
    identity: float = 2.0  # the monolith's answer to who a visitor is
    drain_idle: float = 1.0  # kept connections without a request, when asked to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the proxy takes from whom."""

    request_headers: int = 60 * 1024  # Envoy's max_request_headers_kb
    headers_count: int = 100  # Envoy's max_headers_count
    target: int = 8192  # nginx's large_client_header_buffers
    buffer: int = 128 * 1024  # bytes waiting for a slower side, each way, before reading stops
    connections: int = 1024  # to one endpoint, from one worker; Envoy's max_connections
    pending: int = 1024  # requests waiting for such a connection; Envoy's max_pending_requests
    requests: int = 1024  # under way to one stack, from one worker; Envoy's max_requests
    pool: int = 128  # kept idle to one endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where routing tables come from. Empty strings: there is no such source."""

    database: str = ""
    redis: str = ""
    secret: str = ""
    state: str = ""  # folder of the copy on disk


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Asking:
    """How the monolith is asked who a visitor is; ``secret`` is what both sign with."""

    secret: str
    session_cookie: str
    path: str
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """Which collector gets spans, and of which part of the requests whose callers do not say."""

    endpoint: str  # OTLP over HTTP, path included
    sample: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How clients come in.

    ``addresses`` are written as in a project, one a listening socket and in their order; files of TLS by their path.
    """

    addresses: tuple[str, ...] = ()
    proxy_protocol: tuple[Network, ...] = ()  # whose connections begin with a header that tells of a client
    certificate: str = ""
    key: str = ""
    mode: int = 0o660  # of Unix sockets' files

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "proxy_protocol": [str(network) for network in self.proxy_protocol]}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Entry:
        networks = tuple(ip_network(network) for network in raw["proxy_protocol"])
        return cls(**{**raw, "addresses": tuple(raw["addresses"]), "proxy_protocol": networks})


@dataclass(frozen=True, slots=True, kw_only=True)
class StackTls:
    """By which authorities stacks are believed, and what they are shown: paths, empty for the system's and nothing."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a worker needs. ``table`` is the routing table to begin with, sealed with ``PIPE``."""

    worker: str
    table: str
    trusted: tuple[Network, ...] = ()
    access_log: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    links: Links = field(default_factory=Links)
    identity: Asking | None = None  # nobody is asked, and services know no visitor
    tracing: Tracing | None = None
    server_timing: bool = False  # for everybody; testers are told always
    entry: Entry = field(default_factory=Entry)
    stack_tls: StackTls = field(default_factory=StackTls)

    def __repr__(self) -> str:
        return f"Settings(worker={self.worker!r})"

    def to_json(self) -> dict[str, Any]:
        trusted = [str(network) for network in self.trusted]
        return {**asdict(self), "trusted": trusted, "entry": self.entry.to_json()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Settings:
        return cls(
            worker=raw["worker"],
            table=raw["table"],
            trusted=tuple(ip_network(network) for network in raw["trusted"]),
            access_log=raw["access_log"],
            timeouts=Timeouts(**raw["timeouts"]),
            limits=Limits(**raw["limits"]),
            links=Links(**raw["links"]),
            identity=_asking(raw["identity"]),
            tracing=None if raw["tracing"] is None else Tracing(**raw["tracing"]),
            server_timing=raw["server_timing"],
            entry=Entry.from_json(raw["entry"]),
            stack_tls=StackTls(**raw["stack_tls"]),
        )


def _asking(raw: dict[str, Any] | None) -> Asking | None:
    return None if raw is None else Asking(**{**raw, "permissions": tuple(raw["permissions"])})
