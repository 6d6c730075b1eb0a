"""How long the proxy waits for whom, how much it takes, and how often.

Limits and timeouts carry Envoy's names and defaults where Envoy has one. Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    client_connections: int = 1024  # of one address outside the trusted networks, to one worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """When a worker turns requests away: its loop is this late for a second, or so many requests are under way."""

    lateness: float = 0.2  # seconds; 0: however late
    in_flight: int | None = None


class By(StrEnum):
    """What a client is to a rate."""

    ADDRESS = "address"  # as balancers in trusted networks tell it; of IPv6 the network of 64 bits
    CREDENTIAL = "credential"  # what it shows of who it is; the address where it shows nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often a client may ask: ``requests`` in ``per`` seconds, evenly, and ``burst`` of them at once.

    Without ``capability`` and ``methods`` it holds for everything. One that is ``shared`` counts over all workers and
    proxies, one that is not over each worker's own clients.
    """

    name: str
    requests: int
    per: float = 1.0
    burst: int = 0  # 0: as many as ``requests``
    capability: str = ""
    methods: tuple[str, ...] = ()
    by: By = By.ADDRESS
    shared: bool = False
