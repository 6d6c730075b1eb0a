"""Writes of the monolith's own code to a capability that a service owns: a page, an admin's action, a reaction.

A call goes straight to the service, says that the monolith calls (``Strangler-Service``, which the service can prove)
and for whom (``Strangler-Acting``), how long it will wait (``Strangler-Deadline``), and carries a key by which a second
attempt is known from a second wish (``Idempotency-Key``). It comes back with the service's answer or raises.

Tried again within the deadline is what certainly did nothing: nobody listened, or a fence refused it while the owner
moves (503 with ``Retry-After``, in which a ``capability`` is named). What was sent and not answered, or not well, is
tried again only where doing it twice is doing it once; else whoever calls is told that nobody knows.
"""

from __future__ import annotations

import hmac
import http.client
import json as json_
import re
import socket
import ssl
import time
import uuid
from hashlib import sha256
from pathlib import Path
from typing import Any, Mapping, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

NAME = "monolith"
"""By which services know us."""

MOST_BYTES = 4 << 20
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE"))
_PAUSE_S = 0.1
_MIN_SECRET = 32
_METHOD = re.compile(r"[A-Z]{3,10}")
_PATH = re.compile(r"/[!-~]{0,2000}")
_TOLD = 300  # characters of what a service said, in an error


class SeamError(Exception):
    """Base of what a call to an owner may raise."""


class OwnerUnreachable(SeamError):
    """The owner gave no answer in time. ``maybe_done`` says whether it may have done it all the same."""

    def __init__(self, message: str, maybe_done: bool) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done


