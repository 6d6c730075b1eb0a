"""The catalog's routes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Final

from starlette.applications import Starlette
from starlette.convertors import register_url_convertor
from starlette.types import Receive, Scope, Send

from catalog_service import filters, shapes
from catalog_service.catalog import Catalog
from catalog_service.counted import Counted
from catalog_service.language import LANGUAGES, of_path
from catalog_service.pages import Pages, missing
from catalog_service.shapes import Row
from strangler.service import Chassis, answer
from strangler.service.answer import Answer
from strangler.service.asked import Asked, Malformed, Site, Stranger
from strangler.service.calling import Callers
from strangler.service.conditions import Conditions
from strangler.service.database import Database
from strangler.service.log import RequestLog
from strangler.service.page import PageAsked
from strangler.service.problem import SHAPES
from strangler.service.resource import Answering, Elsewhere, Exact, Resource, Written

NAME: Final = "catalog"
_NOT_FOUND: Final = {"detail": "Not found."}
_VERSIONS: Final = ("1", "2")


def build(database: Database, site: Site, requests: RequestLog, callers: Callers | None = None) -> Chassis:
    """Wire the whole application around ``database``; it is opened and closed with the application's lifespan.

    Of the ``callers`` the monolith alone may write, and only what it counts.
    """
    catalog = Catalog(database)
    asks, pages = Questions(catalog), Pages(catalog)
    routes = [
        Exact("/api/catalog/products/", Resource(asks.products, site, _VERSIONS)),
        Exact("/api/catalog/products/{id:digits}/", Resource(asks.product, site, _VERSIONS)),
        Exact("/api/catalog/categories/", Resource(asks.categories, site, _VERSIONS)),
        Exact("/api/catalog/categories/{slug:slug}/", Resource(asks.category, site, _VERSIONS)),
        Exact("/internal/products/{id:digits}/counted/", Counted(catalog)),
        Exact("/{language:language}/products/", _Page(pages.products, site)),
        Exact("/{language:language}/products/{slug:slug}/", _Page(pages.product, site)),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await database.open()
        yield
        await database.close()

    app = Starlette(routes=routes, exception_handlers=dict(SHAPES), lifespan=lifespan)
    app.router.redirect_slashes = False
    app.router.default = Elsewhere(routes, site, missing=_missing, language=of_path)
    document = json.loads(files("catalog_service").joinpath("openapi.json").read_bytes())
    return Chassis(
        app, name=NAME, openapi=document, checks={"database": database.check}, requests=requests, callers=callers
    )


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


def _missing(asked: Asked) -> Answer:
    return answer.missing() if asked.path.startswith("/api/") else missing(asked, resolved=False)


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
            return answer.stranger(language)
        except Malformed:
            return answer.malformed(language)
        found = told.status == 200 and asked.method == "GET"
        return answer.under(told, Conditions.of(asked.headers)) if found else told


class _Language(Written):
    regex = "|".join(LANGUAGES)


register_url_convertor("language", _Language())
