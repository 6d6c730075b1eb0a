"""The catalog's routes."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Final

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from catalog_service import answer, filters, shapes
from catalog_service.answer import Answer
from catalog_service.asked import Asked, Malformed, Site, Stranger
from catalog_service.catalog import Catalog
from catalog_service.conditions import Conditions
from catalog_service.language import LANGUAGES, of_path
from catalog_service.page import NoSuchPage, PageAsked
from catalog_service.pages import Pages, missing
from catalog_service.shapes import Row
from strangler.service import Chassis
from strangler.service.database import Database
from strangler.service.log import RequestLog
from strangler.service.problem import SHAPES

_NOT_FOUND: Final = {"detail": "Not found."}
_NO_PAGE: Final = {"detail": "Invalid page."}
_NO_VERSION: Final = {"detail": 'Invalid version in "Api-Version" header.'}
_VERSIONS: Final = ("1", "2")

Answering = Callable[[Asked], Awaitable[Answer]]


def build(database: Database, site: Site, requests: RequestLog) -> Chassis:
    """Wire the whole application around ``database``; it is opened and closed with the application's lifespan."""
    catalog = Catalog(database)
    asks, pages = Questions(catalog), Pages(catalog)
    routes = [
        _Exact("/api/catalog/products/", _Resource(asks.products, site)),
        _Exact("/api/catalog/products/{id:digits}/", _Resource(asks.product, site)),
        _Exact("/api/catalog/categories/", _Resource(asks.categories, site)),
        _Exact("/api/catalog/categories/{slug:slug}/", _Resource(asks.category, site)),
        _Exact("/{language:language}/products/", _Page(pages.products, site)),
        _Exact("/{language:language}/products/{slug:slug}/", _Page(pages.product, site)),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await database.open()
        yield
        await database.close()

    app = Starlette(routes=routes, exception_handlers=dict(SHAPES), lifespan=lifespan)
    app.router.redirect_slashes = False
    app.router.default = _Elsewhere(routes, site)
    document = json.loads(files("catalog_service").joinpath("openapi.json").read_bytes())
    return Chassis(app, name="catalog", openapi=document, checks={"database": database.check}, requests=requests)


class Questions:
    """What each route answers to a GET; HEAD is the same without its body."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def products(self, asked: Asked) -> Answer:
        slug = asked.parameters.get("category", "")
        branch = await self._catalog.branch(slug) if slug else None
        wanted = filters.read(asked.parameters, branch)
        page = PageAsked.of(asked)
        listed = await self._catalog.products(wanted, page)
        body = page.of_total(listed.count).around([_product(row, asked) for row in listed.rows], asked)
        return answer.found(body, changed_at=listed.changed_at)

    async def product(self, asked: Asked) -> Answer:
        one = await self._catalog.product(asked.captured["id"])
        if one is None:
            return answer.refused(404, _NOT_FOUND)
        return answer.found(_product(one.row, asked), changed_at=one.changed_at)

    async def categories(self, asked: Asked) -> Answer:
        page = PageAsked.of(asked)
        listed = await self._catalog.categories(page)
        body = page.of_total(listed.count).around([shapes.category(row) for row in listed.rows], asked)
        return answer.found(body, changed_at=listed.changed_at)

    async def category(self, asked: Asked) -> Answer:
        one = await self._catalog.category(asked.captured["slug"])
        if one is None:
            return answer.refused(404, _NOT_FOUND)
        return answer.found(shapes.category(one.row), changed_at=one.changed_at)


def _product(row: Row, asked: Asked) -> dict[str, Any]:
    told = shapes.product(row)
    return told if asked.version == "1" else shapes.with_currency(told)


class _Resource:
    """Answers every method at one address of the API."""

    def __init__(self, answering: Answering, site: Site) -> None:
        self._answering = answering
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = await self._told(scope)
        await told.send(send, head=scope["method"] == "HEAD")

    async def _told(self, scope: Scope) -> Answer:
        try:
            asked = Asked.of(scope, self._site)
            spoken = asked.version in _VERSIONS
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
        except filters.Unreadable as unreadable:
            return answer.refused(400, unreadable.errors)
        except NoSuchPage:
            return answer.refused(404, _NO_PAGE)


class _Page:
    """Answers every method at the address of a page."""

    def __init__(self, answering: Answering, site: Site) -> None:
        self._answering = answering
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = await self._told(scope)
        await told.send(send, head=scope["method"] == "HEAD")

    async def _told(self, scope: Scope) -> Answer:
        language = scope["path_params"]["language"]
        try:
            asked = Asked.of(scope, self._site)
            if asked.method not in ("GET", "HEAD"):
                return answer.page_refused(language)
            told = await self._answering(asked)
        except Stranger:
            return answer.stranger()
        except Malformed:
            return answer.malformed(language)
        found = told.status == 200 and asked.method == "GET"
        return answer.under(told, Conditions.of(asked.headers)) if found else told


class _Elsewhere:
    """Answers where no route is: a forgotten slash is put right, anything else is not found."""

    def __init__(self, routes: Sequence[Route], site: Site) -> None:
        self._routes = routes
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._told(scope).send(send, head=scope["method"] == "HEAD")

    def _told(self, scope: Scope) -> Answer:
        try:
            asked = Asked.of(scope, self._site)
        except Stranger:
            return answer.stranger()
        slashed = f"{asked.path}/"
        if not asked.path.endswith("/") and any(route.path_regex.fullmatch(slashed) for route in self._routes):
            return answer.moved(asked.target_at(slashed), of_path(asked.path))
        return answer.missing() if asked.path.startswith("/api/") else missing(asked, resolved=False)


class _Slug(Convertor[str]):
    regex = "[-a-zA-Z0-9_]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Digits(_Slug):
    regex = "[0-9]+"


class _Language(_Slug):
    regex = "|".join(LANGUAGES)


register_url_convertor("slug", _Slug())
register_url_convertor("digits", _Digits())
register_url_convertor("language", _Language())


class _Exact(Route):
    """A route that ends where its path ends; a trailing newline is not the same address."""

    def __init__(self, path: str, endpoint: _Resource | _Page) -> None:
        super().__init__(path, endpoint)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")
