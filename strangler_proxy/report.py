"""What a worker tells its supervisor, once a second and whenever it is asked: JSON values, read where they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from strangler_proxy.gauges import standing

if TYPE_CHECKING:
    from strangler_proxy.lag import Lag
    from strangler_proxy.subscription import Subscription
    from strangler_proxy.switchboard import Switchboard


def report(board: Switchboard, subscription: Subscription, lag: Lag) -> dict[str, Any]:
    """Return everything that one worker knows of itself."""
    pool, table = board.pool, board.table
    breakers = {name: cluster.breaker for name, cluster in pool.clusters.items() if cluster.breaker is not None}
    now = board.time()
    return {
        "tally": _counted(board),
        "connections": len(board.watched),
        "upstreams": {each.url: [each.open, len(each.idle), len(each.waiting)] for each in pool.endpoints},
        "conditions": {each.url: each.health.condition(now) for each in pool.endpoints},
        "breakers": {name: breaker.circuit for name, breaker in breakers.items()},
        "capabilities": standing(table),
        "holds": board.holds.words(),
        "lag": round(lag.longest, 6),
        "version": table.version,
        "published_at": table.published_at.timestamp() if table.published_at else None,
        "source": subscription.source,
        "since": subscription.since,
        "valkey": subscription.valkey_up,
        "postgres": subscription.postgres_up,
    }


def _counted(board: Switchboard) -> dict[str, Any]:
    """Return the tally, and what others count for themselves, under the keys of ``COUNTERS``."""
    tally, clusters = board.tally.snapshot(), board.pool.clusters
    breakers = [(name, cluster.breaker) for name, cluster in clusters.items() if cluster.breaker is not None]
    bulkheads = [(name, guard.bulkhead) for name, guard in board.guards.items() if guard.bulkhead is not None]
    return {
        **tally,
        "opened": [[name, breaker.opened] for name, breaker in breakers],
        "refusals": [
            *tally["refusals"],
            *(["breaker", name, breaker.refused] for name, breaker in breakers),
            *(["requests", name, cluster.requests.refused] for name, cluster in clusters.items()),
            *(["bulkhead", name, bulkhead.refused] for name, bulkhead in bulkheads),
        ],
        "held": board.holds.waiting(),
        "log_lines_dropped": 0 if board.log is None else board.log.dropped,
        "spans": [] if board.tracer is None else board.tracer.counts(),
    }
