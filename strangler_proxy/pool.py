"""The stacks that the routing table in force names, each with its endpoints."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from strangler.project.limits import Limits, Timeouts
from strangler.routing.table import MONOLITH, RoutingTable
from strangler_proxy.breaker import Breaker
from strangler_proxy.cluster import Cluster
from strangler_proxy.endpoint import Endpoint


class Pool:
    """Clusters by the names that decisions give: the monolith's and the services'."""

    def __init__(self, timeouts: Timeouts, limits: Limits, secure: Callable[[], ssl.SSLContext]) -> None:
        self._timeouts = timeouts
        self._limits = limits
        self._secure = secure
        self.clusters: dict[str, Cluster] = {}

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(endpoint for cluster in self.clusters.values() for endpoint in cluster.endpoints)

    def adopt(self, table: RoutingTable) -> None:
        """Use the endpoints of a routing table; those that stay keep their connections and what is known of them."""
        before = self.clusters
        self.clusters = {name: before.get(name) or self._made(name) for name in table.upstreams}
        for name, urls in table.upstreams.items():
            self.clusters[name].adopt(urls, table.reach_of(name))
        for name in before.keys() - self.clusters.keys():
            before[name].close()

    def _made(self, name: str) -> Cluster:
        breaker = None if name == MONOLITH else Breaker()
        return Cluster(name, self._limits, self._timeouts, breaker, self._secure)

    def tick(self, now: float) -> None:
        for cluster in self.clusters.values():
            cluster.tick(now)

    def close(self) -> None:
        for cluster in self.clusters.values():
            cluster.close()
