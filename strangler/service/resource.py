"""Resources that answer as a Django project's read-only views do, at exactly the addresses that they have there."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from strangler.service import answer
from strangler.service.answer import Answer, Refused
from strangler.service.asked import Asked, Malformed, Site, Stranger
from strangler.service.conditions import Conditions

_NO_VERSION: Final = {"detail": 'Invalid version in "Api-Version" header.'}

Answering = Callable[[Asked], Awaitable[Answer]]


class Resource:
    """Answers every method at one address of an API; ``answering`` answers GET, and HEAD is that without its body.

    ``answering`` may raise ``Refused``. ``versions`` are those of the API that the resource speaks.
    """

    def __init__(self, answering: Answering, site: Site, versions: Sequence[str]) -> None:
        self._answering = answering
        self._site = site
        self._versions = versions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = await self._told(scope)
        await told.send(send, head=scope["method"] == "HEAD")

    async def _told(self, scope: Scope) -> Answer:
        try:
            asked = Asked.of(scope, self._site)
            spoken = asked.version in self._versions
            if spoken and asked.method not in ("GET", "HEAD"):
                return answer.refused(405, {"detail": f'Method "{asked.method}" not allowed.'})
            told = await self._read(asked) if spoken else answer.refused(406, _NO_VERSION)
        except Stranger:
            return answer.stranger()
        except Malformed:
            return answer.malformed(None)
        return answer.under(told, Conditions.of(asked.headers)) if asked.method == "GET" else told

    async def _read(self, asked: Asked) -> Answer:
        try:
            return await self._answering(asked)
        except Refused as refused:
            return answer.refused(refused.status, refused.data)


class Elsewhere:
    """Answers where no route is: a forgotten slash is put right (``APPEND_SLASH``), anything else is ``missing``.

    ``language`` tells in which language an address is read; that of None is not said.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        site: Site,
        *,
        missing: Callable[[Asked], Answer] = lambda asked: answer.missing(),
        language: Callable[[str], str | None] = lambda path: None,
    ) -> None:
        self._routes = routes
        self._site = site
        self._missing = missing
        self._language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._told(scope).send(send, head=scope["method"] == "HEAD")

    def _told(self, scope: Scope) -> Answer:
        try:
            asked = Asked.of(scope, self._site)
        except Stranger:
            return answer.stranger(self._language(scope["path"]))
        slashed = f"{asked.path}/"
        if not asked.path.endswith("/") and any(route.path_regex.fullmatch(slashed) for route in self._routes):
            return answer.moved(asked.target_at(slashed), self._language(asked.path))
        return self._missing(asked)


class Exact(Route):
    """A route that ends where its path ends; a trailing newline is not the same address."""

    def __init__(self, path: str, endpoint: ASGIApp) -> None:
        super().__init__(path, endpoint)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")


class Written(Convertor[str]):
    """A part of a path that is kept as it is written."""

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Slug(Written):
    regex = "[-a-zA-Z0-9_]+"


class _Digits(Written):
    regex = "[0-9]+"


register_url_convertor("slug", _Slug())
register_url_convertor("digits", _Digits())
