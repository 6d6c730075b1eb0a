"""The project as frozen values: one installation, and the capabilities that it moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from strangler.capability import BORN, Data, Stack, State
from strangler.project.limits import Limits, Rate, Shed, Timeouts
from strangler.routing.address import parse_listen
from strangler.routing.cohort import Cohort
from strangler.routing.keys import Keys
from strangler.routing.protect import Protect, Reach
from strangler.routing.table import MONOLITH, Capability, Route, RoutingTable

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a project's files: where, what was found, what would do."""

    file: str
    key: str
    found: str
    wanted: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.key}" if self.key else self.file
        return printable(f"{place}: found {self.found}; wanted {self.wanted}")


def printable(text: str) -> str:
    """Return ``text`` on one line: what a file or a catalogue says must end no comment and move no cursor."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class ProjectInvalid(Exception):
    """The project's files cannot be used as they are. Mend what each problem names; nothing was started."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Secret:
    """A value that is never printed. Whether it is there is asked only of whoever needs it.

    A proxy's host needs no database of the monolith, so a variable that is unset is an error when it is revealed.
    """

    value: str | None
    problem: Problem | None = None

    def reveal(self) -> str:
        """Return the value. Raises ``ProjectInvalid`` naming the file, the key and the variable when it is missing."""
        if self.value is None:
            raise ProjectInvalid((self.problem,) if self.problem else ())
        return self.value

    def __repr__(self) -> str:
        return "Secret(unset)" if self.value is None else "Secret(***)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where a stack answers and how it is reached there, and the database that it keeps its data in."""

    name: str
    endpoints: tuple[str, ...]
    database: Secret
    reach: Reach = field(default_factory=Reach)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the toolkit keeps for itself: the ledger's database, the broker, and the secret that signs.

    ``second_secret`` is believed beside it, and signs nothing: what will sign next, or what has signed so far.
    """

    database: Secret
    redis: Secret
    secret: Secret
    second_secret: Secret | None = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return (self.secret,) if self.second_secret is None else (self.secret, self.second_secret)

    def keys(self) -> Keys:
        """Return what the secrets yield. Raises ``ProjectInvalid`` when one is not set."""
        return Keys.derive(*(each.reveal() for each in self.secrets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files: what clients are shown, by what stacks are believed, and what they are shown."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """Which collector gets spans, and of which part of the requests whose callers do not say."""

    endpoint: str
    sample: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """How the data plane listens. Timeouts are in seconds; ``trusted`` are the networks of balancers in front.

    Of these, ``proxy_protocol`` are those that tell of clients by the PROXY protocol, before anything else.
    """

    listen: tuple[str, ...] = ("127.0.0.1:8000",)
    admin: str = "127.0.0.1:8900"
    workers: int = 2
    trusted: tuple[Network, ...] = ()
    state: Path = Path(".strangler")
    access_log: str | None = None
    proxy_protocol: tuple[Network, ...] = ()
    socket_mode: int = 0o660
    tls: Tls = Tls()
    tracing: Tracing | None = None
    server_timing: bool = False
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    rates: tuple[Rate, ...] = ()
    shed: Shed = field(default_factory=Shed)

    @property
    def url(self) -> str:
        """Where it is asked from the same machine, plainly if that is possible; "" behind Unix sockets alone."""
        urls = [parse_listen(each).url for each in self.listen]
        return min(filter(None, urls), key=lambda url: url.startswith("https:"), default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """How streams are applied. ``retention`` is how many bytes of WAL a slot may keep before it is given up.

    ``metrics`` is where Prometheus asks, "" for nowhere. ``verify_interval`` is in how many seconds all
    rows are compared once, 0 for never.
    """

    retention: int = 20_000_000_000
    metrics: str = ""
    verify_interval: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manage:
    """The words that run the monolith's manage.py, without a shell, and what its environment has beside this one's."""

    command: tuple[str, ...]
    environment: Mapping[str, Secret]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How the proxy asks the monolith who a visitor is; of ``permissions``, services learn which the visitor has."""

    secret: Secret
    session_cookie: str = "sessionid"
    path: str = "/.strangler/identity/"
    permissions: tuple[str, ...] = ()


