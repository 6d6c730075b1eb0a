"""What a worker is told when it starts, as one frozen value that travels as JSON over its standard input.

Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from strangler.project.limits import By, Limits, Rate, Shed, Timeouts
from strangler.routing.keys import Keys

Network = IPv4Network | IPv6Network
PIPE: Final = b"from supervisor to worker"
"""Seals the first table on its way to a worker: no secret is needed inside one pipe."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Links:
    """Where routing tables come from. Empty strings: there is no such source."""

    database: str = ""
    redis: str = ""
    secret: str = ""
    second_secret: str = ""  # believed, and never signed with
    state: str = ""  # folder of the copy on disk

    def keys(self) -> Keys | None:
        """Return what the secrets yield; None without one."""
        return Keys.derive(self.secret, self.second_secret) if self.secret else None

    def why_not(self, after: Links) -> str:
        """Return why ``after`` cannot follow while workers serve, empty when it can.

        Workers that go by one and by the other serve side by side for a while, and each has to believe both.
        """
        known, believed = (self.secret, self.second_secret), (after.secret, after.second_secret)
        if after.secret not in known:
            return "its secret was not the second_secret before; have it there first"
        if self.secret not in believed:
            return "the secret so far is not the second_secret; keep it there until nothing is signed with it"
        return ""


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
    rates: tuple[Rate, ...] = ()
    shed: Shed = field(default_factory=Shed)
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
    def from_json(cls, told: dict[str, Any]) -> Settings:
        """Return what ``to_json`` wrote, also that of an earlier release: what it did not know is as usual.

        Raises ``KeyError``, ``TypeError`` or ``ValueError`` on what is not understood.
        """
        raw = {**cls(worker="", table="").to_json(), **told}
        if unknown := told.keys() - {each.name for each in fields(cls)}:
            raise ValueError(f"nobody here knows {', '.join(sorted(unknown))}")
        return cls(
            worker=raw["worker"],
            table=raw["table"],
            trusted=tuple(ip_network(network) for network in raw["trusted"]),
            access_log=raw["access_log"],
            timeouts=Timeouts(**raw["timeouts"]),
            limits=Limits(**raw["limits"]),
            rates=tuple(map(_rate, raw["rates"])),
            shed=Shed(**raw["shed"]),
            links=Links(**raw["links"]),
            identity=_asking(raw["identity"]),
            tracing=None if raw["tracing"] is None else Tracing(**raw["tracing"]),
            server_timing=raw["server_timing"],
            entry=Entry.from_json(raw["entry"]),
            stack_tls=StackTls(**raw["stack_tls"]),
        )


def _rate(raw: dict[str, Any]) -> Rate:
    return Rate(**{**raw, "by": By(raw["by"]), "methods": tuple(raw["methods"])})


def _asking(raw: dict[str, Any] | None) -> Asking | None:
    return None if raw is None else Asking(**{**raw, "permissions": tuple(raw["permissions"])})
