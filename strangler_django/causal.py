"""How far what a request wrote is in the database's WAL, told to the proxy in the answer.

The proxy has the visitor carry it, and sends later reads to a stack that has it: nobody sees a page that is older than
what they have just written, while a service answers part of the reads from a copy. The header ``Strangler-Position`` is
a position as PostgreSQL writes it, or ``none`` where nothing was written; the proxy takes it out.

The position is asked for when the answer is made and every transaction of the request is over: inside of one it would
be too early. After a request by an unsafe method that used the database at all it is told, and after any other when a
statement wrote (but to the table of sessions: many projects prolong these with each page). Not seen is what a
function writes that a SELECT calls, what other threads write, and what is written while a streamed answer is made.

``STRANGLER_DATABASE`` names the database that is meant where there are several; "default" by default.
"""

from __future__ import annotations

import logging
from asyncio import iscoroutinefunction
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Callable, Iterator

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.signals import connection_created
from django.utils.decorators import sync_and_async_middleware

from strangler_django.names import text_of, writes

HEADER = "Strangler-Position"
NOTHING = "none"

_LOG = logging.getLogger("strangler_django.causal")
_SESSIONS = "django_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class Seen:
    """What a request did with the database."""

    def __init__(self) -> None:
        self.used = False
        self.wrote = False


_SEEN: ContextVar[Seen | None] = ContextVar("strangler_django_seen", default=None)


@sync_and_async_middleware  # type: ignore[untyped-decorator,unused-ignore]
def middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Tell the proxy how far a request's writes are; stands in ``MIDDLEWARE`` before all that write."""
    connect()
    if iscoroutinefunction(get_response):

        async def later(request: Any) -> Any:
            with _watching() as seen:
                response = await get_response(request)
            if _is_asked(request, seen):  # in the thread that the request's connections belong to
                return await sync_to_async(_told, thread_sensitive=True)(response, seen)
            return response

        return later

    def at_once(request: Any) -> Any:
        with _watching() as seen:
            response = get_response(request)
        return _told(response, seen) if _is_asked(request, seen) else response

    return at_once


def connect() -> None:
    """See from now on what the database is asked."""
    connection_created.connect(_opened, dispatch_uid="strangler_django.causal")
    for connection in connections.all():
        _opened(connection)


@contextmanager
def _watching() -> Iterator[Seen]:
    seen = Seen()
    before = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(before)


def _is_asked(request: Any, seen: Seen) -> bool:
    # The proxy's own questions, which write nothing that a visitor would read, come there.
    return (seen.wrote or request.method not in _SAFE) and not request.path_info.startswith("/.strangler/")


def _told(response: Any, seen: Seen) -> Any:
    if connections[_alias()].vendor != "postgresql":
        return response
    position = _position() if seen.used else NOTHING
    if position:
        response[HEADER] = position
    return response


def _position() -> str:
    """Return where the WAL is now; nothing where that cannot be said, and the proxy takes its precautions."""
    connection = connections[_alias()]
    if connection.in_atomic_block or not connection.get_autocommit():
        return ""  # what was written is not committed yet
    try:
        with connection.cursor() as cursor:
            cursor.execute("select pg_current_wal_insert_lsn()")
            return str(cursor.fetchone()[0])
    except Error as error:
        _LOG.warning("nobody can say how far the database has written: %s", error)
        return ""


def _alias() -> str:
    return str(getattr(settings, "STRANGLER_DATABASE", DEFAULT_DB_ALIAS))


def _opened(connection: Any, **_: object) -> None:
    if connection.vendor == "postgresql" and connection.alias == _alias() and _see not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _see)


def _see(execute: Any, statement: Any, parameters: Any, many: bool, context: Any) -> Any:
    seen = _SEEN.get()
    if seen is not None:
        seen.used = True
        if not seen.wrote:
            text = text_of(statement, context)
            seen.wrote = isinstance(text, str) and writes(text) and _SESSIONS not in text
    return execute(statement, parameters, many, context)
