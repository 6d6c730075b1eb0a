"""What others count of a product, and tell: its stock, and how it was rated. Open to the monolith alone.

It stands at an address that no route of the proxy leads to, and answers 404 to whoever does not prove that it is the
monolith. The numbers are absolute, so that whoever is not sure of having told them tells them again.
"""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from catalog_service.catalog import Catalog, Fenced
from catalog_service.queries import COUNTED
from strangler.service.calling import MONOLITH, caller
from strangler.service.problem import Problem

_MOST_BYTES: Final = 1_000
_LIMITS: Final = {"stock": 2**31 - 1, "rating_hundredths": 500, "review_count": 2**31 - 1}
_WANTED: Final = "a JSON object with whole numbers for one or more of " + ", ".join(COUNTED)
_OPTIONAL: Final = frozenset(("rating_hundredths",))


class Counted:
    """Answers every method at the address of one product's numbers."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._told(Request(scope, receive))
        await response(scope, receive, send)

    async def _told(self, request: Request) -> Response:
        if caller() != MONOLITH:
            return Problem(404, "there is nothing here")
        if request.method != "PUT":
            return Problem(405, "only PUT is answered here", headers={"Allow": "PUT"})
        numbers = read(await _body(request))
        if numbers is None:
            return Problem(400, f"what came is not {_WANTED}")
        try:
            found = await self._catalog.count(request.path_params["id"], numbers)
        except Fenced:
            return _fenced()
        return JSONResponse(numbers) if found else Problem(404, "there is no such product")


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            return b""
    return body


def read(body: bytes) -> dict[str, int | None] | None:
    """Return the numbers that ``body`` tells by column, None where it is anything else."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        return None
    if not isinstance(told, dict) or not told or not all(_fits(name, each) for name, each in told.items()):
        return None
    return told


def _fits(name: str, number: object) -> bool:
    if number is None:
        return name in _OPTIONAL
    return name in _LIMITS and type(number) is int and 0 <= number <= _LIMITS[name]


def _fenced() -> Response:
    content = {
        "type": "about:blank",
        "title": "Not saved yet",
        "status": 503,
        "detail": "the catalog cannot be written here at this moment; nothing was saved",
        "capability": "catalog",
    }
    return JSONResponse(content, 503, headers={"Retry-After": "1"}, media_type="application/problem+json")
