"""Problems (RFC 9457): the shape of every error that the service did not shape itself."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from strangler.service.errors import NotOwner, Unavailable, Untrusted
from strangler.service.trace import CURRENT

logger = logging.getLogger(__name__)


class Problem(JSONResponse):
    """A problem document; its ``instance`` is the request id, to be found in the logs."""

    media_type = "application/problem+json"

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: str) -> None:
        trace = CURRENT.get()
        title = HTTPStatus(status).phrase
        content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
        if trace is not None:
            content["instance"] = f"urn:request:{trace.request_id}"
        super().__init__(content, status_code=status, headers=headers)


async def _refused(request: Request, error: Exception) -> Problem:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette calls it for no other
    return Problem(error.status_code, error.detail, headers=error.headers)


async def _unavailable(request: Request, error: Exception) -> Problem:
    return of(error)


async def _defect(request: Request, error: Exception) -> Problem:
    return defect()


def unavailable() -> Problem:
    """Return the answer to a request that something absent kept from being answered."""
    return Problem(503, "something this service needs does not answer; try again", headers={"Retry-After": "1"})


def elsewhere(capability: str) -> Problem:
    """Return the answer to a write that a fence refused; the capability tells callers that nothing of it was done."""
    headers = {"Retry-After": "2", "Cache-Control": "no-store"}
    members = {"capability": capability} if capability else {}
    return Problem(503, "this service does not own what it was to write; try again", headers=headers, **members)


def untrusted(why: str) -> Problem:
    """Return the answer to a request whose identity does not verify; RFC 9110 section 11.6.1 wants a challenge."""
    headers = {"WWW-Authenticate": "Strangler-Identity"}
    return Problem(401, f"the identity that came with the request is not to be trusted: {why}", headers=headers)


def defect() -> Problem:
    """Return the answer to a request that met a defect; what it was stands in the log only."""
    return Problem(500, "unexpected error")


def of(error: Exception) -> Problem:
    """Return the answer to a request that ended in ``error``, and write down what the client is not told."""
    if isinstance(error, Untrusted):
        logger.warning("an identity is refused: %s", error)
        return untrusted(str(error))
    if isinstance(error, NotOwner):
        logger.warning("a fence refused: %s", error)
        return elsewhere(error.capability)
    if isinstance(error, Unavailable):
        logger.warning("unavailable: %s", error)
        return unavailable()
    logger.error("unexpected error", exc_info=error)
    return defect()


SHAPES: Final[Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Problem]]]] = MappingProxyType(
    {HTTPException: _refused, Unavailable: _unavailable, Exception: _defect}
)
"""For ``Starlette(exception_handlers=SHAPES)``: Starlette shapes errors itself unless it is told."""
