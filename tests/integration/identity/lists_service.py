"""A service as small as they come: lists that belong to somebody, on the chassis."""

from __future__ import annotations

import os
import sys
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from strangler.service import Chassis
from strangler.service.calling import Callers, caller
from strangler.service.csrf import FIELD, Forged, check
from strangler.service.identity import Verifier, current
from strangler.service.log import RequestLog
from strangler.service.problem import SHAPES, Problem
from strangler.service.serve import Listen, Tls, serve

LISTS: dict[str, list[str]] = {}


async def lists(request: Request) -> Response:
    visitor = current()
    if request.method == "GET":
        return JSONResponse(
            {"visitor": _shown(), "caller": caller(), "items": LISTS.get(visitor.subject, []) if visitor else []}
        )
    if visitor is None:
        return Problem(401, "log in first", headers={"WWW-Authenticate": "Token"})
    form = await request.form()
    if visitor.via == "session":
        try:
            check(
                method=request.method,
                headers=request.headers,
                cookies=request.cookies,
                secure=request.headers.get("x-forwarded-proto") == "https",
                form_token=str(form.get(FIELD, "")),
                session=visitor.csrf,
            )
        except Forged as forged:
            return Problem(403, str(forged))
    LISTS.setdefault(visitor.subject, []).append(str(form["item"]))
    return JSONResponse({"items": LISTS[visitor.subject]}, 201)


def _shown() -> dict[str, Any] | None:
    visitor = current()
    if visitor is None:
        return None
    return {
        "subject": visitor.subject,
        "name": visitor.name,
        "staff": visitor.staff,
        "groups": sorted(visitor.groups),
        "permissions": sorted(visitor.permissions),
        "via": visitor.via,
    }


if __name__ == "__main__":
    app = Starlette(routes=[Route("/lists/", lists, methods=["GET", "POST"])], exception_handlers=dict(SHAPES))
    chassis = Chassis(
        app,
        name="lists",
        openapi={"openapi": "3.1.0"},
        requests=RequestLog(sys.stderr, service="lists"),
        identity=Verifier.from_environment(os.environ),
        callers=Callers.from_environment(os.environ, "lists"),
    )
    serve(chassis, Listen.parse(sys.argv[1]), tls=Tls.from_environment(os.environ))
