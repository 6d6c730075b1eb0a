"""The admin port: health, metrics, public keys, and which worker routes by what. It has an address of its own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from strangler_proxy.exposition import families
from strangler_proxy.supervisor import Supervisor
from strangler_proxy.vouch import jwks


def admin(supervisor: Supervisor) -> Starlette:
    """Return the application that tells about ``supervisor`` and its workers, and by which keys they sign."""
    registry = CollectorRegistry()
    registry.register(_Summed(supervisor))

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(request: Request) -> Response:
        found = supervisor.ready
        return JSONResponse({"status": "ready" if found else "not ready"}, status_code=200 if found else 503)

    async def metrics(request: Request) -> Response:
        await supervisor.ask()
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def status(request: Request) -> Response:
        await supervisor.ask()
        return JSONResponse(_status(supervisor))

    async def keys(request: Request) -> Response:
        settings = supervisor.settings
        known = settings.links.keys() if settings.identity is not None else None
        if known is None:
            return JSONResponse({"detail": "strangler.toml has no [identity]"}, status_code=404)
        return JSONResponse(jwks(known), media_type="application/jwk-set+json")

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/jwks.json", keys),
            Route("/metrics", metrics),
            Route("/status", status),
        ]
    )


class _Summed(Collector):
    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def collect(self) -> Iterator[Metric]:
        supervisor = self._supervisor
        reports = [{**report, "resident": _resident(report["pid"])} for report in supervisor.reports()]
        return families(supervisor.total(), reports, supervisor.restarts, time.time())

    def describe(self) -> Iterator[Metric]:
        return iter(())


def _resident(pid: int) -> int | None:
    """Return a process's memory in bytes; None where the system does not tell (proc(5) is Linux's)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return None


_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def _status(supervisor: Supervisor) -> dict[str, Any]:
    reports = supervisor.reports()
    now = time.time()
    oldest = min(reports, key=lambda report: report["version"], default=None)
    return {
        "ready": supervisor.ready,
        "since": supervisor.started_at,
        "restarts": supervisor.restarts,
        "table": None if oldest is None else _table(oldest, now),
        "valkey": _all(reports, "valkey"),
        "postgres": _all(reports, "postgres"),
        "workers": [
            {name: report[name] for name in ("worker", "pid", "version", "source", "since", "valkey", "postgres")}
            for report in reports
        ],
    }


def _table(report: dict[str, Any], now: float) -> dict[str, Any]:
    published = report["published_at"]
    return {
        "version": report["version"],
        "source": report["source"],
        "since": report["since"],
        "published_at": published,
        "age": None if published is None else round(now - published, 3),
    }


def _all(reports: list[dict[str, Any]], engine: str) -> bool | None:
    """Whether every worker reaches ``engine``; None when there is none to reach."""
    found = [report[engine] for report in reports if report[engine] is not None]
    return all(found) if found else None


class AdminServer(uvicorn.Server):
    """Uvicorn inside the supervisor's loop, which has signal handlers of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def admin_server(supervisor: Supervisor) -> AdminServer:
    config = uvicorn.Config(
        admin(supervisor), lifespan="off", log_level="warning", access_log=False, timeout_graceful_shutdown=1
    )
    return AdminServer(config)
