"""Runs a Django project's own tests against a live server: its test client speaks real TCP.

    pytest -p strangler.regression.live --live http://127.0.0.1:8000 --reuse-db

``Client`` and Django REST framework's ``APIClient`` stay what they are; only their last step, which calls the
application in the same process, sends the request to the address of ``--live`` instead: a proxy, a stack, anything
that answers HTTP. The server must work on the test database (``test_NAME``), and therefore tests commit what they
make: each runs with ``transaction=True``, and its rows are flushed after it.

What a live server cannot be told stays in the process: a test that changes settings, counts queries or looks at
template contexts is marked ``in_process(reason)``, and skipped aloud.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Generator, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import pytest

if TYPE_CHECKING:
    from django.http import HttpResponse

# What may stand unquoted in a path (RFC 3986, section 3.3).
_IN_PATH: Final = "/:@!$&'()*+,;=~-._"
_UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Django takes any token of this length (CSRF_SECRET_LENGTH) that cookie and header agree about.
_CSRF_TOKEN: Final = "strangler0regression0live0client"  # noqa: S105 - known to everybody, it guards nothing here
_QUERY_COUNTERS: Final = frozenset({"django_assert_num_queries", "django_assert_max_num_queries"})
# Made anew, their rows would have other ids than those that the server keeps.
_REMEMBERED: Final = frozenset({"auth_permission", "django_content_type"})
# What the server and the hop add, and an application never sees in its own answer.
_OF_THE_HOP: Final = frozenset({"connection", "date", "keep-alive", "server", "transfer-encoding"})
_SPELT: Final = {"Etag": "ETag", "Www-Authenticate": "WWW-Authenticate"}
_TIMEOUT_S: Final = 30.0


class LiveHooks:
    """What another plugin may add."""

    @pytest.hookspec()
    def pytest_live_request(self, method: str, path: str) -> None:
        """Do what must have happened before a request is sent, such as bringing a copy of the rows up to date."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(LiveHooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("strangler")
    group.addoption("--live", metavar="URL", help="send what Django's test client asks to this address, over TCP")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "in_process(reason): cannot be asked of a live server; skipped under --live")
    address = config.getoption("--live")
    if address is None:
        return
    if os.environ.get("PYTEST_XDIST_WORKER"):
        raise pytest.UsageError("--live runs in one process: the server has one test database; leave -n out")
    if not config.getoption("reuse_db", False):
        raise pytest.UsageError("--live wants --reuse-db: the server works on the test database, which must stay")
    config.pluginmanager.register(LiveClient(config, Wire(address)), "strangler-live-client")


class LiveClient:
    """Puts ``wire`` in the place of the application for as long as the run lasts."""

    def __init__(self, config: pytest.Config, wire: Wire) -> None:
        self._config = config
        self._wire = wire

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if why := _in_process(item):
                item.add_marker(pytest.mark.skip(reason=f"in process only: {why}"))
            item.add_marker(pytest.mark.django_db(transaction=True), append=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        from django.core.management.commands import flush
        from django.test.client import ClientHandler

        hook = self._config.hook

        def answered(handler: Any, environ: dict[str, Any]) -> HttpResponse:
            hook.pytest_live_request(method=environ["REQUEST_METHOD"], path=environ["PATH_INFO"])
            return self._wire.ask(environ, _credentials(handler, environ))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ClientHandler, "__call__", answered)
            patch.setattr(flush, "sql_flush", _flushing)
            return (yield)


def _flushing(style: Any, connection: Any, reset_sequences: bool = True, allow_cascade: bool = False) -> list[str]:
    """Return the statements that empty the database, but for what a running server has in memory.

    Rows are deleted, not tables truncated: tests make few, and 230 tests of a shop took 29 s instead of 61. Django's
    foreign keys are checked at the end, so that the order does not matter.
    """
    quoted = connection.ops.quote_name
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    emptied = [table for table in tables if table not in _REMEMBERED]
    asked = " UNION ALL ".join(f"SELECT %s WHERE EXISTS (SELECT 1 FROM {quoted(table)})" for table in emptied)  # noqa: S608 - quoted
    with connection.cursor() as cursor:
        cursor.execute(asked, emptied)
        return [f"DELETE FROM {quoted(table)}" for (table,) in cursor.fetchall()]  # noqa: S608 - quoted


