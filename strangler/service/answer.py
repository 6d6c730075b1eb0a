"""An answer as a value, in the shapes that Django and its REST framework give theirs.

A service that takes a route over answers as the monolith did, headers included; clients and caches notice nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import formatdate
from hashlib import md5
from typing import Final

from starlette.types import Send

from strangler.service.conditions import Conditions

_SHIELD: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_FRAME: Final = {"X-Frame-Options": "DENY"}
_ALLOW: Final = {"Allow": "GET, HEAD"}
_JSON: Final = {"Content-Type": "application/json"}
_HTML: Final = {"Content-Type": "text/html; charset=utf-8"}
_VERSIONED: Final = {"Vary": "Api-Version"}
_PERSONAL: Final = {"Cache-Control": "no-store, private"}
_FRESH_PAGE: Final = {"Cache-Control": "public, max-age=0, must-revalidate"}
_KEPT_BY_304: Final = ("Cache-Control", "Content-Language", "ETag", "Last-Modified", "Vary")
_KEPT_BY_412: Final = ("Cache-Control", "Content-Language")
_BAD_REQUEST: Final = """
<!doctype html>
<html lang="en">
<head>
  <title>Bad Request (400)</title>
</head>
<body>
  <h1>Bad Request (400)</h1><p></p>
</body>
</html>
"""
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Refused(Exception):
    """A resource that exists will not do as asked: answer ``status`` with ``data``, which says why."""

    def __init__(self, status: int, data: object) -> None:
        super().__init__(data)
        self.status = status
        self.data = data


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status, headers (without the length, which follows from the body) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    async def send(self, send: Send, *, head: bool) -> None:
        pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        if self.status != 204:  # which may not tell a length (RFC 9110, section 8.6)
            pairs.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


def found(data: object, *, changed_at: datetime | None = None) -> Answer:
    """Return 200 with ``data``, which anybody may keep and must ask for again; ``changed_at`` is when it changed."""
    fresh = {"Cache-Control": "no-cache"}
    if changed_at is not None:
        fresh["Last-Modified"] = formatdate(int(changed_at.timestamp()), usegmt=True)
    headers = {**_JSON, **_ALLOW, **_VERSIONED, **fresh, **_SHIELD, **_FRAME}
    return Answer(status=200, headers=headers, body=rendered(data))


def refused(status: int, data: object) -> Answer:
    """Return an error of a resource that exists: its body says why."""
    headers = {**_JSON, **_ALLOW, **_VERSIONED, **_SHIELD, **_FRAME}
    return Answer(status=status, headers=headers, body=rendered(data))


def personal(status: int, data: object, *, allow: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return what concerns one visitor, which nobody else may keep; ``data`` None has no body."""
    shared = {"Allow": allow, **_PERSONAL, "Vary": "Api-Version, Cookie", **_SHIELD, **_FRAME, **(headers or {})}
    if data is None:
        return Answer(status=status, headers=shared)
    return Answer(status=status, headers={**_JSON, **shared}, body=rendered(data))


def personal_page(status: int, body: bytes, language: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a page for one visitor."""
    shared = {**_HTML, **_PERSONAL, "Vary": "Cookie", "Content-Language": language, **_SHIELD, **_FRAME}
    return Answer(status=status, headers={**shared, **(headers or {})}, body=body)


def sent_on(target: str, language: str) -> Answer:
    """Return where a visitor goes from here, this time."""
    headers = {**_HTML, "Location": target, **_PERSONAL, "Vary": "Cookie", "Content-Language": language, **_SHIELD}
    return Answer(status=302, headers={**headers, **_FRAME})


def page(body: bytes, language: str) -> Answer:
    """Return a page that is the same for everybody."""
    headers = {**_HTML, **_FRESH_PAGE, "Content-Language": language, **_SHIELD, **_FRAME}
    return Answer(status=200, headers=headers, body=body)


def page_missing(body: bytes, language: str, *, by_address: bool) -> Answer:
    """Return the page for an address that there is nothing at; its language is the address's or the visitor's."""
    varies = {} if by_address else {"Vary": "Accept-Language"}
    headers = {**_HTML, **varies, "Content-Language": language, **_SHIELD, **_FRAME}
    return Answer(status=404, headers=headers, body=body)


def page_refused(language: str) -> Answer:
    """Return 405 for a method that a page does not know."""
    return Answer(status=405, headers={**_HTML, **_ALLOW, "Content-Language": language, **_SHIELD, **_FRAME})


def missing() -> Answer:
    """Return 404 for an address that there is nothing at."""
    return Answer(status=404, headers={**_JSON, **_SHIELD, **_FRAME}, body=rendered({"detail": "Not found."}))


def moved(target: str, language: str | None) -> Answer:
    """Return where the address is meant to lead; ``language`` None for what is no page."""
    return Answer(status=301, headers={**_HTML, "Location": target, **_spoken(language), **_SHIELD})


def malformed(language: str | None) -> Answer:
    headers = {**_HTML, **_spoken(language), **_SHIELD, **_FRAME}
    return Answer(status=400, headers=headers, body=_BAD_REQUEST.encode())


def stranger(language: str | None = None) -> Answer:
    """Return the answer to whoever asks under a name that is not ours."""
    return Answer(status=400, headers={**_HTML, **_spoken(language), **_SHIELD}, body=_BAD_REQUEST.encode())


def _spoken(language: str | None) -> dict[str, str]:
    return {} if language is None else {"Content-Language": language}


def rendered(data: object) -> bytes:
    """Return ``data`` as compact JSON that is also JavaScript (which has two more line ends than JSON)."""
    return _encode(data).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").encode()


def under(answer: Answer, conditions: Conditions) -> Answer:
    """Return what a GET is told: tagged, and 304 or 412 where its conditions say so (RFC 9110, 13.2.2)."""
    tag = f'"{md5(answer.body, usedforsecurity=False).hexdigest()}"'
    tagged = replace(answer, headers={**answer.headers, "ETag": tag})
    if answer.status != 200:
        return tagged
    changed = tagged.headers.get("Last-Modified")
    match conditions.verdict(tag=tag, changed=changed):
        case 304:
            kept = {name: tagged.headers[name] for name in _KEPT_BY_304 if name in tagged.headers}
            return Answer(status=304, headers={**kept, **_SHIELD, **_FRAME})
        case 412:
            # Freshness and language are said of every answer of a page, by what stands around it.
            said = {name: tagged.headers[name] for name in _KEPT_BY_412 if "Content-Language" in tagged.headers}
            return Answer(status=412, headers={**_HTML, **said, **_SHIELD, **_FRAME})
        case _:
            return tagged
