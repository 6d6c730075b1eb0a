"""What all connections of a worker share, and the one place where a routing table is swapped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from strangler.capability import State
from strangler.routing.causal import has_copy
from strangler.routing.decide import Decision, Why
from strangler.routing.keys import Keys
from strangler.routing.protect import Protect
from strangler.routing.table import Capability, RoutingTable
from strangler_proxy.access_log import AccessLog
from strangler_proxy.admission import Admission
from strangler_proxy.breaker import Bulkhead
from strangler_proxy.causal import Reached
from strangler_proxy.cluster import Cluster
from strangler_proxy.hold import Holds
from strangler_proxy.identity import Identities
from strangler_proxy.pool import Pool
from strangler_proxy.rates import Meter
from strangler_proxy.settings import Settings
from strangler_proxy.shared_rates import SharedRates
from strangler_proxy.shed import Shedding
from strangler_proxy.telemetry import Series, Tally
from strangler_proxy.tls import Proof
from strangler_proxy.tracing import Tracer
from strangler_proxy.vouch import Signer

# Timeouts are seconds and more. Looking at 10,000 connections takes 0.1 to 0.3 ms, a tick; a timer for each would cost
# each of their requests.
TICK: Final = 0.25


_LOG: Final = logging.getLogger("strangler_proxy")


class Watched(Protocol):
    """Something that must make progress by its ``deadline``, on the monotonic clock."""

    deadline: float

    def expire(self) -> None: ...
    def abort(self) -> None: ...
    def drain(self) -> None: ...


@dataclass(slots=True)
class Guard:
    """What protects one capability. ``timeout`` is in seconds, 0 for none; ``state`` is that of the table in force."""

    bulkhead: Bulkhead | None
    timeout: float
    fallback: bool
    state: State


class Lane:
    """What all requests share that were decided alike: where they go, what guards them, where they are counted."""

    __slots__ = ("admission", "cluster", "decision", "guard", "series")

    def __init__(
        self,
        decision: Decision,
        cluster: Cluster,
        guard: Guard | None,
        series: Series,
        admission: Admission | None = None,
    ) -> None:
        self.admission = admission
        self.decision = decision
        self.cluster = cluster
        self.guard = guard
        self.series = series


class Switchboard:
    """A worker's routing table, connections to the stacks, and counters."""

    __slots__ = (
        "_health",
        "_session_cookie",
        "_shared_rates",
        "_ticking",
        "call_later",
        "clients",
        "copied",
        "draining",
        "guards",
        "holds",
        "identities",
        "keys",
        "lanes",
        "limits",
        "log",
        "meters",
        "pool",
        "proof",
        "reached",
        "server_timing",
        "shedding",
        "table",
        "tally",
        "time",
        "timeouts",
        "tracer",
        "trusted",
        "watched",
    )

    def __init__(self, settings: Settings, table: RoutingTable, keys: Keys | None) -> None:
        loop = asyncio.get_running_loop()
        self.limits = settings.limits
        self.timeouts = settings.timeouts
        self.trusted = settings.trusted
        self.keys = keys
        self.time: Callable[[], float] = monotonic
        self.call_later = loop.call_later
        self.tally = Tally()
        self.log = AccessLog(settings.access_log) if settings.access_log else None
        self.proof = Proof(settings.stack_tls)
        self.pool = Pool(settings.timeouts, settings.limits, self.proof)
        self.watched: set[Watched] = set()
        self.clients: dict[str, int] = {}  # connections by address, of those that count
        self.draining = False
        self.server_timing = settings.server_timing
        self.tracer = Tracer(settings.tracing) if settings.tracing is not None else None
        self.meters = tuple(Meter(rate) for rate in settings.rates)
        self.shedding = Shedding(settings.shed)
        self._shared_rates = self._share(settings)
        self._session_cookie = (settings.identity.session_cookie if settings.identity else "sessionid").encode("ascii")
        self.reached = Reached(self.time)
        self.holds = Holds(self.tally, loop.call_soon)
        self.guards: dict[str | None, Guard] = {}
        # By a decision's identity: there are few, each is made once (decide.py), and a lane keeps it from going.
        self.lanes: dict[int, Lane] = {}
        self._use(table)
        self.identities = self._identities(settings)
        self._ticking = loop.call_later(TICK, self._tick)

    def __repr__(self) -> str:
        return f"<Switchboard version={self.table.version} connections={len(self.watched)}>"

    def _identities(self, settings: Settings) -> Identities | None:
        if settings.identity is None or self.keys is None:
            return None
        identities = Identities(self, settings.identity, Signer(self.keys.identity))
        if settings.links.redis:
            identities.share(settings.links.redis)
        return identities

    def _share(self, settings: Settings) -> SharedRates | None:
        shared = [meter for meter in self.meters if meter.rate.shared]
        if not shared or not settings.links.redis:
            return None
        return SharedRates(shared, settings.links.redis, settings.links.secret, self.tally)

    def adopt(self, table: RoutingTable) -> bool:
        """Route by ``table`` from the next request on. False, and nothing changes, when it is not newer."""
        if table.version <= self.table.version:
            return False
        self._use(table)
        return True

    def _use(self, table: RoutingTable) -> None:
        self.pool.adopt(table)
        self.guards = {each.name: self._guard(each) for each in table.capabilities if each.protect != Protect()}
        self._health = frozenset(reach.health.encode("ascii") for reach in table.reach.values())
        self.copied = frozenset(each.name for each in table.capabilities if has_copy(each))
        self.table = table
        self.lanes.clear()
        self.holds.adopt(table)

    def lane(self, decision: Decision) -> Lane:
        """Return the lane of requests that were decided so."""
        cluster, guard = self.pool.clusters[decision.upstream], self.guards.get(decision.capability)
        series = self.tally.series(decision.capability or "", decision.stack, decision.why)
        lane = self.lanes[id(decision)] = Lane(decision, cluster, guard, series, self._admission(decision))
        return lane

    def capability(self, name: str | None) -> Capability | None:
        """Return the capability that the table in force calls ``name``."""
        return next((each for each in self.table.capabilities if each.name == name), None)

    def _admission(self, decision: Decision) -> Admission | None:
        meters = [meter for meter in self.meters if meter.counts(decision.capability)]
        parking = self.holds.parking(decision.capability) if decision.why is Why.WRITE else None
        shedding = self.shedding if self.shedding.pressure else None
        if shedding is None and not meters and parking is None:
            return None
        return Admission(
            tally=self.tally,
            shedding=shedding,
            health=self._health,
            meters=meters,
            session_cookie=self._session_cookie,
            holds=self.holds,
            parking=parking,
        )

    def late(self, seconds: float) -> None:
        """Take it that the loop was late; with too much to do, requests are turned away from now on."""
        before = self.shedding.pressure
        self.shedding.look(self.time(), seconds, self.tally.in_flight)
        if bool(before) is not bool(self.shedding.pressure):
            self.lanes.clear()  # what the requests of one must pass is settled when it is made
            _LOG.warning("requests are turned away: %s", "there is too much to do" if not before else "no more")

    def _guard(self, capability: Capability) -> Guard:
        protect, before = capability.protect, self.guards.get(capability.name)
        bulkhead = before.bulkhead if before is not None else None
        if protect.bulkhead is None:
            bulkhead = None
        elif bulkhead is None:
            bulkhead = Bulkhead(protect.bulkhead)
        else:
            bulkhead.most = protect.bulkhead
        return Guard(bulkhead, protect.timeout or 0.0, protect.fallback, capability.state)

    def drain(self) -> None:
        """Let every connection end after what it is doing."""
        self.draining = True
        self.holds.stop()
        for each in tuple(self.watched):
            each.drain()

    def close(self) -> None:
        """End what is left, at once."""
        self._ticking.cancel()
        for each in tuple(self.watched):
            each.abort()
        self.pool.close()
        if self._shared_rates is not None:
            self._shared_rates.close()
        if self.identities is not None:
            self.identities.close()
        if self.tracer is not None:
            self.tracer.close()
        if self.log is not None:
            self.log.close()

    def refused(self, status: int, request_id: str) -> None:
        """Note a request that was no request."""
        self.tally.series("", "none", "refused").count("other", status, 0.0)
        if self.log is not None:
            self.log.line(method="", path="", status=status, why="refused", request_id=request_id)

    def _tick(self) -> None:
        # Each expires in a call of its own, and the next tick is certain before: what fails in one connection must not
        # take the time from all others.
        loop = asyncio.get_running_loop()
        self._ticking = loop.call_later(TICK, self._tick)
        now = self.time()
        for each in self.watched:
            if each.deadline <= now:
                loop.call_soon(_expire, each, now)
        self.pool.tick(now)


def _expire(each: Watched, now: float) -> None:
    if each.deadline <= now:  # it may have moved since
        each.expire()
