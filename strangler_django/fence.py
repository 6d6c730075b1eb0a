"""A write that the fence of a capability refuses, answered as what it is: try again, nothing was written.

While the owner of a capability's data moves, and ever after on the side that is no longer it, the database refuses who
writes there with SQLSTATE ``SF001``, and tells in the error's DETAIL which capability it was. Django knows nothing of
that state and would answer 500. Here it is a 503 with ``Retry-After``: the owner moves within seconds, and a write that
is sent again is routed to it.

The error is seen where Django asks middleware about a view's exception, which is after ``ATOMIC_REQUESTS`` rolled back,
and where a middleware further in raised it, which Django turns into a response that nobody can tell from others: so its
signal is heard, and that response replaced.
"""

from __future__ import annotations

import logging
import re
import sys
from asyncio import iscoroutinefunction
from typing import Any, Callable, NamedTuple

from django.core.signals import got_request_exception
from django.db import Error
from django.utils.decorators import sync_and_async_middleware

from strangler_django import problem

STATE = "SF001"
"""The SQLSTATE of a write that a fence refuses; a contract with the toolkit's ``strangler.sync.fencing``."""
RETRY_AFTER_S = 2
"""As long as writes wait for an owner that moves at most, unless somebody raises that budget."""

_LOG = logging.getLogger("strangler_django.fence")
_DETAIL = re.compile(r"capability=([a-z][a-z0-9_-]{0,62}) owner=([a-z]{1,20}) epoch=([0-9]{1,20}) ")
_MESSAGE = re.compile(r'"([a-z][a-z0-9_-]{0,62})" is fenced here: its owner is the ([a-z]{1,20}), epoch ([0-9]{1,20})')
_NOTED = "_strangler_refusal"


class Refusal(NamedTuple):
    """What the fence said; the names are empty where it cannot be understood."""

    capability: str
    owner: str
    epoch: str
    detail: str


@sync_and_async_middleware  # type: ignore[untyped-decorator,unused-ignore]
def middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Answer 503 to a request that met a fence; stands in ``MIDDLEWARE`` before all that write."""
    got_request_exception.connect(_note, dispatch_uid="strangler_django.fence")
    if iscoroutinefunction(get_response):

        async def later(request: Any) -> Any:
            return _instead(request, await get_response(request))

        later.process_exception = _answer_exception  # type: ignore[attr-defined]
        return later

    def at_once(request: Any) -> Any:
        return _instead(request, get_response(request))

    at_once.process_exception = _answer_exception  # type: ignore[attr-defined]
    return at_once


def refusal(error: BaseException | None) -> Refusal | None:
    """Return what a fence said where ``error`` is its refusal, by Django or the driver; None for every other error."""
    while isinstance(error, Error):  # Django's own, which its driver's caused, or which an earlier of Django's did
        error = error.__cause__
    # psycopg2 and psycopg 3 name it differently, and a project has one of them.
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if error is None or state != STATE:
        return None
    detail = getattr(getattr(error, "diag", None), "message_detail", None) or ""
    found = _DETAIL.match(detail) or _MESSAGE.search(str(error))
    capability, owner, epoch = found.groups() if found else ("", "", "")
    return Refusal(capability, owner, epoch, detail or str(error))


def _answer_exception(request: Any, exception: Exception) -> Any:
    found = refusal(exception)
    return None if found is None else _answer(request, found)


def _note(request: Any = None, **_: object) -> None:
    found = refusal(sys.exc_info()[1])
    if found is not None and request is not None:
        setattr(request, _NOTED, found)


def _instead(request: Any, response: Any) -> Any:
    noted = getattr(request, _NOTED, None)
    return response if noted is None else _answer(request, noted)


def _answer(request: Any, found: Refusal) -> Any:
    _LOG.warning("a write is refused by a fence: %s", found.detail)
    what = f"What you sent belongs to {found.capability}, which" if found.capability else "What you sent"
    page = problem.prefers_html(request.headers.get("Accept", ""))
    again = "reload this page in a few seconds to send it again" if page else "send it again in a few seconds"
    detail = f"{what} cannot be written here at this moment. It was not saved; {again}."
    members = {"capability": found.capability} if found.capability else {}
    response = problem.answer(request, 503, "Not saved yet", detail, members)
    response["Retry-After"] = str(RETRY_AFTER_S)
    # Django logs each 5xx as an error, which sends mail to the administrators; it is said above, and is none.
    response._has_been_logged = True
    return response
