"""The two ways to run the proxy, in the foreground, until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import uvloop

from strangler.project import Project, values
from strangler.project.values import Identity
from strangler.routing.keys import Keys
from strangler.routing.table import MONOLITH, RoutingTable, seal
from strangler_proxy.admin import admin_server
from strangler_proxy.errors import ProxyError
from strangler_proxy.listening import bind
from strangler_proxy.settings import PIPE, Asking, Links, Settings, Tracing
from strangler_proxy.supervisor import Supervisor, slots
from strangler_proxy.tracing import can_export
from strangler_proxy.vouch import Signer


def serve(project: Project) -> int:
    """Run the proxy of ``project``, and return the exit code. Raises ``ProjectInvalid`` for what is missing."""
    control, proxy = project.control, project.proxy
    if proxy.tracing is not None and not can_export():
        return _say("[proxy.tracing] wants more; run: pip install 'strangler[tracing]'")
    links = Links(
        database=control.database.reveal(),
        redis=control.redis.reveal(),
        secret=control.secret.reveal(),
        state=str(project.root / proxy.state),
    )
    settings = Settings(
        worker="",
        table=seal(project.bootstrap_table(), PIPE).decode(),
        trusted=proxy.trusted,
        access_log=proxy.access_log,
        links=links,
        identity=_asking(project.identity),
        tracing=_tracing(proxy.tracing),
        server_timing=proxy.server_timing,
    )
    return _run(settings, proxy.listen, proxy.admin, proxy.workers)


def _tracing(tracing: values.Tracing | None) -> Tracing | None:
    return None if tracing is None else Tracing(endpoint=tracing.endpoint, sample=tracing.sample)


def _asking(identity: Identity | None) -> Asking | None:
    if identity is None:
        return None
    return Asking(
        secret=identity.secret.reveal(),
        session_cookie=identity.session_cookie,
        path=identity.path,
        permissions=identity.permissions,
    )


def serve_origin(
    origin: str, listen: Sequence[str] = ("127.0.0.1:8000",), admin: str = "127.0.0.1:8900", workers: int = 2
) -> int:
    """Run a proxy that sends everything to ``origin`` (``http://HOST:PORT``), and return the exit code."""
    parts = urlsplit(origin)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
        return _say(f"{origin!r} is no origin; http://HOST:PORT is")
    table = RoutingTable(version=0, upstreams={MONOLITH: (origin,)})
    return _run(Settings(worker="", table=seal(table, PIPE).decode()), tuple(listen), admin, workers)


def _run(settings: Settings, listen: Sequence[str], admin: str, workers: int) -> int:
    logging.basicConfig(level=logging.WARNING, format="strangler proxy: %(message)s")
    try:
        uvloop.run(_supervise(settings, listen, admin, workers))
    except ProxyError as exc:
        return _say(str(exc))
    return 0


async def _supervise(settings: Settings, listen: Sequence[str], admin: str, workers: int) -> None:
    (listener,) = bind(admin, 1)
    supervisor = Supervisor(slots(settings, listen, workers))
    server = admin_server(supervisor, _jwks(settings))
    serving = asyncio.create_task(server.serve([listener]))
    ports = [each.getsockname() for each in supervisor.slots[0].listeners]
    try:
        await supervisor.run(lambda: _announce(ports, listener))
    finally:
        server.should_exit = True
        await serving


def _jwks(settings: Settings) -> dict[str, Any] | None:
    if settings.identity is None:
        return None
    return Signer(Keys.derive(settings.links.secret).identity).jwks()


_FLUSHED: Final = True


def _announce(ports: Sequence[tuple[str, int]], admin: socket.socket) -> None:
    shown = ", ".join(f"http://{_shown(port)}" for port in ports)
    print(f"strangler proxy: {shown} (admin http://{_shown(admin.getsockname())})", flush=_FLUSHED)


def _shown(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _say(sentence: str) -> int:
    print(f"strangler proxy: {sentence}", file=sys.stderr)
    return 1
