"""Where the stacks of a project answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

MONOLITH: Final = "monolith"
SERVICE: Final = "service"
PROXY: Final = "proxy"


class Unknown(Exception):
    """A stack has no address. Name it in the project, or override the fixture ``stack_addresses``."""


class Addresses(Protocol):
    """Where stacks answer; tests that start stacks themselves may do so when an address is asked for first."""

    @property
    def public_name(self) -> str:
        """The host (and port) that all stacks are asked under: the same name makes the links in answers the same."""

    def of(self, stack: str, capability: str | None = None) -> str:
        """Return the address (``http://HOST:PORT``) of a stack; the service is the capability's. Raises ``Unknown``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackAddresses:
    """Addresses that are known: of the monolith, of each capability's service, and of the proxy."""

    monolith: str
    services: Mapping[str, str] = field(default_factory=dict)
    proxy: str | None = None
    asked_as: str | None = None

    @classmethod
    def of_project(cls, file: Path) -> StackAddresses:
        """Return what the project says whose file is ``file``. Raises ``ProjectInvalid``."""
        from strangler.project import load

        project = load(file)
        return cls(
            monolith=project.monolith.endpoints[0],
            services={name: project.services[each.service].endpoints[0] for name, each in project.capabilities.items()},
            proxy=project.proxy.url or None,
        )

    @property
    def public_name(self) -> str:
        """What ``asked_as`` says; the proxy's own name where it says nothing."""
        return self.asked_as or urlsplit(self.proxy or self.monolith).netloc

    def of(self, stack: str, capability: str | None = None) -> str:
        if stack == MONOLITH:
            return self.monolith
        if stack == SERVICE:
            return self._service(capability)
        if self.proxy is None:
            raise Unknown("no address of a proxy is known; StackAddresses wants proxy=...")
        return self.proxy

    def _service(self, capability: str | None) -> str:
        known = ", ".join(self.services) or "none"
        if capability is None and len(self.services) == 1:
            return next(iter(self.services.values()))
        if capability is None:
            raise Unknown(f'whose service? mark the test with capability("NAME"); known are {known}')
        if capability not in self.services:
            raise Unknown(f"no service of a capability {capability!r} is known; known are {known}")
        return self.services[capability]