class OnDelete(StrEnum):
    """What the delete of a mapped row does to rows that refer to it, and are not mapped themselves."""

    RESTRICT = "restrict"
    SET_NULL = "set null"
    CASCADE = "cascade"
    KEEP = "keep"

    @property
    def writes(self) -> bool:
        """Whether rows of the referring table are written."""
        return self in (OnDelete.SET_NULL, OnDelete.CASCADE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Referred:
    """A foreign key of ``columns`` in a table that is not mapped, ``by`` which a mapped table is referred to.

    Both are in the database of ``stack``. ``on_delete`` is for deletes that a stream brings there: those of the other
    stack, while that is the owner.
    """

    by: str
    columns: tuple[str, ...]
    stack: Stack
    on_delete: OnDelete


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """Code called ``name`` that must run in ``stack`` when the stream changes rows there.

    A change of ``columns`` of that stack's table matters, and they are told; none are all of them.
    """

    name: str
    stack: Stack
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """One source table projected into one target table, and back.

    ``key`` maps key columns of the target to those of the source. ``forward`` maps the other target columns to SQL
    over the source row, ``reverse`` source columns to SQL over the target row. A ``reference`` is a copy of columns
    that belong to somebody else: the service reads it, and nothing of it ever goes back. Of the source's columns those
    that are ``acknowledged`` need not come back as they were, and files that its ``shared_files`` name lie where both
    stacks reach them. ``referred_by`` are foreign keys from outside the capability, on either side. ``reactions`` are
    what must run when a stream changes rows.
    """

    source: str
    target: str
    key: Mapping[str, str]
    forward: Mapping[str, str]
    reverse: Mapping[str, str]
    where: str | None = None
    reference: bool = False
    acknowledged: tuple[str, ...] = ()
    shared_files: tuple[str, ...] = ()
    referred_by: tuple[Referred, ...] = ()
    reactions: tuple[Reaction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Those who look after a capability; ``contact`` is empty where nobody said."""

    name: str
    contact: str = ""

    def __str__(self) -> str:
        return f"{self.name}, {self.contact}" if self.contact else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityFiles:
    """What a capability's folder says: what moves as one.

    ``tasks``, ``commands`` and ``applications`` are names of what runs for it beside its routes, see ``named``.
    """

    name: str
    folder: Path
    service: str
    routes: tuple[Route, ...]
    cohorts: tuple[Cohort, ...] = ()
    tables: tuple[TableMapping, ...] = ()
    born: Stack = Stack.MONOLITH
    protect: Protect = field(default_factory=Protect)
    tasks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()
    team: Team | None = None

    def routed(self, state: State) -> Capability:
        """Return the capability as a routing table carries it, in ``state``."""
        return Capability(
            name=self.name,
            service=self.service,
            routes=self.routes,
            cohorts=self.cohorts,
            state=state,
            protect=self.protect,
            references=any(table.reference for table in self.tables),
        )

    @property
    def first_state(self) -> State:
        """The state before anything was ever decided: the stack where it was born answers everything."""
        if self.born is Stack.SERVICE:
            return BORN
        return State(data=Data.ABSENT if self.tables else Data.NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Everything that the files say, checked, with variables resolved."""

    root: Path
    monolith: Upstream
    services: Mapping[str, Upstream]
    control: Control
    proxy: Proxy
    capabilities: Mapping[str, CapabilityFiles] = field(default_factory=dict)
    identity: Identity | None = None
    sync: Sync = Sync()
    manage: Manage | None = None

    @property
    def upstreams(self) -> dict[str, tuple[str, ...]]:
        """The endpoints of each stack, by the name that routing tables use."""
        services = {name: service.endpoints for name, service in self.services.items()}
        return {MONOLITH: self.monolith.endpoints, **services}

    @property
    def reach(self) -> dict[str, Reach]:
        """How each stack is reached, by the same names."""
        return {MONOLITH: self.monolith.reach, **{name: service.reach for name, service in self.services.items()}}

    def bootstrap_table(self) -> RoutingTable:
        """Return the table to route by while none was ever published: version 0, all reads with the owner."""
        capabilities = tuple(each.routed(each.first_state) for each in self.capabilities.values())
        return RoutingTable(version=0, upstreams=self.upstreams, capabilities=capabilities, reach=self.reach)