class OwnerRefused(SeamError):
    """The owner answered, and did not do it: its ``status`` and the ``problem`` that it told."""

    def __init__(self, message: str, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem


class Answered(NamedTuple):
    """What the owner answered; ``data`` is its JSON, None without any."""

    status: int
    data: Any


class _Owner(NamedTuple):
    host: str
    port: int | None
    tls: bool
    prefix: str
    audience: str
    secret: str


def call(
    capability: str,
    method: str,
    path: str,
    *,
    json: Any = None,
    user: Any = None,
    deadline_s: float = 2.0,
    key: str | None = None,
    idempotent: bool | None = None,
) -> Answered:
    """Ask the service that owns ``capability`` to do something, and return its answer of 2xx.

    ``user`` is the user for whom it is done, None where nobody asked for it. ``key`` tells a second attempt from a
    second wish, beyond this call: a reaction's ``token``; where none is given each call has its own. ``idempotent``
    says that to do it twice is to do it once; GET, PUT and DELETE are unless said.

    Raises ``OwnerRefused`` with what the service said, ``OwnerUnreachable``, and ``ImproperlyConfigured`` where
    ``settings.STRANGLER_OWNERS`` does not say how it is reached.
    """
    if _METHOD.fullmatch(method) is None or _PATH.fullmatch(path) is None:
        raise ValueError(f"{method} {path} cannot be asked for: a method in capitals, and a path in ASCII")
    owner = _owner(capability)
    body = None if json is None else json_.dumps(json, default=str).encode()
    headers = {
        "Accept": "application/json",
        "User-Agent": "strangler-django",
        "Idempotency-Key": key or uuid.uuid4().hex,
        **({} if body is None else {"Content-Type": "application/json"}),
        **({} if user is None else {"Strangler-Acting": str(user.pk)}),
    }
    repeatable = method in _IDEMPOTENT if idempotent is None else idempotent
    until = time.monotonic() + deadline_s
    while True:
        rest = _PAUSE_S
        failed: SeamError
        try:
            status, retry_after, data = _ask(owner, method, path, body, headers, until)
        except _Nobody as exc:
            told = f"{capability}'s service at {owner.host} gave no answer to {method} {path}"
            failed = OwnerUnreachable(f"{told} within {deadline_s:g} s: {exc}", maybe_done=exc.sent)
            if exc.sent and not repeatable:
                raise failed from exc
        else:
            if 200 <= status < 300:
                return Answered(status, data)
            failed = refusal = _refused(capability, method, path, status, data)
            # A service that says 503 may have done some of it, unless it was a fence, which names the capability.
            undone = repeatable or refusal.problem.get("capability") == capability
            if status != 503 or retry_after is None or not undone:
                raise failed
            rest = min(max(retry_after, _PAUSE_S), 0.5)  # it says when all is well again; the owner moves sooner
        if time.monotonic() + rest >= until:
            raise failed
        time.sleep(rest)


class _Nobody(Exception):
    """This attempt was not answered; ``sent`` when the service may have it."""

    def __init__(self, message: str, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def _ask(
    owner: _Owner, method: str, path: str, body: bytes | None, headers: Mapping[str, str], until: float
) -> tuple[int, float | None, Any]:
    """Ask once; return the status, ``Retry-After`` in seconds, and the answer's JSON."""
    connection = _connection(owner, max(until - time.monotonic(), 0.001))
    sent = False
    try:
        connection.connect()
        told = {**headers, **_proving(owner, method), "Strangler-Deadline": str(_milliseconds(until))}
        sent = True
        connection.request(method, owner.prefix + path, body, told)
        _patience(connection, until)
        response = connection.getresponse()
        content = _read(connection, response, until)
    except (OSError, http.client.HTTPException) as exc:
        raise _Nobody(str(exc) or type(exc).__name__, sent) from exc
    finally:
        connection.close()
    after = response.getheader("Retry-After", "")
    return response.status, float(after) if after.isdigit() else None, _json(content)


def _read(connection: http.client.HTTPConnection, response: http.client.HTTPResponse, until: float) -> bytes:
    """Read an answer whole, within the deadline: a socket's own timeout is of each piece."""
    pieces: list[bytes] = []
    size = 0
    while True:
        _patience(connection, until)
        piece = response.read1(65_536)
        if not piece:
            if response.length:
                raise http.client.IncompleteRead(b"".join(pieces), response.length)
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise http.client.HTTPException(f"it answered with more than {MOST_BYTES} bytes")


def _patience(connection: http.client.HTTPConnection, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    if connection.sock is not None:
        connection.sock.settimeout(left)


def _milliseconds(until: float) -> int:
    return max(1, int(1000 * (until - time.monotonic())))


def _proving(owner: _Owner, method: str) -> dict[str, str]:
    """Return the header that proves who calls; the same contract as ``strangler.service.calling``."""
    issued = int(time.time())
    text = "\n".join(("strangler-service", NAME, owner.audience, str(issued), method, sha256(b"").hexdigest()))
    mac = hmac.new(owner.secret.encode(), text.encode(), sha256).hexdigest()
    return {"Strangler-Service": f"{NAME}~{issued}~{mac}"}


def _connection(owner: _Owner, timeout: float) -> http.client.HTTPConnection:
    if owner.tls:
        return http.client.HTTPSConnection(
            owner.host, owner.port, timeout=timeout, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(owner.host, owner.port, timeout=timeout)


def _refused(capability: str, method: str, path: str, status: int, data: Any) -> OwnerRefused:
    problem = data if isinstance(data, dict) else {}
    why = problem.get("detail") or problem.get("title") or data
    told = f": {str(why)[:_TOLD]}" if why else ""
    return OwnerRefused(f"{capability}'s service answered {status} to {method} {path}{told}", status, problem)


def _json(content: bytes) -> Any:
    try:
        return json_.loads(content) if content else None
    except ValueError:
        return None


def _owner(capability: str) -> _Owner:
    owners = getattr(settings, "STRANGLER_OWNERS", {})
    if capability not in owners:
        known = ", ".join(sorted(owners)) or "none"
        raise ImproperlyConfigured(
            f"STRANGLER_OWNERS does not say how {capability}'s service is reached; there: {known}"
        )
    told = owners[capability]
    url = urlsplit(told.get("url", ""))
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or url.username:
        wanted = "an address such as http://catalog.internal:8101"
        raise ImproperlyConfigured(f"STRANGLER_OWNERS[{capability!r}]['url'] is {told.get('url')!r}; {wanted}")
    secret = told.get("secret") or _kept(capability, told.get("secret_file", ""))
    if len(secret.encode()) < _MIN_SECRET:
        raise ImproperlyConfigured(
            f"STRANGLER_OWNERS[{capability!r}] has a secret of {len(secret.encode())} bytes; it wants at least"
            f" {_MIN_SECRET} random ones, under 'secret' or in the file that 'secret_file' names"
        )
    audience = told.get("service", capability)
    return _Owner(url.hostname, url.port, url.scheme == "https", url.path.rstrip("/"), audience, secret)


def _kept(capability: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip() if path else ""
    except OSError as exc:
        raise ImproperlyConfigured(
            f"STRANGLER_OWNERS[{capability!r}]['secret_file'] names {path}, which cannot be read: {exc.strerror}"
        ) from exc
