"""What Prometheus is told of streams: asked of the databases at each scrape, so that it is true of any process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from strangler.project import Project
from strangler.sync.fence import Claim
from strangler.sync.reacting import Reacting
from strangler.sync.status import Status, Sync, status

PREFIX: Final = "strangler_sync_"


@dataclass(frozen=True, slots=True)
class Gauge:
    """A metric of a stream; no sample where ``read`` gives None."""

    name: str
    text: str
    read: Callable[[Status], float | None]


@dataclass(frozen=True, slots=True)
class CapabilityGauge:
    """A metric of a capability; no sample where ``read`` gives None."""

    name: str
    text: str
    read: Callable[[Sync], float | None]


@dataclass(frozen=True, slots=True)
class FenceGauge:
    """A metric of a capability's fence in the database of a stack."""

    name: str
    text: str
    read: Callable[[Claim], bool]


@dataclass(frozen=True, slots=True)
class ReactionGauge:
    """A metric of a reaction; no sample where ``read`` gives None."""

    name: str
    text: str
    read: Callable[[Reacting], float | None]


def _begun(stream: Status) -> bool | None:
    # Where nobody can look it is as it was: whoever asks for its last sample is told that.
    return None if stream.problem is not None and not stream.begun else stream.begun


STREAM_LABELS: Final = ("capability", "way")
CAPABILITY_LABELS: Final = ("capability",)
STREAMS: Final = (
    Gauge("begun", "Whether the stream was begun (0 or 1).", _begun),
    Gauge("follows", "Whether what its source has reaches its target within moments (0 or 1).", lambda e: e.follows),
    Gauge("running", "Whether a process applies it (0 or 1).", lambda each: each.running),
    Gauge("copying", "Whether its tables are being copied beside it (0 or 1).", lambda each: each.copying),
    Gauge("stopped", "Whether something keeps it from going on (0 or 1).", lambda each: each.problem is not None),
    Gauge("lag_bytes", "WAL of its source that is still to be applied.", lambda each: each.lag_bytes),
    Gauge("lag_seconds", "Age of the last heartbeat that came through it.", lambda each: each.lag_s),
    Gauge("lag_transactions", "Begun since on the source's server, at most so many.", lambda e: e.lag_transactions),
    Gauge("kept_bytes", "WAL that its source's server keeps for it.", lambda each: each.kept_bytes),
    Gauge(
        "held_seconds",
        "Age of the oldest transaction that keeps its slot back; 0 where none does for long.",
        lambda each: each.held.oldest_s if each.held else None,
    ),
    Gauge("held_transactions", "That keep its slot back.", lambda each: each.held.count if each.held else None),
    Gauge("transactions", "Applied since it was begun.", lambda e: e.transactions if e.begun else None),
    Gauge("changes", "Rows changed since it was begun.", lambda each: each.changes if each.begun else None),
)
COPIES: Final = (
    CapabilityGauge("copy_rows", "To copy, in all.", lambda each: each.copy.rows if each.copy else None),
    CapabilityGauge("copied_rows", "Copied.", lambda each: each.copy.rows_done if each.copy else None),
)
VERIFIES: Final = (
    CapabilityGauge(
        "verify_rows",
        "Compared when all rows were last.",
        lambda each: each.verified.whole.rows if each.verified.whole else None,
    ),
    CapabilityGauge(
        "verify_differing_rows",
        "Found different then.",
        lambda each: each.verified.whole.differing if each.verified.whole else None,
    ),
    CapabilityGauge(
        "verify_took_seconds",
        "How long that took.",
        lambda each: each.verified.whole.seconds if each.verified.whole else None,
    ),
    CapabilityGauge(
        "verify_age_seconds",
        "Since the last comparison of all rows ended.",
        lambda each: each.verified.whole.age_s if each.verified.whole else None,
    ),
    CapabilityGauge(
        "verify_equal",
        "Whether it found both sides equal, and no later one of some rows has found them different (0 or 1).",
        lambda each: each.verified.equal,
    ),
)
MOVES: Final = (
    CapabilityGauge(
        "moving_seconds",
        "Since a move of the owner was begun that has not ended; 0 where none is under way.",
        lambda each: each.lasting.moving_s if each.lasting else None,
    ),
    CapabilityGauge(
        "unfenced_seconds",
        "Since a rollback was forced after which the service's database is not fenced yet; 0 where there is none.",
        lambda each: each.lasting.unfenced_s if each.lasting else None,
    ),
)

