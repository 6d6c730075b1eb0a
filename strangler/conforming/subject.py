"""Who is examined."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final, Self

from strangler.project import Project, ProjectInvalid
from strangler.routing.table import Route

READY: Final = "/health/ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Where a service answers, by which paths its capabilities are reached, and what signs identities for it."""

    endpoint: str
    routes: tuple[Route, ...]
    ready: str = READY
    seed: bytes | None = None
    context: ssl.SSLContext | None = None

    @classmethod
    def of(cls, project: Project, name: str, endpoint: str, context: ssl.SSLContext | None = None) -> Self:
        """Return the service called ``name`` as the project's files tell it, at one of its endpoints."""
        theirs = [each for each in project.capabilities.values() if each.service == name]
        return cls(
            endpoint=endpoint,
            routes=tuple(route for each in theirs for route in each.routes),
            ready=project.services[name].reach.health or READY,
            seed=_seed(project),
            context=context,
        )


def _seed(project: Project) -> bytes | None:
    """Return what the proxy signs identities with; None where the secret is not set here."""
    try:
        return project.control.keys().identity
    except ProjectInvalid:
        return None
