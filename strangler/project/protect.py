"""What the files say of how a stack is reached and how a capability is protected."""

from __future__ import annotations

from typing import Final

from strangler.project.section import Section
from strangler.routing.protect import HEALTH_PATH, LONGEST, MOST, SHORTEST, SHORTEST_LEASE, Protect, Reach

_COUNT: Final = f"a whole number from 1 to {MOST}"
_SECONDS: Final = f"seconds from {SHORTEST} to {LONGEST:.0f}"
_LEASE: Final = f"seconds from {SHORTEST_LEASE} to {LONGEST:.0f}"
_HEALTH: Final = 'a path such as "/health/ready"'


def reach_of(section: Section) -> Reach:
    """Return how the stack of ``section`` is reached; its table has the same keys as the value."""
    usual = Reach()
    health = section.text("health", _HEALTH, default="", check=_check_health)
    for key in ("health_interval", "health_timeout"):
        if key in section.values and "health" not in section.values:
            section.problem(key, "no health beside it", "health, the path that is asked for")
    return Reach(
        connections=section.number("connections", _COUNT, usual.connections, 1, MOST),
        pending=section.number("pending", f"a whole number from 0 to {MOST}", usual.pending, 0, MOST),
        requests=section.number("requests", _COUNT, usual.requests, 1, MOST),
        health=health,
        health_interval=section.seconds("health_interval", _SECONDS, usual.health_interval, SHORTEST, LONGEST),
        health_timeout=section.seconds("health_timeout", _SECONDS, usual.health_timeout, SHORTEST, LONGEST),
        connect_timeout=section.seconds("connect_timeout", _SECONDS, None, SHORTEST, LONGEST),
        first_byte_timeout=section.seconds("first_byte_timeout", _SECONDS, None, SHORTEST, LONGEST),
        total_timeout=section.seconds("total_timeout", _SECONDS, None, SHORTEST, LONGEST),
        resolve=_resolve(section, usual.resolve),
    )


def protect_of(section: Section) -> Protect:
    """Return how a capability is protected, from its file's table ``[protect]``."""
    protect = Protect(
        bulkhead=section.number("bulkhead", _COUNT, None, 1, MOST),
        fallback=section.flag("fallback", default=False),
        timeout=section.seconds("timeout", _SECONDS, None, SHORTEST, LONGEST),
        lease=section.seconds("lease", _LEASE, None, SHORTEST_LEASE, LONGEST),
    )
    section.close()
    return protect


def _resolve(section: Section, usual: float) -> float:
    if section.values.get("resolve") == 0 and section.values["resolve"] is not False:
        section.has("resolve")
        return 0.0
    return section.seconds("resolve", f"{_SECONDS}, or 0 to look names up once", usual, SHORTEST, LONGEST)


def _check_health(path: str) -> None:
    if not HEALTH_PATH.fullmatch(path):
        raise ValueError
