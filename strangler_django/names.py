"""Which request, task or command a statement that writes comes from, told to the database in a comment before it.

A fence that observes records each writing statement's text (``current_query()``), and cuts it after 2,000 characters:
so the comment stands in front. ``application_name`` would be a statement of its own for each request on a connection
that is kept, and somebody else's on one that a pooler lends; a comment costs no round trip and cannot be left behind.

    /* strangler method=POST route=/api/reviews/<int:pk>/ */ UPDATE ...
    /* strangler task=shop.tasks.restock */ INSERT ...
    /* strangler command=import_prices */ DELETE ...

It is the route's pattern, never the path: no ids, no personal data. Reads stay as they are.
"""

from __future__ import annotations

import re
import sys
from asyncio import iscoroutinefunction
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable, Iterator

from django.db import connections
from django.db.backends.signals import connection_created
from django.utils.decorators import sync_and_async_middleware

MOST = 100
"""So many characters a name has at most: it rides with each statement that writes."""

Unit = Callable[[], str]
"""What is being done, as words for the comment; asked only when something is written."""

_UNIT: ContextVar[Unit | None] = ContextVar("strangler_django_unit", default=None)

# `*` is none of them, so that nothing can end the comment or begin another; `%` neither, which drivers would replace.
_OUTSIDE = re.compile(r"[^A-Za-z0-9_.<>:/-]")
_WRITE = re.compile(
    r"(?:[\s(;]|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/)*"
    r"(?:(insert|update|delete|merge|truncate|copy|call|do)|(with))\b",
    re.IGNORECASE,
)
_WRITE_WITHIN = re.compile(r"\b(?:insert\s+into|update|delete\s+from|merge\s+into)\b", re.IGNORECASE)
_COMMAND = re.compile(r"(?:^|[/\\])(?:manage|django-admin)(?:\.py)?$|[/\\]django[/\\]__main__\.py$")
_GROUP = re.compile(r"\(\?P(<\w+>)")
_REST = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^]\\])*\]|[()]|[^\\\[()]+", re.DOTALL
)  # of a pattern: what parentheses count in


@sync_and_async_middleware  # type: ignore[untyped-decorator,unused-ignore]
def middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Name the route in what a request writes; stands early in ``MIDDLEWARE``: others write, too."""
    if iscoroutinefunction(get_response):

        async def later(request: Any) -> Any:
            with _doing(lambda: _request(request)):
                return await get_response(request)

        return later

    def at_once(request: Any) -> Any:
        with _doing(lambda: _request(request)):
            return get_response(request)

    return at_once


@contextmanager
def named(kind: str, name: str) -> Iterator[None]:
    """Name what is written meanwhile, as ``kind=name``: for jobs that are no request, Celery task or command."""
    with _doing(_Named(kind, name)):
        yield


def connect() -> None:
    """Name from now on what is written to PostgreSQL, by this process' command, and by tasks where there is Celery."""
    connection_created.connect(_opened, dispatch_uid="strangler_django.names")
    for connection in connections.all():
        _opened(connection)
    _connect_celery()


def words() -> str:
    """Return what is being done, as a comment says it: a unit that was named, or the process' command, or nothing."""
    unit = _UNIT.get()
    if unit is not None:
        return unit()
    name = command(sys.argv)
    return f"command={clean(name)}" if name else ""


def comment(said: str, statement: str) -> str:
    """Return a statement with what is said before it; as it is where nothing is."""
    return f"/* strangler {said} */ {statement}" if said else statement


def writes(statement: str) -> bool:
    """Return whether a statement's first word says that it may write. A function that a SELECT calls says nothing."""
    found = _WRITE.match(statement)
    return found is not None and (found[2] is None or _WRITE_WITHIN.search(statement) is not None)


def text_of(statement: Any, context: Any) -> Any:
    """Return a statement's text as wrappers of Django's get it; drivers have composed ones."""
    return statement.as_string(context["cursor"].cursor) if hasattr(statement, "as_string") else statement


def clean(text: str) -> str:
    """Return a name as a comment may hold it."""
    return _OUTSIDE.sub("_", text[:MOST])


def command(arguments: list[str]) -> str:
    """Return the management command that a process was started for, by its arguments; empty for any other process."""
    if len(arguments) < 2 or not _COMMAND.search(arguments[0]) or arguments[1].startswith("-"):
        return ""
    return arguments[1]


@lru_cache(maxsize=1024)
def readable(route: str) -> str:
    """Return a URL pattern with ``(?P<name>...)`` as ``<name>`` and without anchors, as routers make them."""
    whole, found = route, _GROUP.search(route)
    while found is not None:
        whole = whole[: found.start()] + found[1] + whole[_closed(whole, found.end()) :]
        found = _GROUP.search(whole, found.start() + 1)
    return clean("/" + re.sub(r"\\Z|[$^?]|\\(?=[.-])", "", whole).lstrip("/"))


def _closed(route: str, at: int) -> int:
    """Return where a group that is open at ``at`` has been closed."""
    depth = 1
    for found in _REST.finditer(route, at):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if not depth:
            return found.end()
    return len(route)


# --- what is being done ---


@dataclass(frozen=True)
class _Named:
    kind: str
    name: str
    outer: Unit | None = None

    def __call__(self) -> str:
        return f"{clean(self.kind)}={clean(self.name)}"


@contextmanager
def _doing(unit: Unit) -> Iterator[None]:
    before = _UNIT.set(unit)
    try:
        yield
    finally:
        _UNIT.reset(before)


def _request(request: Any) -> str:
    match = getattr(request, "resolver_match", None)
    route = "-" if match is None else readable(match.route or "")  # a middleware wrote before there was a view
    return f"method={clean(request.method or '-')} route={route}"


# --- connections ---


def _opened(connection: Any, **_: object) -> None:
    # First, and so outermost: who uses `execute_wrapper` takes the last away again, whichever it is.
    if connection.vendor == "postgresql" and _execute not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _execute)


def _execute(execute: Any, statement: Any, parameters: Any, many: bool, context: Any) -> Any:
    text = text_of(statement, context)
    if isinstance(text, str) and writes(text):
        statement = comment(words(), text)
    return execute(statement, parameters, many, context)


# --- Celery ---


def _connect_celery() -> None:
    try:
        from celery import signals
    except ImportError:
        return
    signals.task_prerun.connect(_begun, dispatch_uid="strangler_django.names")
    signals.task_postrun.connect(_ended, dispatch_uid="strangler_django.names")


def _begun(task: Any, **_: object) -> None:
    _UNIT.set(_Named("task", task.name, _UNIT.get()))


def _ended(**_: object) -> None:
    unit = _UNIT.get()
    if isinstance(unit, _Named):
        _UNIT.set(unit.outer)
