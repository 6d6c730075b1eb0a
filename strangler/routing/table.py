"""The routing table: one immutable snapshot of every capability's routes and state, at one version.

It is published whole as JSON, sealed with an HMAC so that nobody who merely reaches the broker can reroute a shop,
and swapped in one assignment. Routes are compiled into a trie of segments, so that finding one costs steps by the
depth of the path and not by the number of routes.

Precedence, segment by segment from the left: a literal beats a wildcard, and a longer route beats a shorter one. Of
routes with the same path the one with more conditions (host, header, methods) comes first.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, TypeVar

from strangler.capability import Data, Move, Phase, Stack, Stage, State
from strangler.routing.cohort import TOKEN, Cohort, Source
from strangler.routing.hold import Hold
from strangler.routing.path import Segments
from strangler.routing.protect import Protect, Reach

_WILDCARD: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]+")
# Deeper than any URL scheme seen; it bounds the backtracking over wildcards at 2 ** 12 steps.
MAX_DEPTH: Final = 12


class Kind(StrEnum):
    """What a request does to the data, where a route says so."""

    READS = "reads"
    WRITES = "writes"


class TableInvalid(Exception):
    """A published routing table cannot be trusted or read. Workers keep the one they have; publish again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path of whole segments as a prefix, with optional conditions; all that are given must hold.

    ``methods`` empty means any. ``host`` is compared without port, in lower case. ``header`` is (name, value).
    """

    path: str
    methods: frozenset[str] = frozenset()
    host: str | None = None
    header: tuple[str, str] | None = None
    kind: Kind | None = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError("a path starts with /")
        if len(self.segments) > MAX_DEPTH:
            raise ValueError(f"a path has at most {MAX_DEPTH} segments")
        for segment in self.path.strip("/").split("/") if self.path != "/" else ():
            if not _WILDCARD.fullmatch(segment) and (segment in (".", "..") or not _LITERAL.fullmatch(segment)):
                raise ValueError(f"segment {segment!r} is neither literal nor a {{name}}")
        names = self.names
        if len(set(names)) < len(names):
            raise ValueError("a {name} stands twice")
        if self.host is not None and self.host != self.host.lower():
            raise ValueError(f"host {self.host!r} is not in lower case")
        if self.header is not None and not TOKEN.fullmatch(self.header[0]):
            raise ValueError(f"{self.header[0]!r} is no name of a header")

    @property
    def segments(self) -> tuple[str | None, ...]:
        """The path's segments, None for a wildcard."""
        return tuple(None if _WILDCARD.fullmatch(part) else part for part in self.path.split("/") if part)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its wildcards, in order."""
        return tuple(match[1] for part in self.path.split("/") if (match := _WILDCARD.fullmatch(part)))

    @property
    def conditions(self) -> int:
        return (self.host is not None) + (self.header is not None) + bool(self.methods)

    def overlaps(self, other: Route) -> bool:
        """Return whether some request could match both with neither taking precedence."""
        return (
            self.segments == other.segments
            and self.conditions == other.conditions
            and (self.host is None or other.host is None or self.host == other.host)
            and (self.header is None or other.header is None or _headers_meet(self.header, other.header))
            and (not self.methods or not other.methods or self._shares_method(other) or other._shares_method(self))
        )

    def _shares_method(self, other: Route) -> bool:
        return any(other.takes(method) for method in self.methods)

    def takes(self, method: str) -> bool:
        """Return whether the method fits; GET includes HEAD, which RFC 9110 section 9.3.2 defines by it."""
        return not self.methods or method in self.methods or (method == "HEAD" and "GET" in self.methods)


def _headers_meet(one: tuple[str, str], other: tuple[str, str]) -> bool:
    return one[0].lower() != other[0].lower() or one[1] == other[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """A capability as the proxy sees it: where it is found and in which state it is.

    ``references`` says that its service reads copies of tables that are not the capability's own.
    """

    name: str
    service: str
    routes: tuple[Route, ...]
    cohorts: tuple[Cohort, ...] = ()
    state: State = field(default_factory=State)
    protect: Protect = field(default_factory=Protect)
    hold: Hold | None = None
    references: bool = False


MONOLITH: Final = "monolith"
"""The name of the monolith among the upstreams; a service may not have it."""

Entry = tuple[Capability, Route]
_USUAL_REACH: Final = Reach()


@dataclass(frozen=True, slots=True)
class Node:
    """One segment deep in the trie: what follows literally, what follows at all, and the routes that end here.

    ``plain`` is the last of those when it has no condition: nothing need be asked of a request.
    """

    literal: Mapping[str, Node]
    wildcard: Node | None
    entries: tuple[Entry, ...]
    plain: Entry | None


@dataclass(frozen=True, kw_only=True)
class RoutingTable:
    """The whole published snapshot at ``version``. ``upstreams`` maps "monolith" and each service to its endpoints.

    ``reach`` has those that are reached in a way of their own; ``reach_of`` knows the others too.
    """

    version: int
    upstreams: Mapping[str, tuple[str, ...]]
    capabilities: tuple[Capability, ...] = ()
    published_at: datetime | None = None
    reach: Mapping[str, Reach] = field(default_factory=dict)
    trie: Node = field(init=False, repr=False, compare=False)
    _unconditional: bool = field(init=False, repr=False, compare=False)
    known: dict[bytes, tuple[Entry, Segments]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.upstreams.get(MONOLITH):
            raise ValueError("the monolith has no endpoint")
        for capability in self.capabilities:
            if not self.upstreams.get(capability.service):
                raise ValueError(f"{capability.name}: service {capability.service!r} has no endpoint")
        for name in self.reach.keys() - self.upstreams.keys():
            raise ValueError(f"{name!r} is reached in a way of its own, and has no endpoint")
        object.__setattr__(self, "reach", {name: each for name, each in self.reach.items() if each != _USUAL_REACH})
        entries = [(capability, route) for capability in self.capabilities for route in capability.routes]
        object.__setattr__(self, "_unconditional", not any(route.conditions for _, route in entries))
        object.__setattr__(self, "trie", _grow([(route.segments, (each, route)) for each, route in entries]))

    def remember(self, path: bytes, entry: Entry, segments: Segments) -> None:
        """Note what a path with one reading selects, where nothing else of a request is asked for.

        A site's readers ask for the same paths again and again: 0.1 instead of 2.2 us. Neither many nor long ones are
        kept, 2 MB at most.
        """
        if self._unconditional and len(path) <= _LONGEST_KNOWN:
            if len(self.known) >= _MOST_KNOWN:
                self.known.clear()
            self.known[path] = entry, segments

    def find(self, segments: Segments, fits: Fits) -> Entry | None:
        """Return the capability and route that take precedence among those that ``fits`` accepts."""
        return _find(self.trie, segments, 0, fits)

    def reach_of(self, upstream: str) -> Reach:
        """Return how ``upstream`` is reached."""
        return self.reach.get(upstream, _USUAL_REACH)


Fits = Callable[[Route], bool]
_MOST_KNOWN: Final = 4096
_LONGEST_KNOWN: Final = 128


def _grow(routes: list[tuple[tuple[str | None, ...], Entry]]) -> Node:
    ends = [entry for segments, entry in routes if not segments]
    below: dict[str | None, list[tuple[tuple[str | None, ...], Entry]]] = {}
    for segments, entry in routes:
        if segments:
            below.setdefault(segments[0], []).append((segments[1:], entry))
    nodes = {first: _grow(rest) for first, rest in below.items()}
    entries = tuple(sorted(ends, key=lambda entry: -entry[1].conditions))
    return Node(
        literal={first: node for first, node in nodes.items() if first is not None},
        wildcard=nodes.get(None),
        entries=entries,
        plain=entries[0] if entries and not entries[0][1].conditions else None,
    )


def _find(node: Node, segments: Segments, depth: int, fits: Fits) -> Entry | None:
    """Return what fits best below ``node``. A loop where only literals follow: half the time of a recursion."""
    passed: list[Node] = []
    size = len(segments)
    while depth < size:
        if node.entries:
            passed.append(node)
        if node.wildcard is not None:
            found = _find_below(node, node.wildcard, segments, depth, fits)
            return found if found is not None else _fitting(passed, fits)
        below = node.literal.get(segments[depth])
        if below is None:
            return _fitting(passed, fits)
        node = below
        depth += 1
    if node.plain is not None:
        return node.plain
    passed.append(node)
    return _fitting(passed, fits)


def _find_below(node: Node, wildcard: Node, segments: Segments, depth: int, fits: Fits) -> Entry | None:
    literal = node.literal.get(segments[depth])
    found = _find(literal, segments, depth + 1, fits) if literal is not None else None
    return found if found is not None else _find(wildcard, segments, depth + 1, fits)


def _fitting(passed: list[Node], fits: Fits) -> Entry | None:
    for node in reversed(passed):
        if node.plain is not None:
            return node.plain
        for entry in node.entries:
            if fits(entry[1]):
                return entry
    return None


def seal(table: RoutingTable, key: bytes) -> bytes:
    """Return ``table`` as it is published: the HMAC-SHA256 of the JSON in hex, a newline, the JSON in ASCII."""
    body = json.dumps(_to_json(table), separators=(",", ":")).encode()
    return _mac(body, key) + b"\n" + body


def is_sealed(message: bytes, key: bytes) -> bool:
    """Return whether ``message`` is whole, and sealed with ``key``."""
    mac, _, body = message.partition(b"\n")
    return hmac.compare_digest(mac, _mac(body, key))


def unseal(message: bytes, *keys: bytes) -> RoutingTable:
    """Return the table in ``message``. Raises ``TableInvalid`` when it is not whole, not ours, or not readable."""
    body = message.partition(b"\n")[2]
    if not any(is_sealed(message, key) for key in keys):
        raise TableInvalid("the seal does not match: it was cut short, or sealed with another secret")
    try:
        raw = json.loads(body)
        table = _from_json(raw)
    except (KeyError, TypeError, ValueError, RecursionError) as exc:
        raise TableInvalid(f"its content cannot be read: {exc!r}") from exc
    if _to_json(table) != raw:  # a rule that nobody here knows must not be half obeyed
        raise TableInvalid("it says more than this version understands; a newer one published it")
    return table


def _mac(body: bytes, key: bytes) -> bytes:
    return hmac.new(key, body, sha256).hexdigest().encode()


def _to_json(table: RoutingTable) -> dict[str, Any]:
    reach = {name: each.to_json() for name, each in table.reach.items()}
    return {
        "version": table.version,
        "published_at": table.published_at.isoformat() if table.published_at else None,
        "upstreams": {name: list(endpoints) for name, endpoints in table.upstreams.items()},
        "capabilities": [capability_to_json(capability) for capability in table.capabilities],
        **({"reach": reach} if reach else {}),
    }


def _from_json(raw: Any) -> RoutingTable:
    return RoutingTable(
        version=_of(int, raw["version"]),
        published_at=_time(raw["published_at"]),
        upstreams={name: _texts(endpoints) for name, endpoints in _of(dict, raw["upstreams"]).items()},
        capabilities=tuple(capability_from_json(each) for each in _of(list, raw["capabilities"])),
        reach={name: Reach.from_json(_of(dict, each)) for name, each in _of(dict, raw.get("reach", {})).items()},
    )


def capability_to_json(capability: Capability) -> dict[str, Any]:
    protect = capability.protect.to_json()
    return {
        "name": capability.name,
        "service": capability.service,
        "routes": [_route_to_json(route) for route in capability.routes],
        "cohorts": [
            {"name": each.name, "source": each.source, "key": each.key, "values": list(each.values)}
            for each in capability.cohorts
        ],
        "state": state_to_json(capability.state),
        **({"protect": protect} if protect else {}),
        **({} if capability.hold is None else {"hold": capability.hold.to_json()}),
        **({"references": True} if capability.references else {}),
    }


def capability_from_json(raw: Mapping[str, Any]) -> Capability:
    """Return the capability that ``capability_to_json`` wrote. Raises as ``state_from_json``."""
    return Capability(
        name=_of(str, raw["name"]),
        service=_of(str, raw["service"]),
        routes=tuple(_route_from_json(each) for each in _of(list, raw["routes"])),
        cohorts=tuple(
            Cohort(
                name=_of(str, each["name"]),
                source=Source(each["source"]),
                key=_of(str, each["key"]),
                values=_texts(each["values"]),
            )
            for each in _of(list, raw["cohorts"])
        ),
        state=state_from_json(raw["state"]),
        protect=Protect.from_json(_of(dict, raw.get("protect", {}))),
        hold=Hold.from_json(_of(dict, raw["hold"])) if "hold" in raw else None,
        references=_of(bool, raw.get("references", False)),
    )


def _route_to_json(route: Route) -> dict[str, Any]:
    return {
        "path": route.path,
        "methods": sorted(route.methods),
        "host": route.host,
        "header": list(route.header) if route.header else None,
        "kind": route.kind,
    }


def _route_from_json(raw: Mapping[str, Any]) -> Route:
    header = None if raw["header"] is None else _texts(raw["header"])
    if header is not None and len(header) != 2:
        raise ValueError(f"header {header!r} is no pair of name and value")
    return Route(
        path=_of(str, raw["path"]),
        methods=frozenset(_texts(raw["methods"])),
        host=None if raw["host"] is None else _of(str, raw["host"]),
        header=(header[0], header[1]) if header else None,
        kind=None if raw["kind"] is None else Kind(raw["kind"]),
    )


def state_to_json(state: State) -> dict[str, Any]:
    """Return ``state`` as JSON values: what the ledger keeps and the routing table carries."""
    return {
        "epoch": state.epoch,
        "stage": state.stage,
        "owner": state.owner,
        "share": state.share,
        "cohorts": dict(state.cohorts),
        "killed": state.killed,
        **({} if state.read_only is None else {"read_only": state.read_only}),
        "data": state.data,
        "data_at": state.data_at.isoformat() if state.data_at else None,
        **({} if state.move is None else {"move": _move_to_json(state.move)}),
    }


def _move_to_json(move: Move) -> dict[str, Any]:
    return {"epoch": move.epoch, "source": move.source, "phase": move.phase}


def _move_from_json(raw: Mapping[str, Any]) -> Move:
    return Move(epoch=_of(int, raw["epoch"]), source=Stack(raw["source"]), phase=Phase(raw["phase"]))


def state_from_json(raw: Mapping[str, Any]) -> State:
    """Return the state that ``state_to_json`` wrote.

    Raises ``KeyError``, ``TypeError`` or ``ValueError`` on anything else.
    """
    return State(
        epoch=_of(int, raw["epoch"]),
        stage=Stage(raw["stage"]),
        owner=Stack(raw["owner"]),
        share=_of(int, raw["share"]),
        cohorts={name: Stack(stack) for name, stack in _of(dict, raw["cohorts"]).items()},
        killed=None if raw["killed"] is None else _of(str, raw["killed"]),
        read_only=_of(str, raw["read_only"]) if "read_only" in raw else None,
        data=Data(raw["data"]),
        data_at=_time(raw["data_at"]),
        move=_move_from_json(_of(dict, raw["move"])) if "move" in raw else None,
    )


T = TypeVar("T")


def _of(kind: type[T], raw: object) -> T:
    if type(raw) is not kind:  # a bool is an int to isinstance
        raise TypeError(f"{raw!r} is no {kind.__name__}")
    return raw


def _texts(raw: object) -> tuple[str, ...]:
    return tuple(_of(str, each) for each in _of(list, raw))


def _time(raw: object) -> datetime | None:
    return None if raw is None else datetime.fromisoformat(_of(str, raw))