FENCE_LABELS: Final = ("capability", "stack")
FENCES: Final = (
    FenceGauge("fence_raised", "Whether nobody but the sync may write there (0 or 1).", lambda each: each.raised),
    FenceGauge(
        "fence_observing", "Whether every statement that writes there is told (0 or 1).", lambda each: each.observing
    ),
)


REACTION_LABELS: Final = ("capability", "way", "reaction")
REACTIONS: Final = (
    ReactionGauge("reaction_waiting", "Changes that wait for it; at most 100,000 are counted.", lambda e: e.waiting),
    ReactionGauge(
        "reaction_lag_seconds", "Age of the oldest change that waits for it; 0 for none.", lambda e: e.oldest_s or 0.0
    ),
    ReactionGauge(
        "reaction_tries", "How often it has failed at that one; 0 while it does not.", lambda e: e.tries or 0
    ),
)
TABLE_LABELS: Final = ("capability", "table")
SIDES: Final = (
    ("source_rows_estimate", "About so many rows a table has in the monolith.", 0),
    ("target_rows_estimate", "About so many rows a table has in its service.", 1),
)


class Streams(Collector):
    """The streams of a project, looked at when they are asked for."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def collect(self) -> Iterable[Metric]:
        return families(status(self._project))


def families(found: Iterable[Sync]) -> Iterator[Metric]:
    """Yield what is told of each capability."""
    everything = list(found)
    for gauge in STREAMS:
        family = GaugeMetricFamily(PREFIX + gauge.name, gauge.text, labels=STREAM_LABELS)
        for sync in everything:
            for stream in (sync.forward, sync.back):
                _add(family, (sync.capability, str(stream.way)), gauge.read(stream))
        yield family
    for each in REACTIONS:
        family = GaugeMetricFamily(PREFIX + each.name, each.text, labels=REACTION_LABELS)
        for sync in everything:
            for stream in (sync.forward, sync.back):
                for reaction in stream.reactions:
                    labels = (sync.capability, str(stream.way), reaction.name)
                    _add(family, labels, each.read(reaction))
        yield family
    for of_all in (*COPIES, *VERIFIES, *MOVES):
        family = GaugeMetricFamily(PREFIX + of_all.name, of_all.text, labels=CAPABILITY_LABELS)
        for sync in everything:
            _add(family, (sync.capability,), of_all.read(sync))
        yield family
    for of_fence in FENCES:
        family = GaugeMetricFamily(PREFIX + of_fence.name, of_fence.text, labels=FENCE_LABELS)
        for sync in everything:
            for stack, claim in sync.fences.items():
                _add(family, (sync.capability, str(stack)), of_fence.read(claim))
        yield family
    for name, text, side in SIDES:
        family = GaugeMetricFamily(PREFIX + name, text, labels=TABLE_LABELS)
        for sync in everything:
            for table, estimates in sync.tables.items():
                _add(family, (sync.capability, table), estimates[side])
        yield family


def _add(family: GaugeMetricFamily, labels: tuple[str, ...], value: float | None) -> None:
    if value is not None:
        family.add_metric(labels, float(value))


def serve(project: Project) -> Callable[[], None]:
    """Answer Prometheus at ``[sync] metrics``; return what ends that. Raises ``OSError`` where the port is taken."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Streams(project))
    host, _, port = project.sync.metrics.rpartition(":")
    server, thread = start_http_server(int(port), host.strip("[]"), registry)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
