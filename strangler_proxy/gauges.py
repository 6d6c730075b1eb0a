"""What is now: read out of the reports of the workers that live.

A report has what its worker knows. A gauge whose key it lacks has no value, or counts it as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from strangler.capability import WHOLE
from strangler.routing.table import RoutingTable

Report = Mapping[str, Any]
Values = Iterable[tuple[tuple[str, ...], float]]
Read = Callable[[Sequence[Report], float], Values]
"""Called with the reports and the time in Unix seconds."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """A metric that goes up and down, and how it is read."""

    name: str
    text: str
    labels: tuple[str, ...]
    read: Read


def standing(table: RoutingTable) -> dict[str, dict[str, Any]]:
    """Return where each capability stands, as a worker's report has it under ``capabilities``."""
    return {
        each.name: {
            "stage": str(each.state.stage),
            "owner": str(each.state.owner),
            "service": each.service,
            "share": each.state.share,
            "killed": each.state.killed is not None,
        }
        for each in table.capabilities
    }


def _sum(live: Sequence[Report], values: Callable[[Report], Values]) -> Values:
    sums: dict[tuple[str, ...], float] = {}
    for each in live:
        for labels, value in values(each):
            sums[labels] = sums.get(labels, 0) + value
    return sums.items()


def _number(*path: str) -> Read:
    """Read the number at ``path``, summed over the workers."""
    return lambda live, now: [((), sum(_at(each, path, 0) for each in live))]


def _by_name(*path: str) -> Read:
    """Read the list of [name, number] at ``path``, summed over the workers."""
    return lambda live, now: _sum(live, lambda each: [((name,), number) for name, number in _at(each, path, ())])


def _by_worker(value: Callable[[Report, float], float | None]) -> Read:
    """Read a number of each worker; None where it has none."""

    def read(live: Sequence[Report], now: float) -> Values:
        found = ((each["worker"], value(each, now)) for each in live)
        return [((worker,), number) for worker, number in found if number is not None]

    return read


def _workers_by(key: str) -> Read:
    """Count the workers that say the same of a name; the report has it as {name: word}."""
    return lambda live, now: _sum(live, lambda each: [((name, word), 1) for name, word in each.get(key, {}).items()])


def _at(report: Report, path: Sequence[str], absent: Any) -> Any:
    found: Any = report
    for name in path:
        found = found.get(name)
        if found is None:
            return absent
    return found


def _upstream_connections(live: Sequence[Report], now: float) -> Values:
    def values(each: Report) -> Values:
        for url, (opened, idle, *_) in each.get("upstreams", {}).items():
            yield (url, "busy"), opened - idle
            yield (url, "idle"), idle

    return _sum(live, values)


def _upstream_pending(live: Sequence[Report], now: float) -> Values:
    return _sum(
        live, lambda each: [((url,), found[2]) for url, found in each.get("upstreams", {}).items() if found[2:]]
    )


def _links(live: Sequence[Report], now: float) -> Values:
    for link in ("valkey", "postgres"):
        found = [each[link] for each in live if each.get(link) is not None]
        if found:
            yield (link,), sum(found)


def _standing(key: str, factor: float = 1.0) -> Read:
    """Read a number of each capability, as the worker with the newest table knows it."""

    def read(live: Sequence[Report], now: float) -> Values:
        return [((name,), float(known[key]) * factor) for name, known in _newest(live).items()]

    return read


def _stages(live: Sequence[Report], now: float) -> Values:
    return [((name, known["stage"], known["owner"], known["service"]), 1) for name, known in _newest(live).items()]


def _newest(live: Sequence[Report]) -> Mapping[str, Any]:
    newest: Report = max(live, key=lambda each: each["version"], default={})
    found: Mapping[str, Any] = newest.get("capabilities", {})
    return found


def _age(report: Report, now: float) -> float | None:
    published = report.get("published_at")
    return None if published is None else now - float(published)


GAUGES: Final = (
    Gauge("workers", "Workers that live", (), lambda live, now: [((), len(live))]),
    Gauge("connections", "Connections of clients, now", (), _number("connections")),
    Gauge("in_flight", "Requests under way", (), _number("tally", "in_flight")),
    Gauge(
        "capability_in_flight",
        "Requests under way, by capability",
        ("capability",),
        _by_name("tally", "in_flight_by"),
    ),
    Gauge("held", "Writes that are held now", ("capability",), _by_name("tally", "held")),
    Gauge("tunnels", "Upgraded connections", (), _number("tally", "tunnels")),
    Gauge("upstream_connections", "Connections to an endpoint", ("endpoint", "state"), _upstream_connections),
    Gauge("upstream_pending", "Requests that wait for a connection to an endpoint", ("endpoint",), _upstream_pending),
    Gauge(
        "endpoint_workers",
        "Workers that know an endpoint in a condition",
        ("endpoint", "condition"),
        _workers_by("conditions"),
    ),
    Gauge("breaker_workers", "Workers whose breaker is in a circuit", ("upstream", "circuit"), _workers_by("breakers")),
    Gauge(
        "capability_share_ratio",
        "Part of the readers that the service answers",
        ("capability",),
        _standing("share", 1 / WHOLE),
    ),
    Gauge("capability_killed", "1 while a capability is killed", ("capability",), _standing("killed")),
    Gauge("capability_stage", "1 for where a capability stands", ("capability", "stage", "owner", "service"), _stages),
    Gauge(
        "routing_table_version",
        "Version of the routing table in force",
        ("worker",),
        _by_worker(lambda each, now: each["version"]),
    ),
    Gauge(
        "routing_table_age_seconds",
        "Time since the routing table in force was published",
        ("worker",),
        _by_worker(_age),
    ),
    Gauge("link_workers", "Workers that reach what publishes routing tables", ("link",), _links),
    Gauge(
        "loop_lag_seconds",
        "The longest that a worker's loop was late in the last half minute to minute",
        ("worker",),
        _by_worker(lambda each, now: each.get("lag")),
    ),
    Gauge(
        "worker_resident_bytes",
        "Memory of a worker, shared pages included",
        ("worker",),
        _by_worker(lambda each, now: each.get("resident")),
    ),
)
