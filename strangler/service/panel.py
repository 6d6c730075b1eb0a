"""The routes of the operator: the same for every service, whatever protocol its application speaks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from strangler.service.errors import SettingRefused
from strangler.service.health import Verdict
from strangler.service.log import RequestLog
from strangler.service.metrics import Metrics
from strangler.service.problem import Problem
from strangler.service.trace import Trace

LIVE: Final = "/health/live"
READY: Final = "/health/ready"
METRICS: Final = "/metrics"
DOCUMENT: Final = "/openapi.json"
ROUTES: Final = frozenset((LIVE, READY, METRICS, DOCUMENT))

_GET_ONLY: Final = {"Allow": "GET, HEAD"}


class Panel:
    """What a service shows its operator, and where it writes down each request.

    Raises ``SettingRefused`` for a document that is not JSON.
    """

    def __init__(self, *, name: str, openapi: Mapping[str, object], requests: RequestLog) -> None:
        self.metrics = Metrics()
        self._requests = requests
        self._openapi = _document(name, openapi)

    def answer(self, method: str, path: str, verdict: Verdict | None) -> Response:
        """Answer a request to one of ``ROUTES``; ``verdict`` is needed by ``READY`` alone."""
        if method not in ("GET", "HEAD"):
            return Problem(405, "GET only", headers=_GET_ONLY)
        if path == METRICS:
            return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)
        if path == DOCUMENT:
            return Response(self._openapi, media_type="application/json")
        return JSONResponse({"status": "live"}) if verdict is None else _ready(verdict)

    def record(self, *, method: str, route: str, path: str, status: int, seconds: float, trace: Trace) -> None:
        """Count a request that was answered, and write its line."""
        self.metrics.answered(route=route, method=method, status=status, seconds=seconds)
        self._requests.write(method=method, route=route, path=path, status=status, seconds=seconds, trace=trace)


def _ready(verdict: Verdict) -> Response:
    ready, said = verdict
    return JSONResponse({"status": "ready" if ready else "not ready", "checks": said}, 200 if ready else 503)


def _document(name: str, openapi: Mapping[str, object]) -> bytes:
    try:
        return json.dumps(openapi, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise SettingRefused(f"the OpenAPI document of {name} is not JSON: {error}") from error