def _in_process(item: pytest.Item) -> str | None:
    if mark := item.get_closest_marker("in_process"):
        return str(mark.kwargs.get("reason") or (mark.args[0] if mark.args else "no reason given"))
    counted = _QUERY_COUNTERS & set(getattr(item, "fixturenames", ()))
    return "it counts the queries of this process" if counted else None


class Wire:
    """The way to the server. A connection a request: nothing is reused, so nothing can be found closed."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise pytest.UsageError(f"--live is {address!r}; an address such as http://127.0.0.1:8000 is wanted")
        self._place = (parts.hostname, parts.port or 80)

    def ask(self, environ: Mapping[str, Any], credentials: Mapping[str, str]) -> HttpResponse:
        """Send what a WSGI environment describes, and return the answer as Django's test client expects it."""
        if environ["wsgi.url_scheme"] != "http":
            raise pytest.UsageError("secure=True needs TLS, which --live has not; mark the test in_process")
        body = environ["wsgi.input"].read()
        connection = http.client.HTTPConnection(*self._place, timeout=_TIMEOUT_S)
        try:
            connection.putrequest(
                environ["REQUEST_METHOD"], _target(environ), skip_host=True, skip_accept_encoding=True
            )
            for name, value in {**_headers(environ), **credentials}.items():
                connection.putheader(name, value.encode("latin-1" if max(value, default="") <= "\xff" else "utf-8"))
            if body or environ.get("CONTENT_LENGTH"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            came = connection.getresponse()
            return _response(came, came.read(), environ)
        finally:
            connection.close()


def _target(environ: Mapping[str, Any]) -> str:
    path = quote(environ["PATH_INFO"].encode("latin-1"), safe=_IN_PATH)
    # What was quoted stays so; a client would have quoted the rest.
    query = quote(environ.get("QUERY_STRING", "").encode("latin-1"), safe=f"{_IN_PATH}?%[]|\\")
    return f"{path}?{query}" if query else path


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    port = str(environ["SERVER_PORT"])
    named = {"Host": environ["SERVER_NAME"] + ("" if port == "80" else f":{port}")}
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            named[key[5:].replace("_", "-").title()] = str(value)
    if environ.get("CONTENT_TYPE"):
        named["Content-Type"] = environ["CONTENT_TYPE"]
    return named


def _credentials(handler: Any, environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that say over the wire what the test client says in the process."""
    said: dict[str, str] = {}
    if (user := getattr(handler, "_force_user", None)) is not None:
        said["Authorization"] = f"Token {_token(user)}"
    if environ["REQUEST_METHOD"] in _UNSAFE and not handler.enforce_csrf_checks:
        said |= _unforged(environ)
    return said


def _token(user: Any) -> str:
    from rest_framework.authtoken.models import Token

    token: str = Token.objects.get_or_create(user=user)[0].key
    return token


def _unforged(environ: Mapping[str, Any]) -> dict[str, str]:
    from django.conf import settings

    header = settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-").title()
    others = [each for each in environ.get("HTTP_COOKIE", "").split("; ") if each]
    kept = [each for each in others if not each.startswith(f"{settings.CSRF_COOKIE_NAME}=")]
    return {"Cookie": "; ".join([*kept, f"{settings.CSRF_COOKIE_NAME}={_CSRF_TOKEN}"]), header: _CSRF_TOKEN}


def _response(came: http.client.HTTPResponse, body: bytes, environ: Mapping[str, Any]) -> HttpResponse:
    from django.core.handlers.wsgi import WSGIRequest
    from django.http import HttpResponse

    class Answer(HttpResponse):  # type: ignore[misc]
        """An answer from elsewhere; ``data`` is what Django REST framework's own would carry."""

        @cached_property
        def data(self) -> Any:
            return json.loads(self.content) if self.content else None

        @property
        def streaming_content(self) -> Iterator[bytes]:
            return iter([self.content])

    answer = Answer(body, status=came.status, reason=came.reason)
    del answer.headers["Content-Type"]
    for name, value in came.getheaders():
        if name.lower() == "set-cookie":
            answer.cookies.load(value)
        elif name.lower() not in _OF_THE_HOP:
            answer.headers[_spelt(name)] = f"{answer.headers[name]}, {value}" if name in answer.headers else value
    answer.wsgi_request = WSGIRequest(dict(environ))
    return answer


def _spelt(name: str) -> str:
    """Return a header's name as applications write it: servers may send it in lower case."""
    usual = "-".join(part.capitalize() for part in name.split("-"))
    return _SPELT.get(usual, usual)
