"""The wish list's routes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final

from starlette.applications import Starlette
from starlette.convertors import register_url_convertor

from strangler.service import Chassis, answer, csrf
from strangler.service.answer import Answer
from strangler.service.asked import Asked, Site
from strangler.service.client import Client
from strangler.service.database import Database
from strangler.service.identity import Verifier
from strangler.service.log import RequestLog
from strangler.service.problem import SHAPES
from strangler.service.resource import Elsewhere, Exact, Written
from wishlist_service.api import Api, Resource
from wishlist_service.catalog import Catalog
from wishlist_service.html import LANGUAGES, of_path
from wishlist_service.pages import Page, Pages, missing
from wishlist_service.wishes import Wishes

NAME: Final = "wishlist"


def build(
    database: Database, client: Client, site: Site, guard: csrf.Site, requests: RequestLog, verifier: Verifier | None
) -> Chassis:
    """Wire the whole application; ``database`` and ``client`` are open during its lifespan."""
    routes = _routes(Wishes(database), Catalog(client), site, guard)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await database.open()
        async with client:
            yield
        await database.close()

    app = Starlette(routes=routes, exception_handlers=dict(SHAPES), lifespan=lifespan)
    app.router.redirect_slashes = False
    app.router.default = Elsewhere(routes, site, missing=_missing, language=_language)
    document = json.loads(files("wishlist_service").joinpath("openapi.json").read_bytes())
    checks = {"database": database.check}
    return Chassis(
        app,
        name=NAME,
        openapi=document,
        checks=checks,
        requests=requests,
        identity=verifier,
        position=database.position,
    )


def _routes(wishes: Wishes, catalog: Catalog, site: Site, guard: csrf.Site) -> list[Exact]:
    api, pages = Api(wishes, catalog), Pages(wishes, catalog)
    whole = Resource({"GET": api.listed, "POST": api.add}, site, guard)
    part = Resource({"GET": api.one, "PUT": api.keep, "DELETE": api.drop}, site, guard)
    add = Page({"GET": pages.confirm, "POST": pages.add}, site, guard)
    return [
        Exact("/api/wishlist/", whole),
        Exact("/api/wishlist/{product:digits}/", part),
        Exact("/{language:language}/wishlist/", Page({"GET": pages.wishes}, site, guard)),
        Exact("/{language:language}/wishlist/add/{slug:slug}/", add),
        Exact("/{language:language}/wishlist/remove/{product:digits}/", Page({"POST": pages.remove}, site, guard)),
    ]


def _missing(asked: Asked) -> Answer:
    return answer.missing() if asked.path.startswith("/api/") else missing(asked)


def _language(path: str) -> str | None:
    return None if path.startswith("/api/") else of_path(path)


class _Language(Written):
    regex = "|".join(LANGUAGES)


register_url_convertor("language", _Language())
